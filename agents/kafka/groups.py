"""A consumer group, as the broker describes it: its state and its members.

Owns the question. Called by the worker before it joins and when it takes partitions over, the board, `vitals status`
and `vitals state`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from agents.kafka.client import BrokerError, is_kafka

NOBODY = "Dead"
"""The state of a group that nobody has joined."""


class Description(NamedTuple):
    """What the broker says of a group."""

    state: str
    """As Kafka names it, such as `Stable` and `Empty`."""
    members: Sequence[dict[str, Any]]


def describe_group(admin: KafkaAdminClient, group: str) -> Description | None:
    """Describe a group; None where the broker is not a Kafka and its answer cannot be read. Raises `KafkaError`."""
    if not is_kafka(admin):
        return None
    described = admin.describe_groups([group])[group]
    state, error = str(described["group_state"]), described["error"]
    if error is not None and state != NOBODY:
        raise KafkaError(error)
    return Description(state, described["members"])


def require_description(admin: KafkaAdminClient, group: str) -> Description:
    """Describe a group. Raises `BrokerError` where the broker is not a Kafka, and `KafkaError`."""
    description = describe_group(admin, group)
    if description is None:
        msg = "the broker cannot describe consumer groups: use Apache Kafka"
        raise BrokerError(msg)
    return description

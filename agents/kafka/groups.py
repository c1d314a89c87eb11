"""Members of a consumer group, as the broker lists them.

Owns the question. Called by `agents.worker.membership` and `agents.worker.tasks.broker_facts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kafka import KafkaAdminClient


def members_of(admin: KafkaAdminClient, group: str) -> Sequence[dict[str, Any]]:
    """Return the members of a group; none where the broker cannot say. Raises `kafka.errors.KafkaError`."""
    try:
        described = admin.describe_groups([group]).get(group, {})
    except (ValueError, NotImplementedError):
        # The embedded broker of the demo lists operations that Kafka does not have. Its group has one worker.
        return []
    members: Sequence[dict[str, Any]] = described.get("members", [])
    return members

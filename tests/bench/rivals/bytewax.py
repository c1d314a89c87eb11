"""The benchmark's work in Bytewax as its documentation writes it: a dataflow with a stateful step between two of Kafka.

Owns the Bytewax rival. State and offsets go to recovery partitions, which are SQLite files, at the end of each second's
epoch; its Kafka source commits nothing to a consumer group. It has no timers here: the score of a silent account
stays as it is until the account's next event. Each move by a point is published. One process uses one core: `copies`
starts as many as there are cores, and they exchange events by account. Must not know how it is measured. Runs in an
environment of its own (`requirements/bytewax.txt`) as
`python -m bytewax.run -r RECOVERY_FOLDER -s 1 -b 0 "tests.bench.rivals.bytewax:build('BOOTSTRAP','INPUT','OUTPUT')"`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bytewax import operators
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow

from tests.bench.rivals.account import Row, change_after, new_row

if TYPE_CHECKING:
    from bytewax.connectors.kafka import KafkaSourceMessage


def parse(message: KafkaSourceMessage[bytes, bytes]) -> tuple[str, dict[str, Any]]:
    """The account and the event of a record."""
    event = json.loads(message.value)
    return event["account_id"], event


def count_usage(row: Row | None, event: dict[str, Any]) -> tuple[Row, list[dict[str, Any]]]:
    """Add an event to its account; the new state, and the change if there is one to publish."""
    row = row or new_row()
    change = change_after(row, event)
    return row, [] if change is None else [change]


def record_of(keyed: tuple[str, dict[str, Any]]) -> KafkaSinkMessage[bytes, bytes]:
    """The record of a change."""
    account_id, change = keyed
    return KafkaSinkMessage(account_id.encode(), json.dumps(change).encode())


def build(bootstrap: str, source: str, output: str) -> Dataflow:
    """The dataflow; nothing runs yet."""
    flow = Dataflow("scores")
    usage = operators.input("usage", flow, KafkaSource([bootstrap], [source]))
    events = operators.map("parse", usage, parse)
    changes = operators.stateful_flat_map("count", events, count_usage)
    operators.output("changes", operators.map("record", changes, record_of), KafkaSink([bootstrap], output))
    return flow

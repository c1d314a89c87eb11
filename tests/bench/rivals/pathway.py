"""The benchmark's work in Pathway as its documentation writes it: a stateful reducer of accounts, then deduplication.

Owns the Pathway rival. What was read goes to a folder by Pathway's persistence, and is computed again after a restart:
keeping the state itself needs a licence key. Events that come together are reduced together, so at most one change an
account and step is published; the next step begins after a second at the earliest. It has no timers here: the score of
a silent account stays as it is until the account's next event. Its Kafka client commits what was read, not what was
processed, so a file of counts says how many events were. Must not know how it is measured. Pathway is not free software
(Business Source License 1.1). Runs in an environment of its own (`requirements/pathway.txt`) as
`python -m tests.bench.rivals.pathway BOOTSTRAP GROUP INPUT OUTPUT COUNTS_FILE STATE_FOLDER`.
"""

from __future__ import annotations

import json
import sys

import pathway as pw

from tests.bench.rivals.account import add, moved, new_row, score

_STEP_MS = 1000
_BACKLOG = 100_000


class Usage(pw.Schema):
    """The fields of an event that the work needs."""

    account_id: str
    time: int
    count: int


State = tuple[float, int, str]
"""Score, number of events, and the row as JSON."""


@pw.reducers.stateful_many
def count_usage(state: State | None, rows: list[tuple[list[int], int]]) -> State:
    """The state of an account after the events of a step."""
    _, events, written = state or (0.0, 0, "")
    row = json.loads(written) if written else new_row()
    for (time_ms, count), _ in rows:
        add(row, time_ms, count)
    return score(row), events + len(rows), json.dumps(row)


def build(bootstrap: str, group: str, source: str, output: str, counts: str) -> None:
    """Declare the tables; nothing runs yet."""
    client = {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest"}
    usage = pw.io.kafka.read(
        client,
        source,
        schema=Usage,
        format="json",
        autocommit_duration_ms=_STEP_MS,
        max_backlog_size=_BACKLOG,
        name="usage",
    )
    counted = usage.groupby(pw.this.account_id).reduce(
        pw.this.account_id, state=count_usage(pw.this.time, pw.this.count)
    )
    scores = counted.select(
        pw.this.account_id, to=pw.declare_type(float, pw.this.state[0]), events=pw.declare_type(int, pw.this.state[1])
    )
    changes = scores.select(pw.this.account_id, pw.this["to"]).deduplicate(
        value=pw.this["to"],
        instance=pw.this.account_id,
        acceptor=lambda current, published: moved(published, current),
    )
    pw.io.kafka.write(changes.to_stream(), client, output, format="json", key=pw.this.account_id)
    processed = scores.reduce(events=pw.reducers.sum(pw.this.events))
    pw.io.jsonlines.write(processed.to_stream(), counts)


if __name__ == "__main__":
    build(*sys.argv[1:6])
    backend = pw.persistence.Backend.filesystem(sys.argv[6])
    persistence = pw.persistence.Config(backend, snapshot_interval_ms=_STEP_MS)
    pw.run(monitoring_level=pw.MonitoringLevel.NONE, persistence_config=persistence)

"""The benchmark's work in Quix Streams as its documentation writes it: a streaming data frame with a stateful function.

Owns the Quix rival. State is in RocksDB and in a changelog topic, both written with each checkpoint; at least once. It
has no timers: the score of a silent account stays as it is until the account's next event. Each move by a point is
published. One process uses one core: `copies` starts as many as there are cores, in one consumer group. Must not know
how it is measured. Runs in an environment of its own (`requirements/quix.txt`) as
`python -m tests.bench.rivals.quix BOOTSTRAP GROUP INPUT OUTPUT STATE_FOLDER`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from quixstreams import Application, State

from tests.bench.rivals.account import change_after, new_row


def count_usage(event: dict[str, Any], state: State) -> dict[str, Any] | None:
    """Add an event to its account; the change, if there is one to publish."""
    row = state.get("row") or new_row()
    change = change_after(row, event)
    state.set("row", row)
    return change


def build(bootstrap: str, group: str, source: str, output: str, folder: str) -> Application:
    """The program; nothing runs yet."""
    app = Application(
        bootstrap,
        consumer_group=group,
        auto_offset_reset="earliest",
        commit_interval=1.0,
        state_dir=Path(folder),
        loglevel="WARNING",
    )
    changes = app.topic(output, value_serializer="json")
    frame = app.dataframe(app.topic(source, value_deserializer="json"))
    frame = frame.apply(count_usage, stateful=True)
    frame = frame.filter(lambda change: change is not None)
    frame.to_topic(changes)
    return app


if __name__ == "__main__":
    build(*sys.argv[1:6]).run()

"""A worker that kills itself at a chosen step of a commit: `python tests/faults/worker_that_dies.py STEP COMMIT`.

STEP is one of `STEPS`, COMMIT the number of the commit (of those that write state, counted from 1) in which it dies.
What comes before the step is really acknowledged by the broker; nothing after it is sent. Everything else is the
product's worker with the settings of its environment.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from agents.cli.main import app
from agents.worker.commit.checkpoint import Checkpointer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from faust.types import TP

    from agents.worker.commit.outbox import Record
    from agents.worker.tasks.task import PartitionTask

CUTS = {
    "layout": b"lh",
    "pages": b"lhp",
    "half the rows": b"lhp",
    "rows": b"lhpr",
    "state": b"lhprs",
    "half the ids": b"lhprs",
    "ids": b"lhprsi",
}
"""What of each partition's snapshot is written before the end, by the tag bytes of the keys."""
STEPS = ("outputs", *CUTS, "one partition", "offsets")
"""After what it dies: `one partition` has written the whole snapshot of one partition and nothing of the others."""
_HALVES = {"half the rows": b"r", "half the ids": b"i"}

Snapshots = list[tuple["PartitionTask", list["Record"]]]


def die() -> None:
    """End at once."""
    os.kill(os.getpid(), signal.SIGKILL)


def cut(step: str, records: list[Record]) -> list[Record]:
    """Return the first part of a snapshot, up to the step."""
    tags = [(record.key or b"")[:1] for record in records]
    written = [record for record, tag in zip(records, tags, strict=True) if tag in CUTS[step]]
    if step in _HALVES:
        halved = [record for record, tag in zip(records, tags, strict=True) if tag == _HALVES[step]]
        written += halved[: (len(halved) + 1) // 2]
    return written


def arrange(step: str, commit: int) -> None:
    """Make the committer die at the step of that commit."""
    write_state, begin, seen = Checkpointer._state, Checkpointer.__init__, []

    async def state(self: Checkpointer, snapshots: Snapshots) -> None:
        if any(records for _, records in snapshots):
            seen.append(step)
        if len(seen) != commit or step == "offsets":
            await write_state(self, snapshots)
            return
        if step == "one partition":
            await write_state(self, snapshots[:1])
        elif step != "outputs":
            await write_state(self, [(task, cut(step, records)) for task, records in snapshots])
        die()

    def build(self: Checkpointer, *parts: object, **named: object) -> None:
        begin(self, *parts, **named)  # type: ignore[arg-type]  # handed on as they come
        commit_offsets = self._commit_offsets

        async def commit_and_die(positions: Mapping[TP, int]) -> bool:
            done = await commit_offsets(positions)
            if step == "offsets" and len(seen) == commit:
                die()
            return done

        self._commit_offsets = commit_and_die

    Checkpointer._state = state  # type: ignore[method-assign]
    Checkpointer.__init__ = build  # type: ignore[method-assign]


if __name__ == "__main__":
    arrange(sys.argv[1], int(sys.argv[2]))
    app(["worker"], prog_name="vitals")

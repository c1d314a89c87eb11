"""A worker that crashes at any moment, also in the middle of a commit.

Owns what remains of a commit that was cut short, and what is fetched again. Must not know any expected value. Called by
the property tests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from schemas.sources import Sources
from schemas.topics import ALERTS, CHANGES
from stream.engine.engine import Engine, Mode
from stream.recovery import changelog
from stream.recovery.reconciler import Reconciler, Tail
from tests.driving.alerts import alerts_in, changes_in
from tests.driving.engine import Cut, Drive, cuts, erased_in
from tests.strategies.policies import DAY_MS, NOW_MS

if TYPE_CHECKING:
    from stream.plan.plan import Plan
    from tests.oracle.engine import Record


def source_of(sources: Sources) -> dict[str, str]:
    """What records call each input: the two internal ones by their topics."""
    return {name: f"vitals-{name}" if name in {"inbox", "peers"} else name for name in sources.inputs}


@dataclass
class Crashing:
    """A worker of one partition. Its changelog, its committed offsets and what it published remain after a crash."""

    plan: Plan
    records: list[Record]
    """In merged order."""
    dedup: bool = True
    keys: dict[bytes, bytes] = field(default_factory=dict)
    committed: dict[str, int] = field(default_factory=dict)
    published: list[bytes] = field(default_factory=list)
    positions: list[bytes] = field(default_factory=list)
    """The header `vitals.position` of each published alert."""
    known: dict[str, int] = field(default_factory=lambda: {ALERTS: 0, CHANGES: 0})
    """The number of records of each topic at the last commit, as the changelog records `a` and `c` store it."""
    drive: Drive = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Restore what the changelog holds, and load what was published after the last commit."""
        engine = Engine(self.plan, dedup_ids=200_000 if self.dedup else None)
        changelog.restore(engine, self.keys)
        records: dict[str, list[tuple[bytes | None, bytes | None]]] = {
            ALERTS: list(zip(alerts_in(self.published), self.positions, strict=True)),
            CHANGES: [
                (value, None) if (account := erased_in(value)) is None else (None, account)
                for value in changes_in(self.published)
            ],
        }
        reconciler = Reconciler(
            {topic: Tail(start, len(records[topic]), records[topic][start:]) for topic, start in self.known.items()}
        )
        reconciler.load(engine)
        self.drive = Drive(engine, reconciler=reconciler, ends_of_sources=self._ends())

    def _ends(self) -> list[int]:
        """The end offset of each input source: all records were there before the first worker started."""
        names = source_of(self.plan.sources)
        ends = dict.fromkeys(names.values(), 0)
        for record in self.records:
            ends[record.source] = max(ends[record.source], record.offset + 1)
        return [ends[name] for name in names.values()]

    def commit(self, written: int | None = None) -> None:
        """Write the snapshot's first `written` records (None: all, and then the offsets), as `Checkpointer` does."""
        self.drive.flush()
        snapshot = changelog.snapshot(self.drive.engine)
        for key, value in snapshot[:written]:
            changelog.keep_newer(self.keys, key, value)
        if written is None:
            position = self.drive.engine.committable()
            published = [*self.published, *self.drive.raw]
            counts = {ALERTS: len(alerts_in(published)), CHANGES: len(changes_in(published))}
            self.known.update({topic: counts[topic] for topic in self.drive.reconciler.complete()})
            names = source_of(self.plan.sources)
            self.committed |= {names[name]: offset for name, offset in position.items()}

    def crash(self) -> None:
        """Drop all state that is not committed, and start again."""
        self.end()
        self.start()

    def end(self) -> None:
        """Add what this generation published to what remains."""
        self.published += self.drive.raw
        self.positions += self.drive.positions

    def pending(self) -> list[Record]:
        """The records that are fetched again after a start."""
        return [record for record in self.records if record.offset >= self.committed.get(record.source, 0)]


def live_through(
    data: st.DataObject,
    worker: Crashing,
    modes: tuple[Mode, ...],
    crashes: int = 3,
    *,
    whole: bool = False,
    clock: bool = False,
) -> None:
    """Let a worker run, commit and crash at random, then apply everything.

    With `whole`, no commit is cut short; with `clock`, some days pass without an event before a crash, and in the end.
    """
    days = 0
    for _ in range(data.draw(st.integers(1, crashes))):
        steps: list[Cut] = data.draw(cuts(worker.pending(), modes))
        count = data.draw(st.integers(0, len(steps)))
        for step in steps[:count]:
            worker.drive.turn_to(step.mode)
            worker.drive.take(step.records)
            if step.flush:
                worker.commit()
        # The clock lets time pass where nothing is left to read: what is read later would be late.
        if clock and count == len(steps) and worker.drive.mode is Mode.HEAD and data.draw(st.booleans()):
            days = max(days, data.draw(st.integers(1, 40)))
            worker.drive.note(worker.drive.engine.tick(NOW_MS + days * DAY_MS))
        worker.commit(data.draw(st.sampled_from((0, None)) if whole else st.one_of(st.integers(0, 12), st.none())))
        worker.crash()
    for step in data.draw(cuts(worker.pending(), modes)):
        worker.drive.turn_to(step.mode)
        worker.drive.take(step.records)
    worker.drive.turn_to(Mode.HEAD)
    engine = worker.drive.engine
    if days:
        worker.drive.note(engine.tick(NOW_MS + days * DAY_MS))
    worker.drive.reconcile()
    assert not worker.drive.reconciler or engine.as_of is None, "all is applied: nothing is held back any more"
    worker.drive.flush()
    worker.end()

"""A worker that crashes at any moment, also in the middle of a commit, and what outlives it.

Owns what is kept of a commit that was cut short, and what is fetched again. Must not know any expected value. Called by
the property tests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from stream.engine.engine import Engine, Mode
from stream.ingest.batch import INPUT_SOURCES
from stream.publishing.baseline import Heard
from stream.recovery import changelog
from stream.recovery.alert_reconciler import Retelling
from tests.driving.alerts import alerts_in, changes_in
from tests.driving.engine import Cut, Drive, cuts
from tests.strategies.policies import DAY_MS, NOW_MS

if TYPE_CHECKING:
    from stream.plan.plan import Plan
    from tests.oracle.engine import Record

SOURCE_OF = {name: f"vitals-{name}" if name in {"inbox", "peers"} else name for name in INPUT_SOURCES}


@dataclass
class Crashing:
    """A worker of one partition whose changelog and committed offsets outlive it."""

    plan: Plan
    records: list[Record]
    """In merged order."""
    dedup: bool = True
    keys: dict[bytes, bytes] = field(default_factory=dict)
    committed: dict[str, int] = field(default_factory=dict)
    published: list[bytes] = field(default_factory=list)
    positions: list[bytes] = field(default_factory=list)
    """Of the alerts among it, how far their engine had come."""
    told: int = 0
    """How many alerts had been told when all of them were known to a commit."""
    heard: int = 0
    """How many changes had been told when all of them were known to a commit."""
    drive: Drive = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin a life with what the changelog holds."""
        engine = Engine(self.plan, dedup_ids=200_000 if self.dedup else None)
        changelog.restore(engine, self.keys)
        changes = changes_in(self.published)
        engine.publisher.hear(Heard(changes[self.heard :], len(changes)), engine.as_of)
        told = list(zip(alerts_in(self.published), self.positions, strict=True))
        self.drive = Drive(engine, told=Retelling(told[self.told :], len(told)))

    def commit(self, written: int | None = None) -> None:
        """Write the snapshot's first `written` records (None: all, and then the offsets), as the committer does."""
        self.drive.flush()
        snapshot = changelog.snapshot(self.drive.engine)
        for key, value in snapshot[:written]:
            if value is None:
                self.keys.pop(key, None)
            else:
                self.keys[key] = value
        if written is None:
            position = self.drive.engine.position
            if self.drive.told is None:
                self.told = len(alerts_in([*self.published, *self.drive.raw]))
            if not self.drive.engine.publisher.heard:
                self.heard = len(changes_in([*self.published, *self.drive.raw]))
            self.committed = {SOURCE_OF[name]: at for name, at in position.items()}

    def crash(self) -> None:
        """End this life, and begin the next one."""
        self.end()
        self.start()

    def end(self) -> None:
        """What was said outlives whoever said it."""
        self.published += self.drive.raw
        self.positions += self.drive.positions

    def pending(self) -> list[Record]:
        """What is fetched again after a start."""
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
    """Let a worker live, commit and crash at chance, then finish.

    With `whole`, no commit is cut short; with `clock`, some days pass without an event before a crash, and in the end.
    """
    days = 0
    for _ in range(data.draw(st.integers(1, crashes))):
        steps: list[Cut] = data.draw(cuts(worker.pending(), modes))
        for step in steps[: data.draw(st.integers(0, len(steps)))]:
            worker.drive.turn_to(step.mode)
            worker.drive.take(step.records)
            if step.flush:
                worker.commit()
        if clock and worker.drive.mode is Mode.HEAD and data.draw(st.booleans()):
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
    engine.publisher.heard.give_up(engine.accounts, engine.plan)
    worker.drive.flush()
    if worker.drive.told is not None and worker.drive.engine.as_of is not None:
        worker.drive.agree()
    worker.end()

"""Scenarios whose worker crashes: what it published stays in the topics, what it did not commit is lost.

Must not know any expected value. Called by the tests of what was published before a crash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.codecs import encode
from schemas.topics import ALERTS, CHANGES
from stream.engine.engine import Engine, Mode
from stream.recovery import changelog
from stream.recovery.reconciler import Reconciler, Tail
from tests.driving.alert_histories import Scenario

if TYPE_CHECKING:
    from stream.plan.plan import Plan
    from tests.oracle.engine import Record


class Generations(Scenario):
    """A scenario whose worker crashes, so that another generation of it continues from the last commit."""

    committed_changes = 0
    """How many changes were published before the last commit."""
    committed_alerts = 0

    def commit(self) -> None:
        self.drive.save()
        self.committed_changes = len(self.drive.changes)
        self.committed_alerts = len(self.drive.alerts)

    def crash(self, plan: Plan | None = None, *, mode: Mode = Mode.HEAD) -> None:
        """Restore the last commit, and load what was published since."""
        tails = self.tails()
        self.plan = plan or self.plan
        self.drive.engine, self.drive.mode = Engine(self.plan), mode
        changelog.restore(self.drive.engine, self.drive.topic)
        self.drive.reconciler = Reconciler(tails)
        self.drive.reconciler.load(self.drive.engine)

    def tails(self) -> dict[str, Tail]:
        """The changes and alerts that were published since the last commit; alerts have no header `vitals.position`."""
        changes, alerts = self.drive.changes[self.committed_changes :], self.drive.alerts[self.committed_alerts :]
        return {
            CHANGES: tail_of([encode(change) for change in changes], end=len(self.drive.changes)),
            ALERTS: tail_of([encode(alert) for alert in alerts], end=len(self.drive.alerts)),
        }

    @property
    def behind(self) -> bool:
        """Whether an account is behind its last published change."""
        return bool(self.drive.engine.publisher.baseline)

    @property
    def changes(self) -> list[tuple[float, float]]:
        """(from, to) of all published changes."""
        return [(change.from_, change.to) for change in self.drive.changes]

    def catch_up(self) -> list[tuple[str, float]]:
        """Reach the head; returns the alerts published then as (status, day). No alert is held back any more."""
        before = len(self.published)
        self.drive.turn_to(Mode.HEAD)
        self.drive.reconcile()
        assert ALERTS in self.drive.reconciler.complete(), "the engine has not come as far"
        return [(status, day) for status, _, day in self.published[before:]]


def tail_of(values: list[bytes | None], *, end: int, position: bytes | None = None) -> Tail:
    """The tail of a topic with these values, all with the same header `vitals.position` or without one."""
    return Tail(0, end, [(value, position) for value in values])


def saved() -> Generations:
    """A scenario with three uses of the product, a score of 30, that is committed."""
    scenario = Generations("")
    scenario.use(0.1, 3)
    scenario.commit()
    return scenario


def one_change_each(scenario: Generations, count: int) -> list[Record]:
    """Take `count` uses on one day, each in a step of its own; returns their records."""
    records = [scenario.record(0.2) for _ in range(count)]
    for record in records:
        scenario.drive.take([record])
    return records

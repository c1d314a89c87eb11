"""Stories whose worker crashes: what readers of score changes heard stays, what was not saved is gone.

Must not know any expected value. Called by the tests of what readers heard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.codecs import encode
from stream.engine.engine import Engine, Mode
from stream.publishing.baseline import Heard
from stream.recovery import changelog
from tests.driving.alert_histories import Scenario

if TYPE_CHECKING:
    from stream.plan.plan import Plan
    from tests.oracle.engine import Record


class Generations(Scenario):
    """A story whose worker crashes: what readers heard stays, what it did not save is gone."""

    known = 0

    def commit(self) -> None:
        self.drive.save()
        self.known = len(self.drive.changes)

    def crash(self, plan: Plan | None = None, *, mode: Mode = Mode.HEAD) -> None:
        """Go on from the last commit, knowing what readers heard since."""
        heard = self.since()
        self.plan = plan or self.plan
        self.drive.engine, self.drive.mode = Engine(self.plan), mode
        changelog.restore(self.drive.engine, self.drive.topic)
        self.drive.engine.publisher.hear(heard, self.drive.engine.as_of)

    def since(self) -> Heard:
        """What readers heard since the last commit."""
        return Heard([encode(change) for change in self.drive.changes[self.known :]], len(self.drive.changes))

    @property
    def waits(self) -> bool:
        return bool(self.drive.engine.publisher.heard)

    @property
    def heard(self) -> list[tuple[float, float]]:
        """(from, to) of all changes."""
        return [(change.from_, change.to) for change in self.drive.changes]


def saved() -> Generations:
    """A story of three uses, a score of 30, that is committed."""
    scenario = Generations("")
    scenario.use(0.1, 3)
    scenario.commit()
    return scenario


def told_at_a_time(scenario: Generations, count: int) -> list[Record]:
    """Let a story take so many uses of one day, each in a step of its own."""
    records = [scenario.record(0.2) for _ in range(count)]
    for record in records:
        scenario.drive.take([record])
    return records

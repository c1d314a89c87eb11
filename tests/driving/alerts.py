"""What a reader of `health.alerts` makes of its records, and engines that are watched by such a reader at boundaries.

Owns how records are folded into open episodes, and what must be true of any sequence of them. Must not know any
expected value. Called by the property tests of alerts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stream.recovery import changelog
from tests.driving.engine import AtBoundaries, Drive
from tests.oracle.policy import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stream.plan.plan import Plan
    from stream.publishing.effects import Effects
    from tests.oracle.alerts import Episodes

Record = dict[str, Any]
ANEW = ("acknowledged_at", "acknowledged_by", "snoozed_until", "digest")
"""Fields that may differ in a firing record that is published again."""


@dataclass
class Reader:
    """Everything that was read so far. `repeats`: records may come twice, as after a crash; the second is not news."""

    repeats: bool = False
    open: dict[tuple[str, str], Record] = field(default_factory=dict)
    """The last record of every episode that is open, by (account, rule)."""
    ended: dict[tuple[str, str], Record] = field(default_factory=dict)
    """The last record that resolved, by (account, rule)."""
    flaps: dict[tuple[str, str], int] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By fingerprint."""

    def read(self, values: Iterable[bytes]) -> None:
        """Take records of `health.alerts`; fail where they can not follow each other."""
        for value in values:
            record = json.loads(value)
            known = self.contents.setdefault(record["id"], value)
            assert known == value, (known, value)
            if known is not value:
                assert self.repeats, ("an id twice", value)
                continue
            self._take(record)

    def _take(self, record: Record) -> None:
        key = (record["account_id"], record["rule"])
        assert self.names.setdefault(record["fingerprint"], key) == key, record
        assert sum(name == key for name in self.names.values()) == 1, record
        if record["status"] == "resolved":
            self._resolve(key, record)
        elif key not in self.open:
            self._fire(key, record)
        else:
            self._tell_again(key, record)

    def _fire(self, key: tuple[str, str], record: Record) -> None:
        assert "ends_at" not in record, record
        assert "acknowledged_at" not in record, record
        if not self.repeats and key[0]:
            ended = self.ended.get(key)
            flapped = ended is not None and record["starts_at"] - ended["ends_at"] < DAY_MS
            self.flaps[key] = self.flaps.get(key, 0) + 1 if flapped else 0
            assert record.get("flaps", 0) == self.flaps[key], (record, ended)
        self.open[key] = record

    def _tell_again(self, key: tuple[str, str], record: Record) -> None:
        before = self.open[key]
        if not self.repeats:
            assert record["starts_at"] == before["starts_at"], (before, record)
            assert any(record.get(name) != before.get(name) for name in ANEW), (before, record)
        self.open[key] = record

    def _resolve(self, key: tuple[str, str], record: Record) -> None:
        before = self.open.pop(key, None)
        if not self.repeats:
            assert before is not None, record
            assert record["starts_at"] == before["starts_at"], (before, record)
        assert record["ends_at"] >= record["starts_at"], record
        self.ended[key] = record

    def episodes(self) -> Episodes:
        """Return (account, rule) of what is open, storms left out."""
        return frozenset(key for key in self.open if key[1] != "storm")


class WatchedAlerts(AtBoundaries):
    """An engine with a reader of its alerts, who notes what is open whenever accounts are scored at a boundary."""

    def __init__(self, plan: Plan, *, dedup_ids: int | None = 200_000) -> None:
        super().__init__(plan, dedup_ids=dedup_ids)
        self.reader = Reader()
        self.open_at: dict[int, dict[tuple[str, str], Record]] = {}
        self._reading: tuple[Effects, int] | None = None

    def look(self, boundary_ms: int, effects: Effects) -> None:
        self.read(effects)
        self.open_at[boundary_ms] = dict(self.reader.open)

    def read(self, effects: Effects) -> None:
        """Read what an effect has that was not read yet."""
        before, count = self._reading or (effects, 0)
        if before is not effects:
            self.reader.read(sent.value for sent in before.alerts[count:])
            count = 0
        self.reader.read(sent.value for sent in effects.alerts[count:])
        self._reading = (effects, len(effects.alerts))


class Observed(Drive):
    """A drive of such an engine, whose reader is given everything that the engine causes."""

    engine: WatchedAlerts

    def note(self, effects: Effects) -> None:
        """Keep and read what was caused."""
        super().note(effects)
        self.engine.read(effects)

    def tick(self, now_ms: int) -> None:
        """Let the clock pass boundaries."""
        self.note(self.engine.tick(now_ms))

    def restarted(self) -> Observed:
        """Save the state, and go on with a new engine that was restored from it and has the same reader."""
        self.save()
        engine = WatchedAlerts(self.engine.plan)
        changelog.restore(engine, self.topic)
        engine.reader, engine.open_at = self.engine.reader, self.engine.open_at
        return Observed(engine, mode=self.mode, topic=self.topic)


def alerts_in(raw: Iterable[bytes]) -> list[bytes]:
    """Return the alerts among changes and alerts as they were sent."""
    return [value for value in raw if b'"fingerprint":' in value]


def changes_in(raw: Iterable[bytes]) -> list[bytes]:
    """Return the changes among changes and alerts as they were sent."""
    return [value for value in raw if b'"fingerprint":' not in value]


def assert_open_at_boundaries(engine: WatchedAlerts, expected: dict[tuple[int, int], Episodes]) -> None:
    """Fail unless what was open at the boundaries that the engine passed is what was expected of them."""
    for (_, boundary_ms), episodes in sorted(expected.items()):
        if boundary_ms in engine.open_at:
            open_episodes = frozenset(key for key in engine.open_at[boundary_ms] if key[1] != "storm")
            assert open_episodes == episodes, (
                boundary_ms,
                sorted(open_episodes - episodes),
                sorted(episodes - open_episodes),
            )

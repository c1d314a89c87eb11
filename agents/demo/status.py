"""Aggregate the worker's outputs: accounts by band, biggest moves, alerts.

Does not know Kafka, terminals or clocks. Filled by `agents.demo.output_reader`, read by `agents.demo.screen` and
`agents.demo.session`.

Memory is bounded: at most `MOST_ACCOUNTS` accounts are stored.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.outputs import Alert, ScoreChange, ScoreMessage
from schemas.topics import DAY_MS

MOST_ACCOUNTS = 100_000
MOST_IDS = 200_000
ALERTS_SHOWN = 50
MOVES_OVER_DAYS = 7


@dataclass(slots=True)
class Move:
    """The move of one account's score within the last `MOVES_OVER_DAYS` days of event time."""

    account_id: str
    score: float
    """The latest."""
    band: str
    delta: float = 0.0
    reasons: dict[str, float] = field(default_factory=dict)
    """Contribution of each measure to `delta`; they sum to it."""

    def main_reason(self) -> tuple[str, float]:
        """The measure with the largest contribution in the direction of the move, and that contribution."""
        if not self.reasons:
            return "", 0.0
        pick = max if self.delta >= 0 else min
        measure = pick(self.reasons, key=self.reasons.__getitem__)
        return measure, self.reasons[measure]

    def add(self, delta: float, contributions: Iterable[tuple[str, float]]) -> None:
        """Add a change of `delta`; the contributions of the measures sum to it."""
        self.delta += delta
        for measure, contribution in contributions:
            self.reasons[measure] = self.reasons.get(measure, 0.0) + contribution


class RecentIds:
    """Stores the last `MOST_IDS` ids, because the worker may publish a record again after a crash."""

    def __init__(self, most: int = MOST_IDS) -> None:
        self._most = most
        self._seen: OrderedDict[str, None] = OrderedDict()

    def is_new(self, identity: str) -> bool:
        """Add an id; returns whether it was not stored yet."""
        if identity in self._seen:
            return False
        self._seen[identity] = None
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return True


class Status:
    """The latest score of every account, recent moves, and alerts. Repeated records count once."""

    def __init__(self) -> None:
        self.changes = 0
        """Number of score changes, each id once."""
        self.alerts_fired = 0
        self.alerts: deque[Alert] = deque(maxlen=ALERTS_SHOWN)
        """The newest alerts, firing and resolved, newest last."""
        self.time_ms = 0
        """Latest event time of a change, epoch milliseconds."""
        self._bands: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._tops: dict[str, float] = {}
        self._days: dict[int, dict[str, Move]] = {}
        self._firing: set[str] = set()
        self._change_ids = RecentIds()
        self._alert_ids = RecentIds()

    @property
    def accounts(self) -> int:
        """Accounts that have a score."""
        return len(self._bands)

    @property
    def firing(self) -> int:
        """Alerts that are firing."""
        return len(self._firing)

    def bands(self) -> dict[str, int]:
        """Number of accounts by band, best band first (bands do not overlap: ordered by their highest score)."""
        return {band: self._counts[band] for band in sorted(self._tops, key=self._tops.__getitem__, reverse=True)}

    def add_score(self, message: ScoreMessage) -> None:
        """Add a record of `health.scores`."""
        if not message.scores:
            return
        score = next(iter(message.scores.values()))  # a policy has one score
        if score.band is None or score.value is None:
            self.remove_score(message.account_id)
            return
        before = self._bands.get(message.account_id)
        if before is None and len(self._bands) >= MOST_ACCOUNTS:
            return
        if before is not None:
            self._counts[before] -= 1
        self._bands[message.account_id] = score.band
        self._counts[score.band] += 1
        self._tops[score.band] = max(score.value, self._tops.get(score.band, 0.0))

    def remove_score(self, account_id: str) -> None:
        """Remove the account of a tombstone of `health.scores`."""
        band = self._bands.pop(account_id, None)
        if band is not None:
            self._counts[band] -= 1

    def add_change(self, change: ScoreChange) -> None:
        """Add a record of `health.score-changes`."""
        if not self._change_ids.is_new(change.id):
            return
        self.changes += 1
        self.time_ms = max(self.time_ms, change.time)
        if change.band_from is None or change.state is not None:  # a first score is no move, and neither is an end
            return
        day = change.time // DAY_MS
        if day not in self._days:
            self._days[day] = {}
            self._forget_old_days()
        moves = self._days.get(day, {})  # a new dict if that day is too old to be stored
        move = moves.get(change.account_id)
        if move is None:
            if len(moves) >= MOST_ACCOUNTS:
                return
            move = moves[change.account_id] = Move(change.account_id, change.to, change.band_to)
        move.score, move.band = change.to, change.band_to
        move.add(change.to - change.from_, ((factor.measure, factor.delta) for factor in change.factors))

    def add_alert(self, alert: Alert) -> None:
        """Add a record of `health.alerts`."""
        if not self._alert_ids.is_new(alert.id):
            return
        self.alerts.append(alert)
        if alert.status == "firing":
            self.alerts_fired += 1
            if len(self._firing) < MOST_ACCOUNTS:
                self._firing.add(alert.fingerprint)
        else:
            self._firing.discard(alert.fingerprint)

    def biggest_moves(self, count: int) -> list[Move]:
        """The accounts with the biggest recent moves, biggest first."""
        total: dict[str, Move] = {}
        for day in sorted(self._days):
            for move in self._days[day].values():
                sum_ = total.setdefault(move.account_id, Move(move.account_id, move.score, move.band))
                sum_.score, sum_.band = move.score, move.band
                sum_.add(move.delta, move.reasons.items())
        return sorted(total.values(), key=lambda move: (-abs(move.delta), move.account_id))[:count]

    def _forget_old_days(self) -> None:
        oldest = max(self._days) - MOVES_OVER_DAYS + 1
        for day in [day for day in self._days if day < oldest]:
            del self._days[day]

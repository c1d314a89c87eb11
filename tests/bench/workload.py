"""The events of the benchmark and, computed directly with numpy, the scores that every engine must end with.

Owns the data, the seed and the expected scores; the constants of the work are in `rules`. Must not know any engine or
Kafka. Called by the loaders and the checks.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from tests.bench.rules import DAY_MS, EVENTS_HUNDRED_AT, VOLUME_HUNDRED_AT, WINDOW_DAYS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

START_MS = 20_089 * DAY_MS  # 2025-01-01T00:00:00Z
DAYS = 90
ACCOUNTS = 10_000
SEED = 20250101

USAGE_TOPIC = "product-usage"
SOURCES = (USAGE_TOPIC, "support-tickets", "billing", "engagement", "surveys")
"""Topics of the template policy, without a prefix."""
_SHARES = (0.7, 0.02, 0.05, 0.2, 0.03)
_PRIORITIES = ("low", "normal", "high", "urgent")
_DUPLICATES = 0.3
_LATER = 1000
_MAX_COUNT = 3
_USERS_PER_ACCOUNT = 12
_FEATURES = ("reports", "dashboard", "export", "billing", "sharing", "search", "import", "settings")


@dataclass(frozen=True)
class Workload:
    """Events in time order, as columns of equal length."""

    account: NDArray[np.int64]  # 0-based number of the account
    time_ms: NDArray[np.int64]  # ascending, epoch milliseconds
    user: NDArray[np.int64]
    feature: NDArray[np.int64]
    count: NDArray[np.int64]  # 1..3
    number: NDArray[np.int64]  # what the id counts: a duplicate has that of its original
    source: NDArray[np.int64]  # which of `SOURCES`

    def __len__(self) -> int:
        return len(self.account)

    def prefix(self, events: int) -> Workload:
        """The first `events` events."""
        return self.rows(np.arange(min(events, len(self))))

    def rows(self, rows: NDArray[np.int64]) -> Workload:
        """The events in these rows, in their order."""
        return Workload(**{column.name: getattr(self, column.name)[rows] for column in fields(self)})

    def distinct(self) -> Workload:
        """Every event once."""
        return self.rows(np.unique(self.number, return_index=True)[1])

    def later(self, days: int) -> Workload:
        """The same events so many days later."""
        return replace(self, time_ms=self.time_ms + days * DAY_MS)


def account_id(number: int) -> str:
    """The id, and record key, of an account."""
    return f"account-{number:06d}"


def make_workload(events: int, accounts: int = ACCOUNTS) -> Workload:
    """Draw events evenly over 90 days and all accounts; the same for the same arguments, always."""
    random = np.random.default_rng(SEED)
    time_ms = START_MS + np.sort(random.integers(0, DAYS * DAY_MS, events))
    return Workload(
        account=random.integers(0, accounts, events),
        time_ms=time_ms,
        user=random.integers(0, _USERS_PER_ACCOUNT, events),
        feature=random.integers(0, len(_FEATURES), events),
        count=random.integers(1, _MAX_COUNT + 1, events),
        number=np.arange(events),
        source=np.zeros(events, dtype=np.int64),
    )


def make_zipf(events: int, accounts: int = ACCOUNTS) -> Workload:
    """The same, but the account of rank r has a share of 1/r: the first one has a tenth of all events of 10,000."""
    shares = 1 / np.arange(1, accounts + 1)
    random = np.random.default_rng(SEED + 1)
    return replace(make_workload(events, accounts), account=random.choice(accounts, events, p=shares / shares.sum()))


def make_duplicates(events: int, accounts: int = ACCOUNTS) -> Workload:
    """Records of which 30 % repeat an earlier one, one to a thousand records later."""
    originals = events - round(events * _DUPLICATES)
    random = np.random.default_rng(SEED + 2)
    repeated = random.choice(originals, events - originals, replace=False)
    rows = np.concatenate([np.arange(originals), repeated])
    position = np.concatenate([np.arange(originals), repeated + random.integers(1, _LATER + 1, len(repeated))])
    return make_workload(originals, accounts).rows(rows[np.argsort(position, kind="stable")])


def make_five_sources(events: int, accounts: int = ACCOUNTS) -> Workload:
    """Events of all sources of the template policy: seven of ten are usage."""
    random = np.random.default_rng(SEED + 3)
    return replace(make_workload(events, accounts), source=random.choice(len(SOURCES), events, p=_SHARES))


def first_events(accounts: int, *, each: int = 1, until_ms: int = START_MS + DAYS * DAY_MS - 1) -> Workload:
    """Events for every account in turn, `each` times round, a tenth of a second apart, the last one at `until_ms`."""
    turn = np.arange(accounts * each, dtype=np.int64)
    return Workload(
        account=turn % accounts,
        time_ms=until_ms - 100 * turn[::-1],
        user=turn % _USERS_PER_ACCOUNT,
        feature=turn % len(_FEATURES),
        count=turn % _MAX_COUNT + 1,
        number=turn,
        source=np.zeros_like(turn),
    )


def values(workload: Workload, first_id: int = 0) -> Iterator[bytes]:
    """The JSON of each event, about 130 bytes; ids count from `first_id`."""
    columns = (getattr(workload, column.name).tolist() for column in fields(workload))
    for account, time_ms, user, feature, count, number, source in zip(*columns, strict=True):
        name = account_id(account)
        if source == 0:
            rest = f'"user_id":"user-{account:06d}-{user:02d}","feature":"{_FEATURES[feature]}","count":{count}'
        elif source == 1:
            priority = _PRIORITIES[feature % len(_PRIORITIES)]
            rest = f'"ticket_id":"{name}-{number}","priority":"{priority}","kind":"billing","status":"opened"'
        elif source == 2:
            rest = f'"kind":"invoice_paid","amount":250,"days_late":{user}'
        elif source == 3:
            rest = f'"kind":"meeting","role":"user","user_id":"user-{account:06d}-{user:02d}"'
        else:
            rest = f'"kind":"nps","score":{user % 11},"user_id":"user-{account:06d}-{user:02d}"'
        yield f'{{"id":"{first_id + number:012x}","account_id":"{name}","time":{time_ms},{rest}}}'.encode()


def final_scores(workload: Workload, partition_of: NDArray[np.int64]) -> dict[str, float]:
    """The score of every account with an event, as of the last event of its partition.

    Args:
        workload: all events.
        partition_of: the partition of each account, by number.

    """
    day = workload.time_ms // DAY_MS
    partition = partition_of[workload.account]
    last_day = np.zeros(partition_of.max() + 1, dtype=np.int64)
    np.maximum.at(last_day, partition, day)
    inside = day > last_day[partition] - WINDOW_DAYS
    size = len(partition_of)
    events = np.bincount(workload.account[inside], minlength=size)
    volume = np.bincount(workload.account[inside], weights=workload.count[inside], minlength=size)
    scores = score(events.astype(np.float64), volume.astype(np.float64))
    return {account_id(number): float(scores[number]) for number in np.unique(workload.account).tolist()}


def score(events: NDArray[np.float64], volume: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the points of both measures, 0..100."""
    event_points = np.minimum(100.0, 100.0 * events / EVENTS_HUNDRED_AT)
    volume_points = np.minimum(100.0, 100.0 * volume / VOLUME_HUNDRED_AT)
    return np.asarray((event_points + volume_points) / 2)

"""The events of the benchmark and, computed directly with numpy, the scores that every engine must end with.

Owns the data, the seed and the expected scores; the constants of the work are in `rules`. Must not know any engine or
Kafka. Called by the loaders and the checks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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

    def __len__(self) -> int:
        return len(self.account)

    def prefix(self, events: int) -> Workload:
        """The first `events` events."""
        return Workload(
            self.account[:events], self.time_ms[:events], self.user[:events], self.feature[:events], self.count[:events]
        )

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
    )


def first_events(accounts: int, *, each: int = 1, until_ms: int = START_MS + DAYS * DAY_MS - 1) -> Workload:
    """Events for every account in turn, `each` times round, a tenth of a second apart, the last one at `until_ms`."""
    turn = np.arange(accounts * each, dtype=np.int64)
    return Workload(
        account=turn % accounts,
        time_ms=until_ms - 100 * turn[::-1],
        user=turn % _USERS_PER_ACCOUNT,
        feature=turn % len(_FEATURES),
        count=turn % _MAX_COUNT + 1,
    )


def values(workload: Workload, first_id: int = 0) -> Iterator[bytes]:
    """The JSON of each event, about 130 bytes; ids count from `first_id`."""
    columns = (workload.account, workload.time_ms, workload.user, workload.feature, workload.count)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for number, (account, time_ms, user, feature, count) in enumerate(rows, first_id):
        yield (
            f'{{"id":"{number:012x}","account_id":"{account_id(account)}","time":{time_ms},'
            f'"user_id":"user-{account:06d}-{user:02d}","feature":"{_FEATURES[feature]}","count":{count}}}'
        ).encode()


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

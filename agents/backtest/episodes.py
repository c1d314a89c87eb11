"""Find alert episodes: periods of days that an account spends in alerting bands, and whether churn followed.

Defines when an episode begins and ends, and which ones are right, false alarms or flaps. Works on arrays whose rows are
consecutive day boundaries and whose columns are accounts; times are epoch milliseconds. Does not know scores or
policies. Pure; called by `agents.backtest.study`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.topics import DAY_MS

FLAP_DAYS = 7
YEAR_DAYS = 365.25
NEVER_MS = np.iinfo(np.int64).max
"""The churn of an account that has not churned."""

Flags = NDArray[np.bool_]
Times = NDArray[np.int64]


class Episodes(NamedTuple):
    """One entry for each episode, ordered by account, then by time; `account` is a column.

    `begin_ms` is the first boundary in an alerting band, `end_ms` the first one after it in another band, or the last
    boundary if the episode has not ended.
    """

    account: NDArray[np.int64]
    begin_ms: Times
    end_ms: Times


class Verdicts(NamedTuple):
    """Which episodes were followed by churn, and which were false alarms; the others are undecided."""

    right: Flags
    false: Flags


def find_episodes(alerting: Flags, boundaries: Times) -> Episodes:
    """The episodes of `alerting`, bool (boundaries, accounts), false where an account is not observed."""
    idle = np.zeros((1, alerting.shape[1]), dtype=bool)
    turns = np.diff(np.concatenate([idle, alerting, idle]).astype(np.int8), axis=0).T
    account, begins = np.nonzero(turns == 1)
    _, ends = np.nonzero(turns == -1)
    last = max(len(boundaries) - 1, 0)
    return Episodes(account.astype(np.int64), boundaries[begins], boundaries[np.minimum(ends, last)])


def judge(episodes: Episodes, churn_ms: Times, known_ms: int, longest_days: int) -> Verdicts:
    """Decide for each episode whether it was right, a false alarm, or is undecided.

    `churn_ms` is by account (`NEVER_MS`: none); outcomes are known up to `known_ms`. An episode is right if the account
    churned during it or within the longest lead time after it. It is a false alarm if it is not right and outcomes are
    known for at least the longest lead time from its beginning.
    """
    longest_ms = longest_days * DAY_MS
    gone_ms = churn_ms[episodes.account]
    right = (gone_ms <= known_ms) & (gone_ms > episodes.begin_ms) & (gone_ms <= episodes.end_ms + longest_ms)
    return Verdicts(right, ~right & (episodes.begin_ms + longest_ms <= known_ms))


def warnings_days(episodes: Episodes, verdicts: Verdicts, churn_ms: Times) -> NDArray[np.float64]:
    """Days from the beginning of an account's last episode to its churn, float64 (accounts,).

    NaN for an account that did not churn, or whose last episode was not right.
    """
    days = np.full(len(churn_ms), np.nan)
    last = np.append(np.diff(episodes.account) > 0, [True])[: len(episodes.account)]
    selected = last & verdicts.right
    rows = episodes.account[selected]
    days[rows] = (churn_ms[rows] - episodes.begin_ms[selected]) / DAY_MS
    return days


def count_flaps(episodes: Episodes) -> int:
    """Episodes that begin at most a week after the end of the account's previous episode."""
    same = np.diff(episodes.account) == 0
    pause = episodes.begin_ms[1:] - episodes.end_ms[:-1]
    return int((same & (pause <= FLAP_DAYS * DAY_MS)).sum())


def account_years(observed: Flags) -> float:
    """Account-years in `observed`, bool (boundaries, accounts), where each true entry is a day."""
    return float(observed.sum() / YEAR_DAYS)

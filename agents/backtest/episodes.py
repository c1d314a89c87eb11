"""Episodes: stretches of days that an account spends in alerting bands, and whether churn came of them.

Owns when one begins and ends, which ones were right, which were false alarms, which were flaps. Works on arrays whose
rows are consecutive day boundaries and whose columns are accounts; times are epoch milliseconds. Must not know scores
or policies; touches nothing. Called by `agents.backtest.study`.
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
    """One entry an episode, ordered by account, then by time: `account` is a column.

    `begin_ms` is the first boundary in an alerting band, `end_ms` the first one after it that is not, or the last
    boundary there is when the episode goes on.
    """

    account: NDArray[np.int64]
    begin_ms: Times
    end_ms: Times


class Verdicts(NamedTuple):
    """Which episodes were followed by churn, and which were false alarms; what is neither can not be told yet."""

    right: Flags
    false: Flags


def find_episodes(alerting: Flags, boundaries: Times) -> Episodes:
    """The episodes of `alerting`, bool (boundaries, accounts), false where an account is not watched."""
    idle = np.zeros((1, alerting.shape[1]), dtype=bool)
    turns = np.diff(np.concatenate([idle, alerting, idle]).astype(np.int8), axis=0).T
    account, begins = np.nonzero(turns == 1)
    _, ends = np.nonzero(turns == -1)
    last = max(len(boundaries) - 1, 0)
    return Episodes(account.astype(np.int64), boundaries[begins], boundaries[np.minimum(ends, last)])


def judge(episodes: Episodes, churn_ms: Times, known_ms: int, longest_days: int) -> Verdicts:
    """Which episodes churn came of.

    `churn_ms` is by account (`NEVER_MS`: none), `known_ms` is until when outcomes are known. An episode was right when
    churn came while it lasted or within the longest lead time after it. It was a false alarm when that is not so and at
    least the longest lead time from its beginning is known.
    """
    longest_ms = longest_days * DAY_MS
    gone_ms = churn_ms[episodes.account]
    right = (gone_ms <= known_ms) & (gone_ms > episodes.begin_ms) & (gone_ms <= episodes.end_ms + longest_ms)
    return Verdicts(right, ~right & (episodes.begin_ms + longest_ms <= known_ms))


def warnings_days(episodes: Episodes, verdicts: Verdicts, churn_ms: Times) -> NDArray[np.float64]:
    """Days from the beginning of an account's last episode to its churn, float64 (accounts,).

    NaN for an account that did not churn, or whose last episode churn did not come of.
    """
    days = np.full(len(churn_ms), np.nan)
    last = np.append(np.diff(episodes.account) > 0, [True])[: len(episodes.account)]
    selected = last & verdicts.right
    rows = episodes.account[selected]
    days[rows] = (churn_ms[rows] - episodes.begin_ms[selected]) / DAY_MS
    return days


def count_flaps(episodes: Episodes) -> int:
    """Episodes that begin within a week after the end of the account's episode before."""
    same = np.diff(episodes.account) == 0
    pause = episodes.begin_ms[1:] - episodes.end_ms[:-1]
    return int((same & (pause <= FLAP_DAYS * DAY_MS)).sum())


def account_years(watched: Flags) -> float:
    """Years of accounts in `watched`, bool (boundaries, accounts): one day each."""
    return float(watched.sum() / YEAR_DAYS)

"""The status of an account: active, new, without data, or ended. One definition, which everything else reads.

Owns `Status`, the conditions of each, and the table of transitions. A status is not stored as a state machine that
events move: it is a function of facts of the account and of the time (`status_of`): maxima over events, the current
profile, and whether the account was merged into another one (`stream.accounts.merges`). So it does not depend on the
order of events, on repeats or on restarts. What was *published* of it is stored (`Accounts.last_published_state`), so
that each transition is published once.

| status | condition; the first that is true decides | score, bands, alerts |
|---|---|---|
| ENDED | the account was merged, or has ended and no event came after the end | none; its alerts are resolved |
| NO_DATA | no event for `dormant_after`, or no score has a value | none; only `silent` rules can hold |
| NEW | its first event is fewer days old than `min_age` | scored; only `silent` rules can hold |
| ACTIVE | otherwise | scored |

Each transition, and what causes it:

| from | to ACTIVE | to NEW | to NO_DATA | to ENDED |
|---|---|---|---|---|
| ACTIVE | | | silence | an end |
| NEW | its age, an older event | | silence | an end |
| NO_DATA | an event | an event | | an end |
| ENDED | an event after the end, a profile without an end | the same | a profile without an end | |

ACTIVE never becomes NEW: an account does not become younger. Called by `stream.engine.scorer`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from schemas.outputs import State
from stream.columns.columns import NEVER, LatestColumn, Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream.accounts.accounts import Accounts
    from stream.measures.base import AnyColumn

NO_END = np.iinfo(np.int64).max
"""`Accounts.profile_end_day` of an account whose profile names no end."""


class Status(IntEnum):
    """The status of an account. The numbers are saved in the changelog: they never change.

    Beside an array write `int(Status.NEW)`: for a member itself numpy takes 4 µs longer, a step with one event 70 µs.
    """

    UNKNOWN = -1
    """Not scored yet."""
    ACTIVE = 0
    NEW = 1
    NO_DATA = 2
    ENDED = 3


_ACTIVE, _NO_DATA = np.array(Status.ACTIVE, dtype=np.int8), np.array(Status.NO_DATA, dtype=np.int8)

STATES: dict[int, State | None] = {
    Status.UNKNOWN: None,
    Status.ACTIVE: None,
    Status.NEW: "new",
    Status.NO_DATA: "no-data",
    Status.ENDED: "ended",
}
"""Field `state` of output records: absent while an account is active."""

TRANSITIONS: frozenset[tuple[Status, Status]] = frozenset(
    {
        (Status.ACTIVE, Status.NO_DATA),
        (Status.ACTIVE, Status.ENDED),
        (Status.NEW, Status.ACTIVE),
        (Status.NEW, Status.NO_DATA),
        (Status.NEW, Status.ENDED),
        (Status.NO_DATA, Status.ACTIVE),
        (Status.NO_DATA, Status.NEW),
        (Status.NO_DATA, Status.ENDED),
        (Status.ENDED, Status.ACTIVE),
        (Status.ENDED, Status.NEW),
        (Status.ENDED, Status.NO_DATA),
    }
)
"""The transitions that can occur under one policy; a new policy can make an active account new."""


def is_listed(status: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Whether an account has scores and counts in bands, lists, peers and roll-ups, same shape."""
    return np.asarray((status == int(Status.ACTIVE)) | (status == int(Status.NEW)), dtype=np.bool_)


def ended_ms(accounts: Accounts, columns: Sequence[AnyColumn], rows: Rows, as_of_ms: int) -> NDArray[np.int64]:
    """When each row ended (epoch ms), int64 (k,); `NEVER` where it has not, or an event came after the end.

    An event ends an account at its time. A profile's `ended_at` ends it for that whole day: an event of the same
    day is not one after the end.
    """
    last_ms, calendar = accounts.life_ms[rows], accounts.plan.calendar
    ended = _last_end(accounts, columns, rows)
    ended[last_ms > ended] = NEVER
    days = accounts.profile_end_day[rows]
    if accounts.profiles and np.count_nonzero(by_profile := days <= calendar.pane_of(as_of_ms, "day")):
        by_profile &= calendar.panes_of(last_ms, "day") <= days
        starts = calendar.starts_ms(np.where(by_profile, days, 0), "day")
        ended = np.where(by_profile, np.where(ended == NEVER, starts, np.minimum(ended, starts)), ended)
    into = accounts.merges.into
    for index in np.flatnonzero(np.isin(rows, list(into))).tolist() if into else ():
        ended[index] = into[int(rows[index])].time
    return ended


def _last_end(accounts: Accounts, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.int64]:
    """When the last event that can end an account came (epoch ms), int64 (k,); `NEVER` without."""
    ended: NDArray[np.int64] | None = None
    for index in accounts.plan.ending_columns:
        column = columns[index]
        assert isinstance(column, LatestColumn), "the plan makes it one"
        times = column.times[rows]
        ended = times if ended is None else np.maximum(ended, times)
    return np.full(len(rows), NEVER, dtype=np.int64) if ended is None else ended


def status_of(
    accounts: Accounts, columns: Sequence[AnyColumn], rows: Rows, as_of_ms: int, has_score: NDArray[np.bool_]
) -> NDArray[np.int8]:
    """The status of each row at a time (epoch ms), int8 (k,); `has_score` (k,) says whether any score has a value."""
    plan, calendar = accounts.plan, accounts.plan.calendar
    today = calendar.pane_of(as_of_ms, "day")
    last_ms = accounts.life_ms[rows]
    recent = calendar.panes_of(last_ms, "day") > today - plan.dormant_days  # `NEVER` lies before all days
    status = np.where(recent & has_score, _ACTIVE, _NO_DATA)
    new_accounts = plan.policy.new_accounts
    if new_accounts is not None:
        new = calendar.panes_of(accounts.first_ms[rows], "day") > today - new_accounts.min_age_days
        if np.count_nonzero(new):
            status[new & (status == _ACTIVE)] = int(Status.NEW)
    if plan.ending_columns or accounts.profiles or accounts.merges.into:
        status[ended_ms(accounts, columns, rows, as_of_ms) != NEVER] = int(Status.ENDED)
    return status

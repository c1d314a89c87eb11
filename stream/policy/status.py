"""Read when an account is new, has no data or has ended: the tables `new_accounts` and `status` of a policy.

Owns `NewAccounts`, `StatusRules` and their defaults. Must not know of scores and alerts. Called by the
policy parser; the rules are applied by `stream.accounts.status`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from schemas.events import CONTROL_SOURCE
from stream.policy.filters import Filter, read_where
from stream.policy.windows import DAYS

if TYPE_CHECKING:
    from schemas.sources import Sources
    from stream.policy.table import Table

_TABLE = 'a table with dormant_after = "60d", while_silent or ended_by'
_ENDED_BY = 'a list of tables such as { source = "billing", where = { kind = ["cancelled"] } }'


@dataclass(frozen=True, slots=True)
class EndingEvents:
    """Events that end an account: those of a source that pass a filter."""

    source: str
    where: Filter = ()


@dataclass(frozen=True, slots=True)
class StatusRules:
    """What ends an account, what counts while it is silent, and after how many days without an event it has no data.

    `dormant_days` None means that the windows of the policy decide (`stream.plan.silence`). `while_silent` None means
    "worse": a measure counts as of now or as of the last event, whichever is worse.
    """

    dormant_days: int | None = None
    ended_by: tuple[EndingEvents, ...] = (EndingEvents("billing", (("kind", ("cancelled",)),)),)
    while_silent: Literal["now"] | None = None


@dataclass(frozen=True, slots=True)
class NewAccounts:
    """An account is new until `min_age_days` UTC days after the day of its first event."""

    min_age_days: int


def read_status(root: Table, sources: Sources) -> StatusRules:
    """The rules of a policy, or the default ones; a mistake is recorded."""
    default = StatusRules()
    table = root.table("status", _TABLE, ("dormant_after", "while_silent", "ended_by")) if "status" in root else None
    if table is None:
        return default
    if not len(table):
        root.wrong("status", _TABLE)
    dormant_after = DAYS.read(table, "dormant_after", required=False)
    while_silent = table.choice("while_silent", ("worse", "now"), required=False)
    return StatusRules(
        default.dormant_days if dormant_after is None else dormant_after.panes,
        _read_ended_by(table, sources) if "ended_by" in table else default.ended_by,
        "now" if while_silent == "now" else None,
    )


def _read_ended_by(table: Table, sources: Sources) -> tuple[EndingEvents, ...]:
    """The events that end an account; a control is input by a person, not an event of the account."""
    ending = tuple(name for name in sources.of_events if name != CONTROL_SOURCE)
    events = []
    for each in table.tables("ended_by", _ENDED_BY, ("source", "where")):
        source = each.choice("source", ending)
        where = read_where(each, None if source is None else sources[source])
        if source is not None:
            events.append(EndingEvents(source, where))
    return tuple(sorted(set(events), key=repr))


def read_new_accounts(root: Table) -> NewAccounts | None:
    """When accounts are new; None if the policy does not say, or says it wrongly, which is recorded."""
    if "new_accounts" not in root:
        return None
    table = root.table("new_accounts", 'a table with min_age = "14d"', ("min_age",))
    min_age = None if table is None else DAYS.read(table, "min_age")
    return None if min_age is None else NewAccounts(min_age.panes)

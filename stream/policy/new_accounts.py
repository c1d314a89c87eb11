"""Read when an account is new: the table `new_accounts` of a policy.

Owns `NewAccounts`. Must not know of scores and alerts. Called by the policy parser.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream.policy.windows import DAYS

if TYPE_CHECKING:
    from stream.policy.table import Table


@dataclass(frozen=True, slots=True)
class NewAccounts:
    """An account is new until `min_age_days` UTC days after the day of its first event."""

    min_age_days: int


def read_new_accounts(root: Table) -> NewAccounts | None:
    """When accounts are new; None if the policy does not say, or says it wrongly, which is recorded."""
    if "new_accounts" not in root:
        return None
    table = root.table("new_accounts", 'a table with min_age = "14d"', ("min_age",))
    min_age = None if table is None else DAYS.read(table, "min_age")
    return None if min_age is None else NewAccounts(min_age.panes)

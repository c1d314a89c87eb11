"""The oracle's merges: which account each event counts for, by the merges and erasures before it in the log.

Owns a second reading of docs/how-to/merge-accounts.md for accounts of one partition. Must not know scores nor the
product's own code. Called by `tests.oracle.engine`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tests.oracle.events import Event


def is_merge(event: Event) -> bool:
    """Whether it is a control that merges its account into another one."""
    return event.source == "controls" and event.texts["kind"] == "merge"


def is_erasure(event: Event) -> bool:
    """Whether it is a control that erases its account."""
    return event.source == "controls" and event.texts["kind"] == "erase"


def moves_accounts(event: Event) -> bool:
    """Whether it is an erasure or a merge: it holds at its place in the log, and is no event of any account."""
    return is_erasure(event) or is_merge(event)


def into_of(merge: Event) -> str:
    """The account that a merge names."""
    return merge.texts["into"].strip()


@dataclass
class Merges:
    """What was merged into what, as of a place in the log."""

    into: dict[str, str] = field(default_factory=dict)
    had: dict[str, set[str]] = field(default_factory=dict)
    """Of each account those that were ever merged into it, or into one that was."""

    def refuses(self, merge: Event) -> bool:
        """Whether a merge is of an account into itself, of one that is merged elsewhere, or closes a circle."""
        account, into = merge.account_id, into_of(merge)
        known = self.into.get(account)
        if into == account:
            return True
        return known != into if known is not None else into in self.had.get(account, set())

    def take(self, event: Event) -> bool:
        """Note an erasure or a merge; returns whether it is accepted."""
        if is_erasure(event):
            self.erase(event.account_id)
        elif self.refuses(event):
            return False
        elif event.account_id not in self.into:
            self.add(event)
        return True

    def add(self, merge: Event) -> None:
        """Note a merge that is not refused."""
        self.into[merge.account_id] = into_of(merge)
        everyone = {merge.account_id} | self.had.get(merge.account_id, set())
        account = merge.account_id
        while account in self.into:
            account = self.into[account]
            self.had.setdefault(account, set()).update(everyone)

    def erase(self, account: str) -> set[str]:
        """Note an erasure; returns everybody of whom nothing is left: those who count for the account, too."""
        gone, waiting = set[str](), [account]
        while waiting:
            each = waiting.pop()
            gone.add(each)
            self.into.pop(each, None)
            waiting += [other for other in self.had.pop(each, set()) if self.into.get(other) == each]
        return gone

    def home(self, account: str) -> str:
        """The account that events of an account count for."""
        while account in self.into:
            account = self.into[account]
        return account

    def at_home(self, event: Event) -> Event | None:
        """The event with the account that it counts for. None for the deletion of a merged account's profile."""
        home = self.home(event.account_id)
        if home != event.account_id and event.said is not None and event.said.deletes:
            return None
        return replace(event, account_id=home)

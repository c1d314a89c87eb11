"""Reasons of open alerts, by account and rule: what every record of an episode says until the next one begins.

Owns the reason of each open episode and its form in a changelog row. Reasons are made by `stream.alerts.reasons`. A
part of `stream.accounts.accounts.Accounts`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from schemas.outputs import Fall


class Reason(msgspec.Struct, omit_defaults=True):
    """Why an alert fired: a text, the measure that counts most (or ""), and the fall where there was one."""

    text: str = ""
    main: str = ""
    fall: Fall | None = None


class AlertReasons(dict[int, dict[str, Reason]]):
    """Reasons by row and rule name; a row without open alerts has no entry."""

    def __init__(self, rules: Iterable[str]) -> None:
        """Empty; reasons of any rule but these `rules` are not loaded."""
        super().__init__()
        self._rules = frozenset(rules)

    def record(self, row: int, rule: str, reason: Reason) -> None:
        """Keep the reason of an episode that begins."""
        self.setdefault(row, {})[rule] = reason

    def of(self, row: int, rule: str) -> Reason | None:
        """The reason of an open episode; None if it began under a version that does not keep reasons."""
        return self.get(row, {}).get(rule)

    def discard(self, row: int, rule: str) -> None:
        """Forget the reason of an episode that has ended."""
        reasons = self.get(row)
        if reasons is not None:
            reasons.pop(rule, None)
            if not reasons:
                del self[row]

    def save(self, row: int) -> bytes:
        """The reasons of a row as JSON, by rule."""
        return msgspec.json.encode(self[row])

    def load(self, row: int, saved: bytes) -> None:
        """Fill a row from what `save` returned; rules that do not exist any more are left out."""
        by_rule = msgspec.json.decode(saved, type=dict[str, Reason])
        current = {rule: reason for rule, reason in by_rule.items() if rule in self._rules}
        if current:
            self[row] = current

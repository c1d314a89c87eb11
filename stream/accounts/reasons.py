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


_DECODER = msgspec.json.Decoder(dict[str, Reason])


class AlertReasons(dict[int, bytes]):
    """Reasons by row, as JSON by rule name; a row without open alerts has no entry.

    They are read when an episode goes on or ends, and written when it begins: in between JSON takes a third of the
    memory of objects.
    """

    def __init__(self, rules: Iterable[str]) -> None:
        """Empty; reasons of any rule but these `rules` are not loaded."""
        super().__init__()
        self._rules = frozenset(rules)

    def record(self, row: int, rule: str, reason: Reason) -> None:
        """Keep the reason of an episode that begins."""
        self._set(row, {**self._by_rule(row), rule: reason} if row in self else {rule: reason})

    def of(self, row: int, rule: str) -> Reason | None:
        """The reason of an open episode; None if it began under a version that does not keep reasons."""
        return self._by_rule(row).get(rule)

    def discard(self, row: int, rule: str) -> None:
        """Forget the reason of an episode that has ended."""
        reasons = self._by_rule(row)
        if reasons.pop(rule, None) is not None:
            self._set(row, reasons)

    def load(self, row: int, saved: bytes) -> None:
        """Fill a row from what was saved; rules that do not exist any more are left out."""
        reasons = _DECODER.decode(saved)
        if reasons and self._rules.issuperset(reasons):
            self[row] = saved
        else:
            self._set(row, {rule: reason for rule, reason in reasons.items() if rule in self._rules})

    def _by_rule(self, row: int) -> dict[str, Reason]:
        return _DECODER.decode(self[row]) if row in self else {}

    def _set(self, row: int, reasons: dict[str, Reason]) -> None:
        if reasons:
            self[row] = msgspec.json.encode(reasons)
        else:
            self.pop(row, None)

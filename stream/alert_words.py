"""What people said of alerts: acknowledgements and snoozes, by account and rule.

Owns the latest of each and their form in a changelog row. What follows from them is for `stream.alerting`. A part of
`stream.accounts.Accounts`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from schemas.codecs import instant_ms
from schemas.events import ControlEvent


class Word(Struct, omit_defaults=True):
    """What was said of one alert: who acknowledged it, and until when it is snoozed."""

    acknowledged: ControlEvent | None = None
    snoozed: ControlEvent | None = None

    def until(self, as_of_ms: int) -> int | None:
        """The end of a snooze that lasts at a moment (ms), or None."""
        if self.snoozed is None or self.snoozed.until is None:
            return None
        end = instant_ms(self.snoozed.until)
        return end if end > max(as_of_ms, instant_ms(self.snoozed.time)) else None


class Words(dict[int, dict[str, Word]]):
    """By row and rule."""

    def __init__(self, rules: Iterable[str]) -> None:
        """Empty; only of these `rules` something can be said."""
        super().__init__()
        self._rules = frozenset(rules)
        self.fresh: dict[tuple[int, str], set[str]] = {}
        """By (row, rule) the kinds of words that are new and have not been told yet."""

    def take(self, row: int, control: ControlEvent) -> None:
        """Take an acknowledgement or a snooze; of two snoozes the one with the later (time, id) holds."""
        if control.rule not in self._rules:
            return
        word = self.setdefault(row, {}).setdefault(control.rule, Word())
        if control.kind == "acknowledge":
            word.acknowledged = control
        elif word.snoozed is None or _rank(control) > _rank(word.snoozed):
            word.snoozed = control
        else:
            return
        self.fresh.setdefault((row, control.rule), set()).add(control.kind)

    def is_news(self, row: int, rule: str) -> bool:
        """Whether something that still holds is new; asked once, as it is told then."""
        kinds, word = self.fresh.pop((row, rule), set()), self[row][rule]
        return ("acknowledge" in kinds and word.acknowledged is not None) or (
            "snooze" in kinds and word.snoozed is not None
        )

    def forget(self, row: int, rule: str) -> None:
        """Forget what was said of an alert."""
        self[row].pop(rule, None)
        if not self[row]:
            del self[row]

    def save(self, row: int) -> bytes:
        """A row's words as JSON."""
        return msgspec.json.encode(self[row])

    def load(self, row: int, saved: bytes) -> None:
        """Take what `save` gave, of rules that still exist."""
        found = msgspec.json.decode(saved, type=dict[str, Word])
        kept = {rule: word for rule, word in found.items() if rule in self._rules}
        if kept:
            self[row] = kept


def _rank(control: ControlEvent) -> tuple[int, str]:
    return instant_ms(control.time), control.id

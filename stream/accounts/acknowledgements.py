"""What people said of alerts: acknowledgements and snoozes, by account and rule.

Owns the latest of each and their form in a changelog row. What follows from them is for `stream.alerts.emission`. A
part of `stream.accounts.accounts.Accounts`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from schemas.codecs import instant_ms
from schemas.events import ControlEvent

PublishedForm = tuple[tuple[int, str | None] | None, int | None]


class Acknowledgement(Struct, omit_defaults=True):
    """What was said of one alert: who acknowledged it, and until when it is snoozed."""

    acknowledged: ControlEvent | None = None
    snoozed: ControlEvent | None = None
    told: PublishedForm = (None, None)
    """What `published_form` gave when it was told last."""

    def until(self, as_of_ms: int) -> int | None:
        """The end of a snooze that lasts at a moment (ms), or None."""
        if self.snoozed is None or self.snoozed.until is None:
            return None
        end = instant_ms(self.snoozed.until)
        return end if end > max(as_of_ms, instant_ms(self.snoozed.time)) else None

    def published_form(self) -> PublishedForm:
        """When (ms) and by whom it was acknowledged, and the end of its snooze (ms)."""
        acknowledged, snoozed = self.acknowledged, self.snoozed
        return (
            None if acknowledged is None else (instant_ms(acknowledged.time), acknowledged.by),
            None if snoozed is None or snoozed.until is None else instant_ms(snoozed.until),
        )


class Acknowledgements(dict[int, dict[str, Acknowledgement]]):
    """By row and rule."""

    def __init__(self, rules: Iterable[str]) -> None:
        """Empty; only of these `rules` something can be said."""
        super().__init__()
        self._rules = frozenset(rules)

    def take(self, row: int, control: ControlEvent) -> None:
        """Take an acknowledgement or a snooze; of two snoozes the one with the later (time, id) holds."""
        if control.rule not in self._rules:
            return
        acknowledgement = self.setdefault(row, {}).setdefault(control.rule, Acknowledgement())
        if control.kind == "acknowledge":
            acknowledgement.acknowledged = control
        elif acknowledgement.snoozed is None or _rank(control) > _rank(acknowledgement.snoozed):
            acknowledgement.snoozed = control

    def is_news(self, row: int, rule: str) -> bool:
        """Whether what was said of an alert is not what was told of it; asked once, as it is told then."""
        acknowledgement = self[row][rule]
        before, acknowledgement.told = acknowledgement.told, acknowledgement.published_form()
        return before != acknowledgement.told

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
        found = msgspec.json.decode(saved, type=dict[str, Acknowledgement])
        kept = {rule: acknowledgement for rule, acknowledgement in found.items() if rule in self._rules}
        if kept:
            self[row] = kept


def _rank(control: ControlEvent) -> tuple[int, str]:
    return instant_ms(control.time), control.id

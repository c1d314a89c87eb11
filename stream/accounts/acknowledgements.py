"""Acknowledgements and snoozes of alerts, by account and rule.

Owns the latest of each, what of them was published, and their form in a changelog row. What they do to an alert is
decided by `stream.alerts.emission`. A part of `stream.accounts.accounts.Accounts`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from schemas.codecs import instant_ms
from schemas.events import ControlEvent

PublishedForm = tuple[tuple[int, str | None] | None, int | None]


class Acknowledgement(Struct, omit_defaults=True):
    """The current acknowledgement and snooze of one alert."""

    acknowledged: ControlEvent | None = None
    snoozed: ControlEvent | None = None
    published: PublishedForm = msgspec.field(default=(None, None), name="told")
    """`published_form` when the alert was published last."""

    def until(self, as_of_ms: int) -> int | None:
        """The end (epoch ms) of a snooze that is active at `as_of_ms`, or None."""
        if self.snoozed is None or self.snoozed.until is None:
            return None
        end = instant_ms(self.snoozed.until)
        return end if end > max(as_of_ms, instant_ms(self.snoozed.time)) else None

    def published_form(self) -> PublishedForm:
        """What an alert record says of it: time (epoch ms) and author of the acknowledgement, end of the snooze."""
        acknowledged, snoozed = self.acknowledged, self.snoozed
        return (
            None if acknowledged is None else (instant_ms(acknowledged.time), acknowledged.by),
            None if snoozed is None or snoozed.until is None else instant_ms(snoozed.until),
        )


class Acknowledgements(dict[int, dict[str, Acknowledgement]]):
    """Acknowledgements by row and rule name; a row without any has no entry."""

    def __init__(self, rules: Iterable[str]) -> None:
        """Empty; controls for any rule but these `rules` are ignored."""
        super().__init__()
        self._rules = frozenset(rules)

    def apply(self, row: int, control: ControlEvent) -> None:
        """Apply an acknowledgement, or a snooze unless one with a later (time, id) is current."""
        if control.rule not in self._rules:
            return
        acknowledgement = self.setdefault(row, {}).setdefault(control.rule, Acknowledgement())
        if control.kind == "acknowledge":
            acknowledgement.acknowledged = control
        elif acknowledgement.snoozed is None or _order(control) > _order(acknowledgement.snoozed):
            acknowledgement.snoozed = control

    def record_published(self, row: int, rule: str) -> bool:
        """Record that the current form is published now; returns whether it differs from the last published one."""
        acknowledgement = self[row][rule]
        before, acknowledgement.published = acknowledgement.published, acknowledgement.published_form()
        return before != acknowledgement.published

    def discard(self, row: int, rule: str) -> None:
        """Remove the acknowledgement and snooze of an alert."""
        self[row].pop(rule, None)
        if not self[row]:
            del self[row]

    def save(self, row: int) -> bytes:
        """The acknowledgements of a row as JSON, by rule."""
        return msgspec.json.encode(self[row])

    def load(self, row: int, saved: bytes) -> None:
        """Fill a row from what `save` returned; rules that do not exist any more are left out."""
        by_rule = msgspec.json.decode(saved, type=dict[str, Acknowledgement])
        current = {rule: acknowledgement for rule, acknowledgement in by_rule.items() if rule in self._rules}
        if current:
            self[row] = current


def _order(control: ControlEvent) -> tuple[int, str]:
    return instant_ms(control.time), control.id

"""Hints about a valid policy: what is allowed, and probably not what was meant.

Owns the hints of `vitals check`. Must not know events and scores. Called by `agents.cli.check`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream.policy.windows import LONGEST_WINDOW

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stream.policy.measures import Measure
    from stream.policy.windows import Window

_WEEK_DAYS = 7


def hints(measures: Iterable[Measure]) -> list[str]:
    """One line for each measure that compares windows of other weekdays with each other."""
    return [
        f'measures.{measure.name}: window = "{measure.window.panes}{measure.window.unit[0]}" is not whole weeks, so '
        f'compare = "{measure.compare}" compares windows with different weekdays, and weekends alone change the value; '
        f'"{_whole_weeks(measure)}" is whole weeks'
        for measure in measures
        if measure.blocks and not _is_whole_weeks(measure.window)
    ]


def _is_whole_weeks(window: Window) -> bool:
    return window.unit == "day" and window.panes % _WEEK_DAYS == 0


def _whole_weeks(measure: Measure) -> str:
    """The nearest window of whole weeks that the comparison can have."""
    days = measure.window.panes if measure.window.unit == "day" else 0
    most = LONGEST_WINDOW["day"] // (2 if measure.history is None else 3) // _WEEK_DAYS
    return f"{_WEEK_DAYS * min(max(round(days / _WEEK_DAYS), 1), most)}d"

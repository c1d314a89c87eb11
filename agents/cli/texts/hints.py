"""Hints about a valid policy: what is allowed, and probably not what was meant.

Owns the hints of `vitals check`. Must not know events and scores. Called by `agents.cli.check` and
`agents.cli.texts.policy`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream.policy.windows import COMPARABLE_STATS as TOTALS
from stream.policy.windows import LONGEST_WINDOW

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from stream.policy.measures import Measure
    from stream.policy.windows import Window

_WEEK_DAYS = 7


def hints(measures: Iterable[Measure]) -> list[str]:
    """One line for each measure that compares windows of other weekdays with each other, or counts by months."""
    return [*_weekdays(measures := list(measures)), *_months(measures)]


def _weekdays(measures: list[Measure]) -> list[str]:
    return [
        f'measures.{measure.name}: window = "{measure.window.panes}{measure.window.unit[0]}" is not whole weeks, so '
        f'compare = "{measure.compare}" compares windows with different weekdays, and weekends alone change the value; '
        f'"{_whole_weeks(measure)}" is whole weeks'
        for measure in measures
        if measure.blocks and measure.window.counted is None and not _is_whole_weeks(measure.window)
    ]


def _months(measures: list[Measure]) -> Iterator[str]:
    """Measures whose value the calendar alone changes."""
    for measure in measures:
        window = f'measures.{measure.name}: window = "{measure.window.text}"'
        if measure.window.unit != "month":
            continue
        if measure.skip == 0 and (measure.stat in TOTALS or measure.window.counted == 1):
            yield f"{window} begins anew on the first of each month; complete = true counts complete months"
        elif measure.stat in TOTALS:
            yield f'{window} has months of 28 to 31 days, which alone change the value; stat = "rate" is per day'


def _is_whole_weeks(window: Window) -> bool:
    return window.unit == "day" and window.panes % _WEEK_DAYS == 0


def _whole_weeks(measure: Measure) -> str:
    """The nearest window of whole weeks that the comparison can have."""
    days = measure.window.panes if measure.window.unit == "day" else 0
    most = LONGEST_WINDOW["day"] // (2 if measure.history is None else 3) // _WEEK_DAYS
    return f"{_WEEK_DAYS * min(max(round(days / _WEEK_DAYS), 1), most)}d"

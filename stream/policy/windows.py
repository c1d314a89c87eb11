"""Read the time spans of a policy: windows of measures, what a window is compared with, delays of alerts.

Owns `Window`, `Span` and the limits of spans. Must not know of fields and points. Called by the readers of measures,
scores and alerts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from stream.columns.panes import UNIT_MS, Unit
from stream.policy.errors import listed, shown
from stream.policy.normalisers import FULL_POINTS
from stream.policy.table import finite

if TYPE_CHECKING:
    from stream.columns.calendar import Calendar
    from stream.policy.table import Table

LONGEST_WINDOW = {"hour": 72, "day": 365}  # in panes
MOST_BUSINESS_DAYS = 260
MOST_MONTHS = 10
"""With the current month, so many can have 337 days."""
MISSING_WORDS = ("redistribute", "hold", "neutral", "zero")
LEAST_PEERS = 20
"""Default of `least_peers`: in a segment with fewer peers, an account is compared with all accounts."""

PERIOD_STATS = ("active", "active_share", "streak")
"""Statistics that count days or weeks."""
DAYS_A_WEEK = 7

AGE_STATS = ("open_max_days", "open_mean_days")
OPEN_STATS = ("open", *AGE_STATS)
"""Statistics of things with a state."""
_NEVER_A_WINDOW = (*AGE_STATS, "days_to_first")
WITHOUT_WINDOW = ("open", "last", *_NEVER_A_WINDOW)
"""Statistics that look back without limit where no window is given."""

COMPARABLE_STATS = ("count", "sum", "weighted_count")
COUNTED_STATS = ("count", "sum", "weighted_count", "rate", "mean", "min", "max", "share", "nps")
"""Statistics that take a window in business days or months: those that are read day by day."""
_COMPARISONS = ("previous", "percentile", "z", "peers")
_COMPLETE = {
    **dict.fromkeys(("count", "sum", "weighted_count"), (True, "at-least")),
    **dict.fromkeys(("mean", "min", "max", "share", "nps", "days_since_last"), (True,)),
    **dict.fromkeys(("distinct_users", "distinct_features", "distinct_roles", "distinct"), ("at-least",)),
}
"""The values of `complete` by statistic. Of a member, only the newest pane is kept, so it is known no other way."""
_HELD_STATS = ("mean", "min", "max", "last", "share", "nps")
_MOST_PEERS = 1_000_000
_WINDOW = re.compile(r"(?P<panes>[0-9]{1,9})(?P<unit>h|d|bd|mo)")
_UNITS: dict[str, SpanUnit] = {"h": "hour", "d": "day", "bd": "business day", "mo": "month"}
_LETTERS = {unit: letters for letters, unit in _UNITS.items()}

Comparison = Literal["previous", "percentile", "z", "peers"]
SpanUnit = Literal["hour", "day", "business day", "month"]
Complete = Literal["only", "at-least", "off"]
"""How the current, unfinished pane counts.

"only": not at all. "at-least": as soon as it has more than the oldest pane, which it replaces. "off": as others do.
"""


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time before now: a number of panes, each a UTC hour or a UTC day, or of business days or months.

    The window of a measure in business days or months has `counted` of them, and `panes` are the most days that it can
    reach back.
    """

    panes: int
    unit: SpanUnit
    counted: int | None = None

    @property
    def text(self) -> str:
        """As a policy says it, such as `30d`."""
        return f"{self.counted or self.panes}{_LETTERS[self.unit]}"

    @property
    def doubled(self) -> Window:
        """The window together with the one before it."""
        return Window(2 * self.panes, self.unit, None if self.counted is None else 2 * self.counted)

    @property
    def pane(self) -> Unit:
        """The pane that it is made of."""
        return "hour" if self.unit == "hour" else "day"

    @property
    def length_ms(self) -> int:
        """Length in milliseconds; of business days, that of as many days."""
        return self.panes * UNIT_MS[self.pane]


NO_WINDOW = Window(0, "day")
"""Of measures that have none."""


@dataclass(frozen=True, slots=True)
class Span:
    """The spans that a key takes: 1 to `hours` hours, `days` days or `business_days`; `expected` describes them."""

    hours: float
    days: float
    expected: str
    business_days: float = 0

    def read(self, table: Table, key: str, *, required: bool = True) -> Window | None:
        """The span in `key`; None if absent or wrong, which is recorded."""
        if not required and key not in table:
            return None
        window = read_panes(table, key, self.expected)
        if window is None:
            return None
        most = {"hour": self.hours, "day": self.days, "business day": self.business_days, "month": 0.0}
        if 1 <= window.panes <= most[window.unit]:
            return window
        table.wrong(key, self.expected)
        return None

    def read_ms(self, table: Table, key: str, *, required: bool = True) -> int | None:
        """The same in milliseconds."""
        window = self.read(table, key, required=required)
        return None if window is None else window.length_ms


def days_up_to(days: int) -> Span:
    """Whole days, at most `days` of them."""
    return Span(0, days, f'days from "1d" to "{days}d"')


DAYS = days_up_to(LONGEST_WINDOW["day"])
FORECAST_DAYS = days_up_to(90)
SPANS = Span(LONGEST_WINDOW["hour"], DAYS.days, f'hours from "1h" to "{LONGEST_WINDOW["hour"]}h" or {DAYS.expected}')
SILENT_DAYS = Span(
    0,
    DAYS.days,
    f'{DAYS.expected}, or business days from "1bd" to "{MOST_BUSINESS_DAYS}bd"',
    MOST_BUSINESS_DAYS,
)
WINDOWS = f'{SPANS.expected}, business days such as "5bd" or months such as "2mo"'
"""What a measure's window can be."""
_WHY_A_YEAR = (
    f"because {LONGEST_WINDOW['day']} days are kept: each day of a window takes memory in every account; "
    "for what is older, use an attribute of the account"
)
ANY_SPAN = Span(float("inf"), float("inf"), 'hours or days, such as "12h" or "3d"')


def read_panes(table: Table, key: str, expected: str) -> Window | None:
    """A number of hours, days, business days or months without limits."""
    text = table.value(key)
    match = _WINDOW.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        table.wrong(key, expected)
        return None
    return Window(int(match["panes"]), _UNITS[match["unit"]])


def read_window(table: Table, stat: str | None, calendar: Calendar) -> Window | None:
    """The window of a measure; without any panes where the statistic looks back without limit."""
    if stat in _NEVER_A_WINDOW and "window" in table:
        table.problem("window", f'stat "{stat}" looks back without limit and takes no window: remove it')
    if stat in _NEVER_A_WINDOW or (stat in WITHOUT_WINDOW and "window" not in table):
        return NO_WINDOW
    window = read_panes(table, "window", WINDOWS)
    if window is not None and window.unit in ("business day", "month"):
        return _counted(table, stat, window, calendar)
    return None if window is None else _checked(table, stat, window)


def _counted(table: Table, stat: str | None, window: Window, calendar: Calendar) -> Window | None:
    """A window in business days or months; None, and a problem, if the measure cannot have it."""
    unit, count = window.unit, window.panes
    units, in_days = (
        f"{unit}s",
        f"{DAYS_A_WEEK * max(1, min(52, round(count / 5 if unit == 'business day' else count * 4.35)))}d",
    )
    if stat is not None and stat not in COUNTED_STATS:
        able = listed(COUNTED_STATS)
        table.problem("window", f'stat "{stat}" takes no window in {units}: write "{in_days}"; stats that do: {able}')
        return None
    compare = table.value("compare")
    if compare is not None and compare not in (("peers", "previous") if unit == "business day" else ("peers",)):
        why = ", whose lengths differ: write whole weeks, such as" if unit == "month" else ": write"
        table.problem("window", f'compare = {shown(compare)} does not take a window in {units}{why} "{in_days}"')
        return None
    if table.value("missing") == "hold":
        table.problem("missing", f'"hold" does not work with a window in {units}: write "{in_days}"')
        return None
    if table.value("complete") == "at-least":
        table.problem("complete", f'a window in {units} does not take "at-least": use true, or remove it')
        return None
    windows = 2 if compare == "previous" else 1
    most = MOST_MONTHS if unit == "month" else _most_business_days(calendar, windows)
    if not 1 <= count <= most:
        table.wrong("window", f'{units} from "1{_LETTERS[unit]}" to "{most}{_LETTERS[unit]}", {_WHY_A_YEAR}')
        return None
    return Window(calendar.most_days(unit, count + (unit == "month")), unit, count)


def _most_business_days(calendar: Calendar, windows: int) -> int:
    counts = range(MOST_BUSINESS_DAYS // windows, 0, -1)
    return next(
        (count for count in counts if windows * calendar.most_days("business day", count) < LONGEST_WINDOW["day"]), 0
    )


def _checked(table: Table, stat: str | None, window: Window) -> Window | None:
    """The window, if the statistic can have it; else it is recorded."""
    days = max(1, min(window.panes // 24, LONGEST_WINDOW["day"]))
    in_days = f'; did you mean "{days}d"?' if window.unit == "hour" and window.panes else ""
    if window.unit == "hour" and stat in ("days_since_last", "open", *PERIOD_STATS):
        table.wrong("window", f'{DAYS.expected} for stat "{stat}"', in_days)
        return None
    if stat in PERIOD_STATS and table.value("per") == "week" and window.panes % DAYS_A_WEEK:
        table.wrong("window", f'whole weeks with per = "week", such as "{max(7, window.panes // 7 * 7)}d"')
        return None
    if not 1 <= window.panes <= LONGEST_WINDOW[window.pane]:
        too_long = window.unit == "day" and window.panes > LONGEST_WINDOW["day"]
        table.wrong("window", WINDOWS, in_days or (f"; {_WHY_A_YEAR}" if too_long else ""))
        return None
    return window


def read_compare(table: Table, stat: str | None, window: Window | None) -> tuple[Comparison | None, int | None]:
    """What the window is compared with, and over how many panes before it."""
    word = table.choice("compare", _COMPARISONS, required=False)
    if "history" in table and (word in ("previous", "peers") or "compare" not in table):
        table.problem("history", 'only compare = "percentile" or "z" takes history: remove history')
    if word == "peers":
        return "peers", None
    if "compare" in table and stat is not None and stat not in COMPARABLE_STATS:
        able = listed(COMPARABLE_STATS)
        table.problem("compare", f'stat "{stat}" cannot be compared with earlier windows; stats that can: {able}')
        return None, None
    if word is None:
        return None, None
    comparison: Comparison = "previous" if word == "previous" else "percentile" if word == "percentile" else "z"
    least_windows = 2 if comparison == "previous" else 3
    if window is not None and window.counted is None and least_windows * window.panes > LONGEST_WINDOW[window.pane]:
        unit, longest = window.unit[0], LONGEST_WINDOW[window.pane]
        reason = f"{least_windows} windows must fit into {longest}{unit}"
        table.wrong("window", f'at most "{longest // least_windows}{unit}" with compare = "{word}" ({reason})')
        return None, None
    if comparison == "previous":
        return comparison, None
    history = _read_history(table, window)
    return (None, None) if history is None else (comparison, history)


def _read_history(table: Table, window: Window | None) -> int | None:
    expected = 'a span such as "84d", in the unit of the window, at least twice as long as the window'
    history = read_panes(table, "history", expected)
    if history is None or window is None:
        return None
    most = LONGEST_WINDOW[window.pane] - window.panes
    if history.unit != window.unit or not 2 * window.panes <= history.panes <= most:
        table.wrong("history", f'{expected} and at most "{most}{window.unit[0]}"')
        return None
    return history.panes


def read_complete(table: Table, stat: str | None, compare: str | None, *, own: bool = False) -> Complete | None:
    """What `complete` says, where it says more than the statistic and the comparison do by themselves.

    `own` says that the statistic is one of another package.
    """
    value = table.value("complete")
    if "complete" not in table or stat is None:
        return None
    if value is not True and value is not False and value != "at-least":
        table.wrong("complete", 'true, "at-least" or false')
        return None
    by_itself = complete_by_itself(stat, compare)
    if by_itself is not None:
        if value is not False and value != (True if by_itself == "only" else "at-least"):
            whole = 'stat "rate"' if stat == "rate" else f'compare = "{compare}"'
            of_stat = f' of stat "{stat}"' if by_itself == "at-least" else ""
            said = f"{whole}{of_stat} does not take complete = {shown(value)}"
            table.problem("complete", f"{said}: remove it, or use false")
        return "off" if value is False else None
    if value is False:
        return None
    able = (True,) if own else _COMPLETE.get(stat, ())
    if value not in able:
        other = 'use complete = "at-least"' if able == ("at-least",) else "use complete = true" if able else "remove it"
        table.problem("complete", f'stat "{stat}" does not take complete = {shown(value)}: {other}')
        return None
    return "only" if value is True else "at-least"


def complete_by_itself(stat: str, compare: str | None) -> Complete | None:
    """How an unfinished pane counts in rates and comparisons, which are over complete panes; None in other measures."""
    if stat == "rate" or compare in {"previous", "percentile", "z"}:
        return "only"
    if compare == "peers":
        able = _COMPLETE.get(stat, ())
        return "only" if True in able else "at-least" if able else None
    return None


def read_least_peers(table: Table, compare: Comparison | None) -> int | None:
    """How many peers a segment needs, for a measure that is compared with peers."""
    if compare == "peers":
        count = table.whole_number("least_peers", f"a whole number of accounts from 1 to {_MOST_PEERS}", _MOST_PEERS)
        return count if "least_peers" in table else LEAST_PEERS
    if "least_peers" in table and (compare is not None or "compare" not in table):
        table.problem("least_peers", 'only compare = "peers" takes least_peers: remove least_peers')
    return None


def read_hold(table: Table, stat: str | None, window: Window | None, compare: str | None) -> int | None:
    """For how many panes `missing = "hold"` uses the last value; None for other values of `missing`."""
    missing = table.value("missing")
    if missing != "hold":
        points = finite(missing)
        valid = missing is None or missing in MISSING_WORDS or (points is not None and 0.0 <= points <= FULL_POINTS)
        if "stale_after" in table and valid:
            table.problem("stale_after", 'only missing = "hold" takes stale_after: remove stale_after')
        return None
    compared = compare not in (None, "peers")
    if compared or (stat is not None and stat not in _HELD_STATS):
        measure = f'stat "{stat}"' + (f' and compare = "{compare}"' if compared else "")
        able = listed(_HELD_STATS)
        table.problem("missing", f'"hold" does not work with {measure}; stats it works with: {able}')
        return None
    if window == NO_WINDOW:
        table.problem("missing", f'"hold" needs a window, and this stat "{stat}" has none: it looks back without limit')
        return None
    if window is None or "stale_after" not in table:
        return None if window is None else LONGEST_WINDOW[window.pane]
    expected = 'a span such as "180d", in the unit of the window, longer than the window'
    span = read_panes(table, "stale_after", expected)
    most = LONGEST_WINDOW[window.pane]
    if span is not None and (span.unit != window.unit or not window.panes < span.panes <= most):
        table.wrong("stale_after", f'{expected} and at most "{most}{window.unit[0]}"')
        return None
    return None if span is None else span.panes

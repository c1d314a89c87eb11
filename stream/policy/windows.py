"""Read the time spans of a policy: windows of measures, what a window is compared with, delays of alerts.

Owns `Window`, `Span` and the limits of spans. Must not know of fields and points. Called by the readers of measures,
scores and alerts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from stream.columns.panes import UNIT_MS
from stream.policy.errors import listed
from stream.policy.normalisers import FULL_POINTS
from stream.policy.table import finite

if TYPE_CHECKING:
    from stream.policy.table import Table

LONGEST_WINDOW = {"hour": 72, "day": 365}  # in panes
MISSING_WORDS = ("redistribute", "hold", "neutral", "zero")
LEAST_PEERS = 20
"""Default of `least_peers`: in a segment with fewer peers, an account is compared with all accounts."""

PERIOD_STATS = ("active", "active_share", "streak")
"""Statistics that count days or weeks."""
DAYS_A_WEEK = 7

COMPARABLE_STATS = ("count", "sum", "weighted_count")
_COMPARISONS = ("previous", "percentile", "z", "peers")
_HELD_STATS = ("mean", "min", "max", "last", "share", "nps")
_MOST_PEERS = 1_000_000
_WINDOW = re.compile(r"(?P<panes>[0-9]{1,9})(?P<unit>[hd])")

Comparison = Literal["previous", "percentile", "z", "peers"]


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time before now: a number of panes, each a UTC hour or a UTC day."""

    panes: int
    unit: Literal["hour", "day"]

    @property
    def length_ms(self) -> int:
        """Length in milliseconds."""
        return self.panes * UNIT_MS[self.unit]


@dataclass(frozen=True, slots=True)
class Span:
    """The spans that a key takes: 1 to `hours` hours (0: none) or 1 to `days` days; `expected` describes them."""

    hours: float
    days: float
    expected: str

    def read(self, table: Table, key: str, *, required: bool = True) -> Window | None:
        """The span in `key`; None if absent or wrong, which is recorded."""
        if not required and key not in table:
            return None
        window = read_panes(table, key, self.expected)
        if window is None:
            return None
        if 1 <= window.panes <= (self.hours if window.unit == "hour" else self.days):
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
ANY_SPAN = Span(float("inf"), float("inf"), 'hours or days, such as "12h" or "3d"')


def read_panes(table: Table, key: str, expected: str) -> Window | None:
    """A number of hours or days without limits."""
    text = table.value(key)
    match = _WINDOW.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        table.wrong(key, expected)
        return None
    return Window(int(match["panes"]), "hour" if match["unit"] == "h" else "day")


def read_window(table: Table, stat: str | None) -> Window | None:
    """The window of a measure."""
    window = read_panes(table, "window", SPANS.expected)
    if window is None:
        return None
    days = max(1, min(window.panes // 24, LONGEST_WINDOW["day"]))
    in_days = f'; did you mean "{days}d"?' if window.unit == "hour" and window.panes else ""
    if window.unit == "hour" and stat in ("days_since_last", *PERIOD_STATS):
        table.wrong("window", f'{DAYS.expected} for stat "{stat}"', in_days)
        return None
    if stat in PERIOD_STATS and table.value("per") == "week" and window.panes % DAYS_A_WEEK:
        table.wrong("window", f'whole weeks with per = "week", such as "{max(7, window.panes // 7 * 7)}d"')
        return None
    if not 1 <= window.panes <= LONGEST_WINDOW[window.unit]:
        table.wrong("window", SPANS.expected, in_days)
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
    if window is not None and least_windows * window.panes > LONGEST_WINDOW[window.unit]:
        unit, longest = window.unit[0], LONGEST_WINDOW[window.unit]
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
    most = LONGEST_WINDOW[window.unit] - window.panes
    if history.unit != window.unit or not 2 * window.panes <= history.panes <= most:
        table.wrong("history", f'{expected} and at most "{most}{window.unit[0]}"')
        return None
    return history.panes


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
    if window is None or "stale_after" not in table:
        return None if window is None else LONGEST_WINDOW[window.unit]
    expected = 'a span such as "180d", in the unit of the window, longer than the window'
    span = read_panes(table, "stale_after", expected)
    most = LONGEST_WINDOW[window.unit]
    if span is not None and (span.unit != window.unit or not window.panes < span.panes <= most):
        table.wrong("stale_after", f'{expected} and at most "{most}{window.unit[0]}"')
        return None
    return None if span is None else span.panes

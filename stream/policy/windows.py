"""Read the spans of a measure: its window, what it is compared with, how long its last value is held.

Owns `Window` and the limits of spans. Must not know of fields and points. Called by the reader of measures.
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
LONGEST_FORECAST = 90

_COMPARABLE_STATS = ("count", "sum", "weighted_count")
_COMPARISONS = ("previous", "percentile", "z", "peers")
MISSING_WORDS = ("redistribute", "hold", "neutral", "zero")
_HELD_STATS = ("mean", "min", "max", "last", "share")
LEAST_PEERS = 20
"""Peers that a segment needs, unless the policy says otherwise; with fewer an account is seen among all."""
_MOST_PEERS = 1_000_000

_WINDOW = re.compile(r"(?P<panes>[0-9]{1,9})(?P<unit>[hd])")
_DAYS = f'days from "1d" to "{LONGEST_WINDOW["day"]}d"'
_SPANS = f'hours from "1h" to "{LONGEST_WINDOW["hour"]}h" or {_DAYS}'

Comparison = Literal["previous", "percentile", "z", "peers"]


@dataclass(frozen=True, slots=True)
class Window:
    """How far back: a number of panes, each a UTC hour or a UTC day."""

    panes: int
    unit: Literal["hour", "day"]


def read_panes(table: Table, key: str, expected: str) -> Window | None:
    """A span written as a window."""
    given = table.value(key)
    found = _WINDOW.fullmatch(given) if isinstance(given, str) else None
    if found is None:
        table.wrong(key, expected)
        return None
    unit: Literal["hour", "day"] = "hour" if found["unit"] == "h" else "day"
    return Window(int(found["panes"]), unit)


def read_dwell(table: Table) -> int | None:
    """For how long another band has to be due before an account changes to it, in milliseconds."""
    expected = 'hours or days, such as "12h" or "3d"'
    span = read_panes(table, "dwell", expected)
    if span is None or span.panes:
        return None if span is None else span.panes * UNIT_MS[span.unit]
    table.wrong("dwell", expected)
    return None


def read_forecast(table: Table) -> int | None:
    """How far ahead the next change of band is looked for, in days."""
    expected = f'days from "1d" to "{LONGEST_FORECAST}d"'
    span = read_panes(table, "outlook", expected)
    if span is None or (span.unit == "day" and 1 <= span.panes <= LONGEST_FORECAST):
        return None if span is None else span.panes
    table.wrong("outlook", expected)
    return None


def read_window(table: Table, stat: str | None) -> Window | None:
    """The window of a measure."""
    window = read_panes(table, "window", _SPANS)
    if window is None:
        return None
    panes, unit = window.panes, window.unit
    days = max(1, min(panes // 24, LONGEST_WINDOW["day"]))
    in_days = f'; did you mean "{days}d"?' if unit == "hour" and panes else ""
    if unit == "hour" and stat == "days_since_last":
        table.wrong("window", f'{_DAYS} for stat "days_since_last"', in_days)
        return None
    if not 1 <= panes <= LONGEST_WINDOW[unit]:
        table.wrong("window", _SPANS, in_days)
        return None
    return window


def read_compare(table: Table, stat: str | None, window: Window | None) -> tuple[Comparison | None, int | None]:
    """What the window is compared with, and over how many panes before it."""
    selected = table.choice("compare", _COMPARISONS) if "compare" in table else None
    if "history" in table and (selected in ("previous", "peers") or "compare" not in table):
        table.problem("history", 'only compare = "percentile" and "z" take a history')
    if selected == "peers":
        return "peers", None
    return _read_windows(table, stat, window, selected)


def _read_windows(
    table: Table, stat: str | None, window: Window | None, selected: str | None
) -> tuple[Comparison | None, int | None]:
    """A comparison with windows before this one."""
    if "compare" not in table:
        return None, None
    if stat is not None and stat not in _COMPARABLE_STATS:
        able = listed(_COMPARABLE_STATS)
        table.problem("compare", f'stat "{stat}" can not be compared with the window before; stats that can: {able}')
        return None, None
    if selected == "previous":
        if window is not None and 2 * window.panes > LONGEST_WINDOW[window.unit]:
            most = f"{LONGEST_WINDOW[window.unit] // 2}{window.unit[0]}"
            table.wrong("window", f'at most "{most}" where it is compared with the one before')
            return None, None
        return "previous", None
    if selected is None:
        return None, None
    history = _read_history(table, window)
    comparison: Comparison = "percentile" if selected == "percentile" else "z"
    return (None, None) if history is None else (comparison, history)


def read_least_peers(table: Table, compare: Comparison | None) -> int | None:
    """How many peers a segment needs, where a measure is compared with them."""
    given = table.value("least_peers")
    if compare != "peers":
        if given is not None and (compare is not None or "compare" not in table):
            table.problem("least_peers", 'only compare = "peers" takes least_peers')
        return None
    if given is None:
        return LEAST_PEERS
    if isinstance(given, int) and not isinstance(given, bool) and 1 <= given <= _MOST_PEERS:
        return given
    table.wrong("least_peers", f"a whole number of accounts from 1 to {_MOST_PEERS}")
    return None


def _read_history(table: Table, window: Window | None) -> int | None:
    expected = 'a span such as "84d", in the unit of the window, at least twice as long as it'
    if window is not None and 3 * window.panes > LONGEST_WINDOW[window.unit]:
        longest = f"{LONGEST_WINDOW[window.unit] // 3}{window.unit[0]}"
        table.wrong("window", f'at most "{longest}" where it is compared with a history of at least two windows')
        return None
    history = read_panes(table, "history", expected)
    if history is None or window is None:
        return None
    most = LONGEST_WINDOW[window.unit] - window.panes
    if history.unit != window.unit or not 2 * window.panes <= history.panes <= most:
        table.wrong("history", f'{expected} and at most "{most}{window.unit[0]}"')
        return None
    return history.panes


def read_hold(table: Table, stat: str | None, window: Window | None, compare: str | None) -> int | None:
    """For how many panes the last value stands in for a missing one."""
    given = table.value("missing")
    if given != "hold":
        points = finite(given)
        valid = given is None or given in MISSING_WORDS or (points is not None and 0.0 <= points <= FULL_POINTS)
        if "stale_after" in table and valid:
            table.problem("stale_after", 'only missing = "hold" takes stale_after')
        return None
    compared = compare not in (None, "peers")
    if compared or (stat is not None and stat not in _HELD_STATS):
        what = f'stat "{stat}"' + (f' with compare = "{compare}"' if compared else "")
        table.problem("missing", f"{what} has nothing to hold; stats that have: {listed(_HELD_STATS)}")
        return None
    if window is None or "stale_after" not in table:
        return None if window is None else LONGEST_WINDOW[window.unit]
    expected = 'a span such as "180d", in the unit of the window, longer than it'
    span = read_panes(table, "stale_after", expected)
    most = LONGEST_WINDOW[window.unit]
    if span is not None and (span.unit != window.unit or not window.panes < span.panes <= most):
        table.wrong("stale_after", f'{expected} and at most "{most}{window.unit[0]}"')
        return None
    return None if span is None else span.panes

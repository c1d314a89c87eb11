"""Hypothesis strategies for alerts: policies with rules and sources that stall, and logs that make them turn.

Owns that scores land on limits: measures give points on a coarse grid, limits lie on the same grid or just beside it;
a source falls silent for all accounts and comes back; acknowledgements and snoozes come in between.
Must not know the engine or when anything fires. Called by the property tests.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.oracle.alerts import rules_of
from tests.oracle.engine import read_policy
from tests.strategies.calendars import calendars
from tests.strategies.policies import ACCOUNTS, DAY_MS, HOUR_MS, NOW_MS, USERS, Sent, log_of, times_ms, written_times
from tests.strategies.tables import new_accounts, written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn

    from tests.oracle.engine import Record

Table = dict[str, Any]

GRID = (0, 25, 40, 50, 60, 75, 100)
LIMITS = (25, 40, 50, 60, 75, 100)
DROPS = (10, 12.5, 15, 25, 50)
NAMES = ("healthy", "steady", "attention", "at-risk")
WINDOWS = {"h": ("1h", "2h", "6h", "24h"), "d": ("1d", "2d", "5d")}
WITHIN = {"h": ("1h", "2h", "6h", "1d", "2d"), "d": ("1d", "2d", "4d")}
LENGTHS = {"h": ("1h", "2h", "5h", "1d"), "d": ("1h", "1d", "30h", "2d", "4d")}
STALLS = {"h": ("1h", "3h", "10h", "1d"), "d": ("2h", "1d", "30h", "3d")}
FEW_DAYS = ("1d", "2d", "3d")
SILENT_FOR = (*FEW_DAYS, "1bd", "2bd", "3bd")
SPAN_MS = {"h": 60 * HOUR_MS, "d": 20 * DAY_MS}
SOURCES = ("signals", "product-usage", "billing")
KINDS = ("below", "below", "band", "left", "drop", "measure", "forecast", "silent")
NO_STORMS = {"share": 1, "least": 1000}


# ---------------------------------------------------------------------------------------------------------------------
# Policies


@st.composite
def _measures(draw: DrawFn, unit: str) -> dict[str, Table]:
    window = st.sampled_from(WINDOWS[unit])
    level: Table = {"source": "signals", "stat": "last", "field": "value", "where": {"name": ["level"]}}
    level |= {"window": draw(window), "normalise": {"kind": "linear", "zero_at": 0, "hundred_at": 100}}
    if (missing := draw(st.sampled_from(("nothing", 50, "zero", "hold")))) != "nothing":
        level["missing"] = missing
    line = {"kind": "linear", "zero_at": 0, "hundred_at": draw(st.sampled_from((1, 2, 3, 4)))}
    uses: Table = {"source": "product-usage", "stat": "count", "window": draw(window), "normalise": line}
    bills: Table = {"source": "billing", "stat": "count", "window": draw(window)}
    if unit == "d" and draw(st.booleans()):
        bills |= {"stat": "days_since_last", "missing": 25}
    bills["normalise"] = {"kind": "threshold", "good": 0, "average": 1}
    measures = {"level": level, "uses": uses, "bills": bills}
    names = draw(st.sampled_from((("level",), ("uses",), ("level", "uses"), ("uses", "bills"), tuple(measures))))
    return {name: measures[name] for name in names}


@st.composite
def _score(draw: DrawFn, names: Sequence[str], unit: str) -> Table:
    starts = sorted(draw(st.lists(st.sampled_from((25, 40, 50, 60, 75)), min_size=3, max_size=3, unique=True)))
    bands: list[Table] = []
    for name, start in zip(NAMES, [*reversed(starts), 0], strict=True):
        band: Table = {"name": name, "from": start}
        if name != NAMES[-1] and draw(st.integers(0, 5)) == 0:
            band["leave"] = max(start - 20, 0)
        if draw(st.integers(0, 2)) == 2:
            band["alert"] = "warning"
        bands.append(band)
    table: Table = {"min_change": draw(st.sampled_from((0, 1, 30))), "bands": bands}
    if draw(st.integers(0, 5)) == 0:
        table["dwell"] = draw(st.sampled_from(LENGTHS[unit]))
    if draw(st.integers(0, 4)) == 0:
        impacts = {name: 1 if name == "level" else draw(st.sampled_from((-25, 10, 25))) for name in names}
        return table | {"model": "additive", "impacts": impacts, "map": {"zero_at": 0, "hundred_at": 100}}
    return table | {"weights": {name: draw(st.sampled_from((1, 1, 3))) for name in names}}


@st.composite
def _when(draw: DrawFn, kind: str, unit: str, names: Sequence[str]) -> tuple[Table, Table]:
    """Draw a condition, and a `clear` that goes with it now and then."""
    limit = draw(st.sampled_from(LIMITS)) + draw(st.sampled_from((0, 0, 0, 0.001)))
    if kind == "below":
        return {"below": limit}, {"clear": limit + draw(st.sampled_from((0, 10, 25)))} if draw(st.booleans()) else {}
    if kind == "measure":
        clear = {"clear": min(limit + draw(st.sampled_from((0, 10, 25))), 100)} if draw(st.booleans()) else {}
        return {"measure": draw(st.sampled_from(names)), "points_below": min(limit, 100)}, clear
    if kind == "drop":
        drop = draw(st.sampled_from(DROPS))
        clear = {"clear": max(1, drop - draw(st.sampled_from((0, 5, 10))))} if draw(st.booleans()) else {}
        return {"drop": drop, "within": draw(st.sampled_from(WITHIN[unit]))}, clear
    if kind == "silent":
        return {"silent": draw(st.sampled_from(SOURCES)), "within": draw(st.sampled_from(SILENT_FOR))}, {}
    if kind == "forecast":
        return {"forecast": draw(st.sampled_from(NAMES[1:])), "within": draw(st.sampled_from(FEW_DAYS))}, {}
    return {kind: draw(st.sampled_from((NAMES[0], *NAMES, NAMES[-1])))}, {}


@st.composite
def _rule(draw: DrawFn, kinds: Sequence[str], unit: str, names: Sequence[str], scores: Sequence[str]) -> Table:
    when, clear = draw(_when(draw(st.sampled_from(kinds)), unit, names))
    table: Table = {"when": when, **clear}
    if len(scores) > 1 and draw(st.booleans()):
        table["score"] = draw(st.sampled_from(scores))
    for name, chance in (("for", 3), ("cooldown", 3)):
        if draw(st.integers(0, chance)) == chance:
            table[name] = draw(st.sampled_from(LENGTHS[unit]))
    if draw(st.integers(0, 4)) == 4:
        table["max_per_day"] = draw(st.integers(1, 2))
    if draw(st.booleans()):
        table["severity"] = draw(st.sampled_from(("info", "warning", "critical")))
    return table


@st.composite
def alerting_policies(draw: DrawFn, unit: str, kinds: Sequence[str] = KINDS, *, idle_sources: bool = True) -> str:
    """Draw a valid policy as TOML text over hours ("h") or days ("d"), with one to four rules of the kinds."""
    lines = ['name = "alerting"', *written("storms", NO_STORMS)]
    lines += draw(new_accounts(("1d",) if unit == "h" else FEW_DAYS))
    measures = draw(_measures(unit))
    segmented = draw(st.integers(0, 3)) == 0
    if segmented:
        lines += written("segments.one", {"when": {"tier": ["one"]}}) + written(
            "segments.two", {"when": {"tier": ["two"]}}
        )
    for source in SOURCES:
        if idle_sources and draw(st.booleans()):
            lines += written(f"sources.{source}", {"stall_after": draw(st.sampled_from(STALLS[unit]))})
    for name, table in measures.items():
        lines += written(f"measures.{name}", table)
    scores = ("health", "churn")[: draw(st.sampled_from((1, 1, 2)))]
    for name in scores:
        lines += written(f"scores.{name}", draw(_score(tuple(measures), unit)))
    rules = [draw(_rule(kinds, unit, tuple(measures), scores)) for _ in range(draw(st.integers(1, 4)))]
    if any(rule["when"].get("within", "").endswith("bd") for rule in rules):
        lines += written("calendar", draw(calendars()))
    for number, rule in enumerate(rules):
        if segmented and draw(st.booleans()):
            rule["segments"] = draw(st.sampled_from((["one"], ["two"], ["one", "two"])))
        lines += written(f"alerts.r{number}", rule)
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------------------------------------------------------------
# Logs


@st.composite
def _events(draw: DrawFn, accounts: Sequence[str], first_ms: int) -> tuple[str, Table]:
    """Draw a source and an event of it without an id."""
    source = draw(st.sampled_from(("signals",) * 5 + ("product-usage",) * 3 + ("billing", "engagement", "accounts")))
    document: Table = {"account_id": draw(st.sampled_from(accounts)), "time": draw(times_ms(first_ms, NOW_MS))}
    if source == "signals":
        value = draw(st.sampled_from(GRID)) + draw(st.sampled_from((0, 0, 0, 0.001, -0.001)))
        document |= {"name": "level", "value": value}
    elif source == "billing":
        document["kind"] = "invoice_overdue"
    elif source == "engagement":
        document["kind"] = "meeting"
    elif source == "accounts":
        document["tier"] = draw(st.sampled_from(("one", "two", "three")))
    return source, document


@st.composite
def _words(draw: DrawFn, accounts: Sequence[str], first_ms: int, rules: Sequence[str]) -> tuple[str, Table]:
    """Draw an acknowledgement or a snooze of one of the rules, without an id."""
    time_ms = draw(times_ms(first_ms, NOW_MS))
    document: Table = {
        "account_id": draw(st.sampled_from(accounts)),
        "time": time_ms,
        "by": draw(st.sampled_from(USERS)),
    }
    document |= {"rule": draw(st.sampled_from(rules)), "kind": draw(st.sampled_from(("acknowledge", "snooze")))}
    if document["kind"] == "snooze":
        length_ms = draw(st.sampled_from((DAY_MS, HOUR_MS, 5 * HOUR_MS, 3 * DAY_MS, 1, 0, -1)))
        nearest_ms = (time_ms + length_ms) // HOUR_MS * HOUR_MS if length_ms > HOUR_MS else time_ms + length_ms
        document["until"] = draw(written_times(draw(st.sampled_from((time_ms + length_ms, nearest_ms)))))
    return "controls", document


@st.composite
def alerting_logs(
    draw: DrawFn, unit: str, *, max_events: int = 40, rules: Sequence[str] = (), in_order: bool = False
) -> list[Record]:
    """Draw the log of one partition, over days or hours.

    A source may stop for a while; events come late and twice, unless they come `in_order`. People have their word on
    the `rules`.
    """
    accounts = draw(st.sampled_from((ACCOUNTS[:1], ACCOUNTS[:2], ACCOUNTS[:3])))
    first_ms = NOW_MS - SPAN_MS[unit]
    delays_ms = (0, 0, 10_000, HOUR_MS, SPAN_MS[unit] // 10, SPAN_MS[unit])
    delay_ms = 0 if in_order else draw(st.sampled_from(delays_ms))
    least = draw(st.sampled_from((max_events // 2, max_events // 4, 1)))
    events = _events(accounts, first_ms)
    if rules:
        events = st.one_of(events, events, _words(accounts, first_ms, rules))
    drawn = draw(st.lists(events, min_size=least, max_size=max_events))
    stopped = draw(st.sampled_from((None, *SOURCES)))
    out_ms = sorted(draw(st.lists(times_ms(first_ms, NOW_MS), min_size=2, max_size=2)))
    sent: list[Sent] = []
    for number, (source, document) in enumerate(drawn):
        if source == stopped and out_ms[0] < document["time"] < out_ms[1]:
            continue
        arrives_ms = document["time"] + (draw(st.integers(0, delay_ms)) if delay_ms else 0)
        value = json.dumps({"id": f"e-{number}", **document}).encode()
        message = Sent(source, 0, arrives_ms, document["account_id"].encode(), value)
        sent.append(message)
        if source != "accounts" and not in_order and draw(st.integers(0, 9)) == 9:
            sent.append(replace(message, arrives_ms=arrives_ms + draw(st.sampled_from((0, 1000, DAY_MS)))))
    return log_of(sent)


@st.composite
def alerting_cases(
    draw: DrawFn,
    kinds: Sequence[str] = KINDS,
    *,
    idle_sources: bool = True,
    max_events: int = 40,
    words: bool = False,
    in_order: bool = False,
) -> tuple[str, list[Record]]:
    """Draw a policy with rules, and a log that it is made for; with `words`, people have theirs on its alerts."""
    unit = draw(st.sampled_from(("h", "d", "d")))
    text = draw(alerting_policies(unit, kinds, idle_sources=idle_sources))
    rules = [rule.name for rule in rules_of(read_policy(text))] if words else []
    return text, draw(alerting_logs(unit, max_events=max_events, rules=rules, in_order=in_order))

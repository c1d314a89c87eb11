"""Hypothesis strategies in one place: whole logs and policies, and (from `tests.strategies.events`) what they hold.

Owns how events arrive, which is delayed, doubled, shuffled and among refused ones, and which policies are tried.
Must not know the engine or how anything is scored. Called by the property tests.
"""

# long because: whole logs and the policies over them are drawn together

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.oracle.events import Record
from tests.strategies.completeness import completeness
from tests.strategies.events import (
    ACCOUNTS,
    ALL_SOURCES,
    DAY_MS,
    HOUR_MS,
    LATEST_MS,
    NOW_MS,
    NUMBERS,
    SOURCES,
    SPAN_MS,
    TEXTS,
    USERS,
    encoded,
    erasures,
    events,
    invalid_values,
    merges,
    numbers,
    profiles,
    times_ms,
    written_times,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn, SearchStrategy

__all__ = [
    "ACCOUNTS",
    "ALL_SOURCES",
    "DAY_MS",
    "HOUR_MS",
    "LATEST_MS",
    "NOW_MS",
    "SOURCES",
    "SPAN_MS",
    "USERS",
    "Disturbances",
    "Sent",
    "encoded",
    "events",
    "invalid_values",
    "log_of",
    "logs",
    "numbers",
    "partition_of",
    "policies",
    "profiles",
    "rearranged",
    "sent_records",
    "times_ms",
    "written_times",
]


# ---------------------------------------------------------------------------------------------------------------------
# Logs

PLACE = "@place@"  # stands in an id until the whole log is drawn


@dataclass(frozen=True)
class Sent:
    """One record on its way: it reaches its topic at `arrives_ms`, which is its timestamp too unless one is given."""

    source: str
    partition: int
    arrives_ms: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int | None = None


def log_of(sent: Sequence[Sent]) -> list[Record]:
    """Give each record its offset, in order of arrival."""
    log, next_offset = list[Record](), dict[tuple[str, int], int]()
    for message in sorted(sent, key=lambda message: message.arrives_ms):
        stream = (message.source, message.partition)
        next_offset[stream] = next_offset.get(stream, -1) + 1
        timestamp_ms = message.arrives_ms if message.timestamp_ms is None else message.timestamp_ms
        log.append(Record(*stream, next_offset[stream], timestamp_ms, message.key, message.value))
    return log


def partition_of(account_id: str, partitions: int) -> int:
    """Return where an account lives: any fixed rule will do where no broker takes part."""
    return ACCOUNTS.index(account_id) % partitions


@dataclass(frozen=True)
class Disturbances:
    """What a log may suffer.

    `delays_ms` are the possible bounds, one for a whole log, of how long an event takes to arrive: a long one shuffles
    the log and makes events late. `duplicates` repeat a record byte for byte, later. `backdated` records bear a
    timestamp from before they arrived. `invalid` values must be refused. `profiles` are records of `accounts`;
    `many_profiles` makes them frequent, and deletions of them rare. `erasures` are controls that erase their account,
    `merges` are controls that merge it into another one.
    """

    partitions: int = 2
    max_events: int = 40
    sources: tuple[str, ...] = ("product-usage", *SOURCES)  # repeat one to make it frequent
    delays_ms: tuple[int, ...] = (0, 10_000, 2 * HOUR_MS, 3 * DAY_MS, SPAN_MS, SPAN_MS)
    duplicates: bool = True
    backdated: bool = True
    invalid: bool = True
    profiles: bool = True
    many_profiles: bool = False
    erasures: bool = False
    merges: bool = False


@st.composite
def _arrivals(draw: DrawFn, span_ms: int, delay_ms: int, accounts: Sequence[str], plan: Disturbances) -> list[Sent]:
    """Draw one event on its way, and a duplicate of it now and then."""
    time_ms = draw(times_ms(NOW_MS - span_ms))
    account_id = draw(st.sampled_from(accounts))
    source = draw(st.sampled_from(plan.sources))
    fate = draw(st.integers(0, 19))
    value: bytes | None
    if fate >= 18 and plan.invalid:
        value = draw(invalid_values(source, account_id, PLACE))
    elif plan.profiles and (fate == 17 or (fate >= 13 and plan.many_profiles)):
        source = "accounts"
        known = profiles(account_id, time_ms, PLACE).flatmap(encoded)
        value = draw(known if plan.many_profiles and fate != 17 else st.one_of(st.none(), known))
    elif plan.erasures and fate in (11, 12):
        source, value = "controls", draw(erasures(account_id, time_ms, PLACE).flatmap(encoded))
    elif plan.merges and fate in (9, 10):
        source, value = "controls", draw(merges(account_id, ACCOUNTS, time_ms, PLACE).flatmap(encoded))
    else:
        value = draw(events(source, account_id, time_ms, PLACE).flatmap(encoded))
    arrives_ms = time_ms + draw(st.integers(0, delay_ms))
    timestamp_ms = arrives_ms - (draw(st.sampled_from((0, 0, 0, 1, HOUR_MS))) if plan.backdated else 0)
    message = Sent(
        source, partition_of(account_id, plan.partitions), arrives_ms, account_id.encode(), value, timestamp_ms
    )
    if plan.duplicates and source != "accounts" and draw(st.integers(0, 4)) == 4:
        again_ms = arrives_ms + draw(st.sampled_from((0, 1000, 5 * DAY_MS)))
        return [message, replace(message, arrives_ms=again_ms, timestamp_ms=again_ms)]
    return [message]


@st.composite
def sent_records(draw: DrawFn, /, **disturbances: Any) -> list[Sent]:
    """Draw a log before it has offsets; arguments are the fields of Disturbances.

    Its events lie within hours, days or 40 days before NOW_MS.
    """
    plan = Disturbances(**disturbances)
    span_ms = draw(st.sampled_from((6 * HOUR_MS, 3 * DAY_MS, SPAN_MS, SPAN_MS)))
    delay_ms = draw(st.sampled_from(plan.delays_ms))
    accounts = draw(st.sampled_from((ACCOUNTS[:1], ACCOUNTS[:2], ACCOUNTS)))
    # Left alone, Hypothesis draws about six: windows are worth testing when they hold more.
    least = draw(st.sampled_from((1, plan.max_events // 4, plan.max_events // 2)))
    arrivals = _arrivals(span_ms, delay_ms, accounts, plan)
    drawn = draw(st.lists(arrivals, min_size=max(1, least), max_size=plan.max_events))
    numbers = Counter[bytes | None]()  # every account has the ids e-0, e-1, ...
    sent = []
    for same in drawn:
        event_id = f"e-{numbers[same[0].key]}".encode()
        numbers[same[0].key] += 1
        sent += [
            message
            if message.value is None
            else replace(message, value=message.value.replace(PLACE.encode(), event_id))
            for message in same
        ]
    return sent


def logs(**disturbances: Any) -> SearchStrategy[list[Record]]:
    """Return logs: `sent_records`, by the same arguments, with offsets."""
    return sent_records(**disturbances).map(log_of)


@st.composite
def rearranged(draw: DrawFn, sent: Sequence[Sent], copies: int = 3) -> list[Record]:
    """Draw the same records in another order of arrival, some valid ones sent again.

    Nothing keeps its timestamp, except deletions of profiles, whose time it is.
    """
    again = [message for message in sent if message.source != "accounts" and message.value is not None]
    doubled = [*sent, *(draw(st.lists(st.sampled_from(again), max_size=copies)) if again else [])]
    shuffled = draw(st.permutations(doubled))
    return log_of(
        [
            Sent(message.source, message.partition, offset, message.key, message.value, _own_time_ms(message))
            for offset, message in enumerate(shuffled)
        ]
    )


def _own_time_ms(message: Sent) -> int | None:
    """Return the timestamp of a deletion of a profile; None for what tells its time itself."""
    if message.source != "accounts" or message.value is not None:
        return None
    return message.arrives_ms if message.timestamp_ms is None else message.timestamp_ms


RICH: dict[str, Any] = {"sources": ("product-usage", *ALL_SOURCES), "many_profiles": True}
"""Disturbances of logs that go with `tests.strategies.rich_policies.rich_policies`: every source, and profiles that
change."""


# ---------------------------------------------------------------------------------------------------------------------
# Policies

HOURS = ("1h", "2h", "6h", "24h", "72h")
DAYS = ("1d", "2d", "7d", "28d", "30d", "45d", "365d")
FIELD_STATS = ("sum", "mean", "min", "max", "last", "nps", "percentile")
PERIOD_STATS = ("active", "active_share", "streak")
OPEN_STATS = ("open", "open_max_days", "open_mean_days")
NEVER_A_WINDOW = ("open_max_days", "open_mean_days", "days_to_first")


def toml_value(value: object) -> str:
    """Write a value as TOML on one line: text, numbers, lists, tables with string keys."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml_value(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return format(value, "f") if isinstance(value, Decimal) else json.dumps(value)


@cache
def amounts(lowest: int, highest: int) -> SearchStrategy[int | Decimal]:
    """Return numbers for a policy: whole, or with up to three decimals."""
    thousandths = st.integers(lowest * 1000, highest * 1000).map(lambda number: Decimal(number).scaleb(-3))
    tenths = st.integers(lowest * 10, highest * 10).map(lambda number: Decimal(number).scaleb(-1))
    return st.one_of(st.integers(lowest, highest), tenths, thousandths)


def text_fields(source: str) -> dict[str, tuple[str, ...]]:
    """The text fields of a source, one of its properties too, with values."""
    return TEXTS[source] | {"properties.plan": ("pro", "basic", "true", "7")}


def number_fields(source: str) -> dict[str, tuple[int, int]]:
    """The number fields of a source, one of its properties too, with spans."""
    return NUMBERS[source] | {"properties.seats": (0, 50)}


@st.composite
def conditions(draw: DrawFn, source: str) -> dict[str, Any]:
    """Draw what `where` and `of` may say about a source: of one or two fields, most often lists of values."""
    fields = [*text_fields(source), *number_fields(source)]
    count = min(draw(st.sampled_from((1, 1, 2))), len(fields))
    selected = draw(st.lists(st.sampled_from(fields), min_size=count, max_size=count, unique=True))
    return {field: draw(_condition(source, field)) for field in selected}


@st.composite
def _condition(draw: DrawFn, source: str, field: str) -> list[str] | dict[str, Any]:
    """Draw what is asked of one field: a list of values, or a table of operators."""
    if draw(st.integers(0, 6)) == 0:
        return {"exists": draw(st.booleans())}
    if field in number_fields(source):
        ends = sorted(draw(st.lists(amounts(*number_fields(source)[field]), min_size=2, max_size=2, unique=True)))
        return draw(st.sampled_from(({"from": ends[0]}, {"below": ends[1]}, {"from": ends[0], "below": ends[1]})))
    values = text_fields(source)[field]
    listed = draw(st.lists(st.sampled_from(values), min_size=min(2, len(values)), max_size=3, unique=True))
    beginnings = [value[: draw(st.integers(1, 4))] for value in listed]
    operators: tuple[list[str] | dict[str, Any], ...] = (
        listed,
        listed,
        {"in": listed},
        {"not": listed},
        {"not": listed[:1], "exists": True},
        {"prefix": beginnings[0]},
        {"prefix": beginnings, "not": listed[:1]},
    )
    selected: list[str] | dict[str, Any] = draw(st.sampled_from(operators))
    return selected


@st.composite
def normalisers(draw: DrawFn, span: tuple[int, int] | None = None, *, decay: bool = False) -> dict[str, Any]:
    """Draw a normaliser of one value, of any kind (`decay` if asked for), for values in a span (None: small ones)."""
    kind = draw(st.sampled_from(("linear", "tiers", "threshold", "curve", *(("decay",) if decay else ()))))
    if kind == "decay":
        return {"kind": kind, "half_life": draw(amounts(1, max(span or (0, 20))))}
    if kind == "linear":
        ends = draw(st.lists(amounts(*(span or (-2, 12))), min_size=2, max_size=2, unique=True))
        return {"kind": kind, "zero_at": ends[0], "hundred_at": ends[1]}
    span = span or (-2, 20)
    if kind == "tiers":
        starts = sorted(draw(st.lists(amounts(*span), min_size=1, max_size=4, unique=True)))
        edges = [draw(st.sampled_from(("from", "from", "above"))) for _ in starts]
        steps = [{edge: start, "points": draw(amounts(0, 100))} for edge, start in zip(edges, starts, strict=True)]
        return {"kind": kind, "tiers": steps}
    if kind == "curve":
        values = sorted(draw(st.lists(amounts(*span), min_size=2, max_size=4, unique=True)))
        return {"kind": kind, "curve": [{"at": value, "points": draw(amounts(0, 100))} for value in values]}
    good, average = draw(st.lists(amounts(*span), min_size=2, max_size=2, unique=True))
    rule: dict[str, Any] = {"kind": kind, "good": good, "average": average}
    if draw(st.booleans()):
        rule["points"] = sorted(draw(st.lists(amounts(0, 100), min_size=3, max_size=3)), reverse=True)
    return rule


def _stats_for(source: str, window: str) -> list[str]:
    """Return the statistics that a source and a window allow."""
    stats = ["count", "rate", "share", "weighted_count", "distinct"]
    stats += FIELD_STATS if number_fields(source) else []
    stats += ["days_since_last", *PERIOD_STATS, *OPEN_STATS, "days_to_first"] if window.endswith("d") else []
    stats += [] if number_fields(source) else ["last"]
    stats += ["distinct_users"] if "user_id" in text_fields(source) else []
    stats += ["distinct_features"] if "feature" in text_fields(source) else []
    return stats


@st.composite
def _settings(draw: DrawFn, source: str, stat: str, window: str) -> dict[str, Any]:
    """Draw the keys that a statistic takes or needs."""
    table: dict[str, Any] = {}
    of_text = stat == "last" and (not number_fields(source) or draw(st.booleans()))
    if stat in FIELD_STATS and not of_text:
        table["field"] = draw(st.sampled_from(list(number_fields(source))))
    if stat in ("count", "rate") and "count" in number_fields(source) and draw(st.booleans()):
        table["field"] = "count"
    if stat == "percentile":
        table["percent"] = draw(st.sampled_from((1, 10, 50, 90, 99)))
    if stat in PERIOD_STATS and draw(st.booleans()):
        whole_weeks = int(window[:-1]) % 7 == 0
        table["per"] = draw(st.sampled_from(("day", "week", "week") if whole_weeks else ("day",)))
    if stat in ("distinct", *OPEN_STATS):
        table["field"] = draw(st.sampled_from(list(text_fields(source))))
    if stat == "nps" and source == "surveys":
        table["where"] = {"kind": ["nps"]}
    if stat == "rate" and draw(st.booleans()):
        table["per"] = draw(st.sampled_from(("hour", "day", "week")))
    if stat in ("share", *OPEN_STATS):
        table["of"] = draw(conditions(source))
    if stat == "weighted_count" or of_text:
        table["weights"] = draw(_weights(source))
    return table


@st.composite
def _weights(draw: DrawFn, source: str) -> dict[str, Any]:
    field = draw(st.sampled_from(list(text_fields(source))))
    values = draw(st.lists(st.sampled_from(text_fields(source)[field]), min_size=1, max_size=3, unique=True))
    return {field: {value: draw(amounts(0, 5)) for value in values}}


@st.composite
def measures(
    draw: DrawFn, windows: Sequence[str] = HOURS + DAYS, sources: Sequence[str] = ("product-usage", *SOURCES)
) -> dict[str, Any]:
    """Draw a measure of one of the sources and any statistic that the source and its window allow."""
    source = draw(st.sampled_from(tuple(sources)))
    window = draw(st.sampled_from(tuple(windows)))
    stat = draw(st.sampled_from(_stats_for(source, window)))
    table: dict[str, Any] = {"source": source, "stat": stat, "window": window}
    table |= draw(_settings(source, stat, window))
    if stat == "days_to_first":
        table |= draw(st.sampled_from(({}, {}, {"field": "started_at"}, {"field": "account.trained"})))
    if stat in NEVER_A_WINDOW or (stat in ("open", "last") and window.endswith("d") and draw(st.integers(0, 2)) == 0):
        del table["window"]
    if "where" not in table and draw(st.integers(0, 2)) == 0:
        table["where"] = draw(conditions(source))
    if stat in ("count", "sum", "weighted_count") and window not in ("72h", "365d") and draw(st.booleans()):
        table["compare"] = "previous"
    table |= draw(completeness(table))
    table["normalise"] = draw(normalisers())
    table["weight"] = draw(st.one_of(st.integers(1, 100), amounts(1, 10)))
    missing = draw(st.one_of(st.none(), st.just("redistribute"), amounts(0, 100)))
    return table if missing is None else {**table, "missing": missing}


@st.composite
def bands_of(draw: DrawFn) -> list[dict[str, Any]]:
    """Draw bands over 0 to 100, highest first; the lowest is always `at-risk`, from 0."""
    names = ("healthy", "steady", "attention", "at-risk")
    starts = draw(st.lists(amounts(1, 99), max_size=len(names) - 1, unique=True))
    bands = []
    for name, start in zip(names[-len(starts) - 1 :], [*sorted(starts, reverse=True), 0], strict=True):
        alert = draw(st.sampled_from((None, "warning", "critical")))
        edge = draw(st.sampled_from(("from", "from", "above"))) if start else "from"
        bands.append({"name": name, edge: start} | ({} if alert is None else {"alert": alert}))
    return bands


@st.composite
def policies(
    draw: DrawFn,
    *,
    windows: Sequence[str] | None = None,
    max_measures: int = 5,
    never_late: bool = False,
    sources: Sequence[str] = ("product-usage", *SOURCES),
) -> str:
    """Draw a valid policy as TOML text, its windows among `windows` (None: all, or only short or only long ones).

    With `never_late`, one window is longer than SPAN_MS, so nothing is late.
    """
    if windows is None:
        windows = draw(st.sampled_from((HOURS + DAYS, HOURS, HOURS[:3], DAYS, DAYS[:3])))
    tables = draw(st.lists(measures(windows, sources), min_size=1, max_size=max_measures))
    if never_late:
        tables.append(draw(measures(("45d", "60d"), sources)))
    bands = draw(bands_of())
    lines = ['name = "drawn"']
    for number, table in enumerate(tables):
        lines += ["", f"[measures.m{number}]", *(f"{key} = {toml_value(value)}" for key, value in table.items())]
    min_change = draw(amounts(0, 5))
    lines += ["", "[scores.health]", f"min_change = {toml_value(min_change)}", f"bands = {toml_value(bands)}"]
    return "\n".join(lines) + "\n"

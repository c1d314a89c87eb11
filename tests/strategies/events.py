"""Hypothesis strategies for one message: valid events and profiles, and values that must be refused.

Owns the vocabulary of random input: few accounts, users and values, so that they meet; times that like to sit on the
boundary of an hour or a day; numbers of at most three decimals, of which sums are exact in millionths.
Must not know logs, policies or how anything is scored. Called by `tests.strategies.policies`, and through it by the
tests.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.oracle.events import RejectedError
from tests.oracle.recognised import read_record

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NOW_MS = 20_040 * DAY_MS + 12 * HOUR_MS + 34 * 60_000 + 56_789  # 2024-11-13T12:34:56.789Z
SPAN_MS = 40 * DAY_MS
LATEST_MS = NOW_MS + 300_000

ACCOUNTS = ("acme", "birch", "cedar", "dörfler", "東京")
PADDINGS = (" {}", "{} ", "\t{}\n", "\u00a0{}\u2003")
BLANK = ("", " ", "\t\u00a0")
USERS = ("ann", "bob", "cem", "dua", "eve")
SOURCES = ("product-usage", "support-tickets", "surveys", "billing", "engagement")
ALL_SOURCES = (*SOURCES, "controls", "signals")

TEXTS: dict[str, dict[str, tuple[str, ...]]] = {
    "product-usage": {"user_id": USERS, "feature": ("search", "export", "login"), "action": ("open", "run")},
    "support-tickets": {
        "ticket_id": ("t-1", "t-2", "t-3"),
        "status": ("opened", "updated", "solved", "reopened"),
        "priority": ("low", "normal", "high", "urgent"),
        "kind": ("bug", "question"),
    },
    "surveys": {"kind": ("nps", "csat", "ces"), "user_id": USERS},
    "billing": {
        "kind": (
            "invoice_paid",
            "invoice_overdue",
            "payment_failed",
            "renewed",
            "upgraded",
            "downgraded",
            "cancelled",
        ),
        "currency": ("EUR", "USD"),
    },
    "engagement": {"kind": ("webinar", "meeting", "reference"), "user_id": USERS, "role": ("admin", "sponsor")},
    "controls": {"kind": ("pulse", "pulse", "override", "clear_override"), "by": USERS},
    "signals": {"name": ("credit", "grade", "seats")},
}
NUMBERS: dict[str, dict[str, tuple[int, int]]] = {
    "product-usage": {"count": (0, 20), "duration_s": (0, 600)},
    "support-tickets": {"first_response_s": (0, 900), "resolution_s": (0, 9000)},
    "surveys": {"score": (1, 5)},
    "billing": {"amount": (-500, 500), "days_late": (0, 60)},
    "engagement": {},
    "controls": {"value": (0, 100)},
    "signals": {"value": (-50, 50)},
}
REQUIRED: dict[str, tuple[str, ...]] = {
    "product-usage": (),
    "support-tickets": ("ticket_id", "status"),
    "surveys": ("kind", "score"),
    "billing": ("kind",),
    "engagement": ("kind",),
    "controls": ("kind", "value"),
    "signals": ("name", "value"),
}
SURVEY_SCORES = {"nps": (0, 10), "csat": (1, 5), "ces": (1, 7)}
PROFILE_TEXTS = ("name", "tier", "plan", "segment", "persona", "parent_id", "owner")


# ---------------------------------------------------------------------------------------------------------------------
# Events


@cache
def times_ms(first_ms: int = NOW_MS - SPAN_MS, last_ms: int = LATEST_MS) -> SearchStrategy[int]:
    """Epoch milliseconds from first to last, often on the boundary of an hour or a day or one millisecond beside it."""

    def near_boundaries(unit_ms: int) -> SearchStrategy[int]:
        units = st.integers(first_ms // unit_ms, last_ms // unit_ms)
        near = st.builds(lambda unit, beside: unit * unit_ms + beside, units, st.sampled_from((0, 0, -1, 1)))
        return near.map(lambda time_ms: min(max(time_ms, first_ms), last_ms))

    return st.one_of(st.integers(first_ms, last_ms), near_boundaries(HOUR_MS), near_boundaries(DAY_MS))


def written_times(time_ms: int) -> SearchStrategy[int | str]:
    """Write a moment as a message may: integer milliseconds, or RFC 3339 in some time zone."""

    def text(offset_min: int, zone: str) -> str:
        moment = datetime.fromtimestamp(time_ms // 1000, UTC) + timedelta(minutes=offset_min)
        fraction = f".{time_ms % 1000:03d}" if time_ms % 1000 or zone != "Z" else ""
        return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}{zone}"

    zones = ((0, "Z"), (0, "+00:00"), (120, "+02:00"), (-210, "-03:30"), (345, "+05:45"))
    return st.sampled_from((time_ms, *(text(offset_min, zone) for offset_min, zone in zones)))


@cache
def numbers(lowest: int, highest: int) -> SearchStrategy[int | float]:
    """Return numbers of at most three decimals, often whole."""
    thousandths = st.integers(lowest * 1000, highest * 1000).map(lambda number: number / 1000)
    quarters = st.integers(lowest * 4, highest * 4).map(lambda number: number / 4)
    return st.one_of(st.integers(lowest, highest), st.integers(lowest, highest), quarters, thousandths)


def _overrides(time_ms: int) -> SearchStrategy[dict[str, Any]]:
    """Return what an override has: a score or a band, why, and until when."""
    aims = st.one_of(st.fixed_dictionaries({"score": numbers(0, 100)}), st.just({"band": "attention"}))
    ends = written_times(time_ms + 30 * DAY_MS)
    return st.builds(lambda aim, end: {**aim, "reason": "they called", "expires_at": end}, aims, ends)


@st.composite
def _padded_names(draw: DrawFn, event: dict[str, Any]) -> dict[str, str]:
    """Draw ids and users of an event again, now and then with white space at their ends; users also blank."""
    names = {}
    for field in ("id", "account_id", "user_id"):
        if event.get(field) and draw(st.integers(0, 19)) == 0:
            paddings = (*PADDINGS, *BLANK) if field == "user_id" else PADDINGS
            names[field] = draw(st.sampled_from(paddings)).format(event[field])
    return names


PROPERTIES = ("plan", "seats")


@st.composite
def _properties(draw: DrawFn) -> dict[str, Any]:
    """Draw the properties of an event: some, none, one of another type, or something that is no object."""
    if draw(st.integers(0, 2)):
        return {}
    plan = draw(st.sampled_from(("pro", "basic", True, 7, None, ["pro"], {"a": 1}, "")))
    seats = draw(st.one_of(written_numbers(0, 50), st.sampled_from((None, "many", 10**13, [1]))))
    whole = {"plan": plan, "seats": seats, "more": {"deep": [1]}}
    return {"properties": draw(st.sampled_from((whole, whole, whole, {"seats": seats}, {}, None, "none", 3, [whole])))}


@st.composite
def events(
    draw: DrawFn, source: str, account_id: str, time_ms: int, event_id: str, *, sparse: bool = True
) -> dict[str, Any]:
    """Draw a valid event of a source. `sparse` leaves out, or sets to null, some optional fields."""
    event: dict[str, Any] = {"id": event_id, "account_id": account_id, "time": draw(written_times(time_ms))}
    for field, values in TEXTS[source].items():
        event[field] = draw(st.sampled_from(values))
    for field, (lowest, highest) in NUMBERS[source].items():
        event[field] = draw(numbers(lowest, highest))
    if source == "surveys":
        event["score"] = draw(numbers(*SURVEY_SCORES[event["kind"]]))
    if source == "engagement" and draw(st.integers(0, 9)) == 0:
        event["kind"] = "espresso-with-the-founders"
    if source == "controls" and event["kind"] != "pulse":
        del event["value"]
    if source == "controls" and event["kind"] == "override":
        event |= draw(_overrides(time_ms))
    optional = [field for field in [*TEXTS[source], *NUMBERS[source]] if field not in REQUIRED[source]]
    if sparse and optional:
        for field in draw(st.lists(st.sampled_from(optional), max_size=2, unique=True)):
            event[field] = None
        event.pop(draw(st.sampled_from(("", *optional))), None)
    event |= draw(_padded_names(event))
    event |= draw(_properties())
    if draw(st.integers(0, 9)) == 0:
        event["unheard_of"] = {"nested": [1, None, {"deep": "x"}]}
    return event


@st.composite
def profiles(draw: DrawFn, account_id: str, time_ms: int, event_id: str) -> dict[str, Any]:
    """Draw a valid record of the `accounts` source: started within a year, renewed about now or within months."""
    profile: dict[str, Any] = {"id": event_id, "account_id": account_id, "time": draw(written_times(time_ms))}
    for field in PROFILE_TEXTS:
        if draw(st.booleans()):
            profile[field] = draw(st.sampled_from(("one", "two", "one", "two", None)))
    if draw(st.booleans()):
        profile["started_at"] = draw(written_dates(time_ms - draw(st.integers(0, 400)) * DAY_MS))
    if draw(st.booleans()):
        profile["renewal_at"] = draw(written_dates(time_ms + draw(st.sampled_from((90, 30, 10, 1, 0, -5))) * DAY_MS))
    if draw(st.integers(0, 5)) == 0:
        profile["ended_at"] = draw(written_dates(time_ms + draw(st.sampled_from((-5, -1, 0, 1, 9))) * DAY_MS))
    if draw(st.booleans()):
        profile["arr"] = draw(written_numbers(0, 100_000))
    attributes = draw(_attributes(time_ms))
    if draw(st.booleans()):
        return {**profile, "attributes": attributes}
    return {**profile, **attributes}


@st.composite
def _attributes(draw: DrawFn, time_ms: int) -> dict[str, Any]:
    """Draw some of the other fields of a profile, each of more than one type, some bad, some cleared."""
    attributes: dict[str, Any] = {}
    if draw(st.booleans()):
        bad: tuple[Any, ...] = (None, "many", True, 10**13, "1e13", "1e999", [])
        attributes["seats"] = draw(st.one_of(written_numbers(0, 50), st.sampled_from(bad)))
    if draw(st.booleans()):
        attributes["country"] = draw(st.sampled_from(("DE", "AT", ["FR", "DE"], True, 7, 7.0, None, {"iso": "DE"})))
    if draw(st.booleans()):
        attributes["trained"] = draw(
            st.one_of(written_dates(time_ms), st.sampled_from((None, "soon", "2024-02-30", "2024-11-01T10:00:00", 5)))
        )
    return attributes


def written_dates(time_ms: int) -> SearchStrategy[Any]:
    """Write a moment as a profile may: as a message may, or as the date of its UTC day; or a text that is no date."""
    date = f"{datetime.fromtimestamp(time_ms // 1000, UTC):%Y-%m-%d}"
    return st.one_of(written_times(time_ms), st.just(date), st.sampled_from((date, f" {date} ", "", "soon", True)))


def written_numbers(lowest: int, highest: int) -> SearchStrategy[Any]:
    """Write a number as a profile may: as a message may, or as a text that is plainly one; or one that is none."""
    plain = numbers(lowest, highest)
    return st.one_of(
        plain, plain.map(str), plain.map(" {} ".format), st.sampled_from(("", " ", "1,5", "1e3", "-2.", True))
    )


def erasures(account_id: str, time_ms: int, event_id: str) -> SearchStrategy[dict[str, Any]]:
    """Return controls that erase an account."""
    return written_times(time_ms).map(
        lambda time: {"id": event_id, "account_id": account_id, "time": time, "kind": "erase"}
    )


def merges(account_id: str, others: Sequence[str], time_ms: int, event_id: str) -> SearchStrategy[dict[str, Any]]:
    """Return controls that merge an account into one of `others`, or into itself."""
    return st.tuples(written_times(time_ms), st.sampled_from((*others, account_id))).map(
        lambda drawn: {"id": event_id, "account_id": account_id, "time": drawn[0], "kind": "merge", "into": drawn[1]}
    )


def encoded(event: dict[str, Any]) -> SearchStrategy[bytes]:
    """Write an event as JSON: its fields in either order, tight or spaced, with or without escapes."""
    backwards = dict(reversed(event.items()))
    return st.sampled_from(
        (
            json.dumps(event).encode(),
            json.dumps(backwards, ensure_ascii=False).encode(),
            json.dumps(backwards, separators=(",", ":")).encode(),
            json.dumps(event, indent=1, ensure_ascii=False).encode(),
        )
    )


# ---------------------------------------------------------------------------------------------------------------------
# Values that must be refused

NOT_JSON = (
    b"",
    b" ",
    b"\xff\xfe\x00",
    b'{"id": "\xc3\x28"}',
    b"{",
    b"nonsense",
    b"{'id': 1}",
    b"[]",
    b"null",
    b"3",
    b'"text"',
    b"[" * 10_000 + b"]" * 10_000,
    b'{"id":' * 10_000 + b"1" + b"}" * 10_000,
)
BAD_TIMES: tuple[object, ...] = (
    None,
    "",
    "yesterday",
    "2024-11-01",
    "2024-11-01T10:00:00",
    "2024-13-01T10:00:00Z",
    "2024-11-01T25:00:00Z",
    True,
    [],
    0,
    NOW_MS // 1000,
    946_684_799_999,
    "1999-12-31T23:59:59.999Z",
    LATEST_MS + 1,
    NOW_MS + 365 * DAY_MS,
    "2525-01-01T00:00:00Z",
)
BAD_TEXTS: tuple[object, ...] = (1, 0.5, True, [], {}, ["text"])
BAD_NUMBERS: tuple[object, ...] = ("1", "", True, [], {}, 10**12 + 1, -(10**12) - 1, 1e300, 10**30)
BELOW_ZERO = ("count", "duration_s", "days_late", "first_response_s", "resolution_s")
LISTED = {
    ("support-tickets", "status"),
    ("support-tickets", "priority"),
    ("surveys", "kind"),
    ("billing", "kind"),
    ("controls", "kind"),
}
ABSENT = object()
NO_NUMBERS = (b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"01", b"0x1", b".5")


def _bad_numbers(source: str, event: dict[str, Any], field: str) -> tuple[object, ...]:
    if source == "surveys":
        lowest, highest = SURVEY_SCORES[event["kind"]]
        return (*BAD_NUMBERS, lowest - 1, lowest - 0.25, highest + 1, highest + 0.001)
    if source == "controls":
        return (*BAD_NUMBERS, -0.001, 100.001)
    return (*BAD_NUMBERS, -1, -0.5) if field in BELOW_ZERO else BAD_NUMBERS


def _bad_controls(event: dict[str, Any]) -> list[tuple[str, tuple[object, ...]]]:
    """List what spoils a control beyond what spoils any event."""
    faults: list[tuple[str, tuple[object, ...]]] = [("kind", ("erased", "Pulse")), ("score", (-0.001, 100.001, "50"))]
    if event["kind"] == "pulse":
        faults.append(("value", (None, ABSENT)))
    if event["kind"] == "override":
        aim, other = ("score", "band") if "score" in event else ("band", "score")
        faults += [(aim, (None, ABSENT)), (other, ("attention" if other == "band" else 50,))]
        faults += [("reason", (None, ABSENT, "")), ("expires_at", (None, ABSENT, "tomorrow", True))]
    return faults


def _faults(source: str, event: dict[str, Any]) -> list[tuple[str, tuple[object, ...]]]:
    """List every (field, values) of which each single value spoils a valid event of the source."""
    faults = [("id", (*BLANK, *BAD_TEXTS)), ("account_id", (*BLANK, *BAD_TEXTS)), ("time", BAD_TIMES)]
    faults += [(field, (None, ABSENT)) for field in ("id", "account_id", "time", *_required(source))]
    faults += [(field, BAD_TEXTS) for field in TEXTS[source]]
    faults += [(field, ("", "Opened", "other")) for field in TEXTS[source] if (source, field) in LISTED]
    faults += [(field, _bad_numbers(source, event, field)) for field in NUMBERS[source]]
    if source == "controls":
        faults += _bad_controls(event)
    if source == "signals":
        faults.append(("name", ("",)))
    return faults


def _required(source: str) -> tuple[str, ...]:
    # Only a pulse needs the value of a control.
    return ("kind",) if source == "controls" else REQUIRED[source]


@st.composite
def spoilt_values(draw: DrawFn, source: str, account_id: str = "acme", event_id: str = "bad") -> bytes | None:
    """Draw a value that is no event as documented, for one reason: what is not JSON, or an event with one fault."""
    if draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from((None, *NOT_JSON)))
    event = draw(events(source, account_id, NOW_MS - DAY_MS, event_id, sparse=False))
    whole = json.dumps(event, ensure_ascii=False).encode()
    way = draw(st.integers(0, 9))
    if way == 0:
        return whole[: draw(st.integers(0, len(whole) - 1))]
    if way == 1 and NUMBERS[source]:
        event[draw(st.sampled_from(list(NUMBERS[source])))] = "@"
        return json.dumps(event).encode().replace(b'"@"', draw(st.sampled_from(NO_NUMBERS)))
    field, values = draw(st.sampled_from(_faults(source, event)))
    event[field] = draw(st.sampled_from(values))
    return json.dumps({name: value for name, value in event.items() if value is not ABSENT}).encode()


def invalid_values(source: str, account_id: str = "acme", event_id: str = "bad") -> st.SearchStrategy[bytes | None]:
    """A spoilt value that must be dead-lettered: what it means cannot be recognised either."""
    return spoilt_values(source, account_id, event_id).filter(lambda value: not _is_recognised(source, value))


def _is_recognised(source: str, value: bytes | None) -> bool:
    try:
        read_record(source, value, NOW_MS)
    except RejectedError:
        return False
    return True

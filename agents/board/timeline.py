"""The 360-degree journey of one account: what moved its score, its alerts, what people said, and the events themselves.

Owns how these are put in one order and turned in pages. Scores and alerts come from the state, the rest is read from
the input topics when it is asked for. Called by `agents.board.app`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, get_args

import msgspec
from msgspec import Struct
from starlette.concurrency import run_in_threadpool

from agents.board.accounts import change_view
from agents.board.answers import UnavailableError
from agents.board.inputs import Found, Inputs, Raw
from agents.board.listing import decode_cursor, encode_cursor
from agents.board.rows import alert_view
from agents.board.state import Account, State
from agents.board.views import Item, ItemKind, Timeline
from agents.board.words import event_words
from schemas.events import CONTROL_SOURCE, METRIC_SOURCES, PROFILE_SOURCE
from schemas.outputs import Alert
from schemas.topics import ALERTS, CHANGES

KINDS: tuple[ItemKind, ...] = get_args(ItemKind)
_EVER = 2**62
_SOURCES: dict[ItemKind, tuple[str, ...]] = {
    "control": (CONTROL_SOURCE,),
    "profile": (PROFILE_SOURCE,),
    "event": tuple(source for source in METRIC_SOURCES if source != CONTROL_SOURCE),
}


class Place(Struct, array_like=True):
    """Where a page ended: nothing after `until` counts, what is known goes on behind `after`, inputs at `places`."""

    until: int
    after: tuple[int, str] | None
    places: dict[str, int]


class _Entry(NamedTuple):
    """An item and its place: `raw` is the record that it was read from, of what is known there is none."""

    time: int
    identity: str
    item: Item
    raw: Raw | None


async def timeline_of(
    state: State,
    account: Account,
    inputs: Inputs,
    before: int | None,
    cursor: str | None,
    *,
    limit: int,
    kinds: frozenset[str],
) -> Timeline:
    """A page of at most `limit` items, newest first; each item is on one page. Raises `CursorError`."""
    place = Place(_EVER if before is None else before, None, {}) if cursor is None else decode_cursor(cursor, Place)
    topics = [topic for kind, sources in _SOURCES.items() if kind in kinds for topic in sources]
    problem = None
    try:
        found = await run_in_threadpool(inputs.find, account.account_id, topics, place.places, place.until, limit)
    except UnavailableError as error:
        problem, found = str(error), Found([], dict(place.places), 0, 0)
    known = [entry for entry in _known(state, account, kinds) if _is_behind(entry, place)]
    events = [_Entry(raw.time, f"{raw.topic}/{raw.offset}", _event_item(raw), raw) for raw in found.records]
    # What is older than the horizon waits for the next page: the topics may hold more of that time.
    ripe = sorted((entry for entry in (*known, *events) if entry.time > found.horizon), key=_newest_first)
    shown = ripe[:limit]
    after, places = _left(place, found, shown)
    shown_known = {entry.identity for entry in shown if entry.raw is None}
    more = any(places.values()) or any(entry.identity not in shown_known for entry in known)
    return Timeline(
        items=[entry.item for entry in shown],
        next=encode_cursor(Place(place.until, after, places)) if more else None,
        scanned=found.scanned,
        complete=len(ripe) >= limit or found.horizon == 0,
        problem=problem,
    )


def _newest_first(entry: _Entry) -> tuple[int, str]:
    return -entry.time, entry.identity


def _is_behind(entry: _Entry, place: Place) -> bool:
    if entry.time > place.until:
        return False
    return place.after is None or _newest_first(entry) > place.after


def _left(place: Place, found: Found, shown: list[_Entry]) -> tuple[tuple[int, str] | None, dict[str, int]]:
    """Where the next page goes on: behind the last of what is known, and at the records that were not shown."""
    behind = [_newest_first(entry) for entry in shown if entry.raw is None]
    told = {entry.raw for entry in shown if entry.raw is not None}
    places = dict(found.places)
    for raw in found.records:
        if raw not in told:
            places[raw.topic] = max(places.get(raw.topic, 0), raw.offset + 1)
    return behind[-1] if behind else place.after, places


def _known(state: State, account: Account, kinds: frozenset[str]) -> Iterator[_Entry]:
    """Score changes and alerts, in no order."""
    key = account.account_id
    if "score" in kinds:
        for score, trail in account.trails.items():
            for step in trail.newest_first():
                view = change_view(state, key, score, step)
                title = f"{score} {view.words}"
                yield _Entry(step.time, f"s{view.id}", Item(step.time, "score", CHANGES, title, view), None)
    if "alert" in kinds:
        for alert in (*state.episodes.open_of(key), *state.episodes.past_of(key)):
            shown = alert_view(state, alert)
            for time, what in _moments(alert):
                identity = f"a{alert.fingerprint}{alert.starts_at}{what}"
                title = f"{what}: {alert.summary}"
                yield _Entry(time, identity, Item(time, "alert", ALERTS, title, shown), None)


def _moments(alert: Alert) -> Iterator[tuple[int, str]]:
    yield alert.starts_at, f"{alert.severity} alert began"
    if alert.acknowledged_at is not None:
        yield alert.acknowledged_at, f"acknowledged by {alert.acknowledged_by or 'somebody'}"
    if alert.ends_at is not None:
        yield alert.ends_at, "resolved"


def _event_item(raw: Raw) -> Item:
    data = msgspec.json.decode(raw.value)
    kind: ItemKind = next(kind for kind, sources in _SOURCES.items() if raw.topic in sources)
    return Item(raw.time, kind, raw.topic, event_words(raw.topic, data), data)

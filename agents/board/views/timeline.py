"""The 360-degree journey of one account: what moved its score, its alerts, what people said, and the events themselves.

Owns how these are put in one order and cut in pages. Scores and alerts come from the state, the rest is what
`agents.board.views.inputs` found when it was asked for. Pure. Called by `agents.board.web.app`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, get_args

import msgspec
from msgspec import Struct

from agents.board.state.state import Account, State
from agents.board.views.account import change_view
from agents.board.views.inputs import RawEvent, SearchResult
from agents.board.views.listing import decode_cursor, encode_cursor
from agents.board.views.rows import alert_view
from agents.board.views.text import event_text
from agents.board.views.types import Item, ItemKind, Timeline
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


class Position(Struct, array_like=True):
    """Where a page ended: nothing after `until` counts, what is known goes on behind `after`, inputs at `places`."""

    until: int
    after: tuple[int, str] | None
    places: dict[str, int]


class _Entry(NamedTuple):
    """An item and its place in the order; `raw` is the record that it was read from, of what is known there is none.

    `turn` is its time; of a record that came late, the time of what came before it: a topic is shown in the order of
    its records.
    """

    turn: int
    identity: str
    offset: int
    item: Item
    raw: RawEvent | None

    def order(self) -> tuple[int, str, int]:
        """Sort key: newest first."""
        return -self.turn, self.identity, -self.offset


def position_of(cursor: str | None, before: int | None) -> Position:
    """Where a page begins: where the one before ended, else at a moment (epoch ms). Raises `CursorError`."""
    if cursor is not None:
        return decode_cursor(cursor, Position)
    return Position(_EVER if before is None else before, None, {})


def topics_of(kinds: frozenset[str]) -> list[str]:
    """The input topics that hold these kinds of items."""
    return [topic for kind, sources in _SOURCES.items() if kind in kinds for topic in sources]


def page_of(
    state: State,
    account: Account,
    place: Position,
    found: SearchResult,
    *,
    limit: int,
    kinds: frozenset[str],
    problem: str | None = None,
) -> Timeline:
    """A page of at most `limit` items, newest first; each item is on one page.

    `found` are the inputs from `place` backwards; without them (`problem` says why) the places stay as they are.
    """
    known = [entry for entry in _known(state, account, kinds) if _is_behind(entry, place)]
    events = list(_events(found.records))
    # What is older than the horizon waits for the next page, since the topics may hold more of that time. Where nothing
    # else is left to show, what was found is shown all the same: every page gets on.
    ripe = [entry for entry in (*known, *events) if entry.turn >= found.horizon] or events
    shown = sorted(ripe, key=_Entry.order)[:limit]
    after, places = _left(place, found, shown)
    more = any(places.values()) or len(known) > sum(entry.raw is None for entry in shown)
    return Timeline(
        items=sorted((entry.item for entry in shown), key=lambda item: -item.time),
        next=encode_cursor(Position(place.until, after, places)) if more else None,
        scanned=found.scanned,
        complete=len(ripe) >= limit or found.horizon == 0,
        problem=problem,
    )


def _is_behind(entry: _Entry, place: Position) -> bool:
    if entry.turn > place.until:
        return False
    return place.after is None or (-entry.turn, entry.identity) > place.after


def _left(place: Position, found: SearchResult, shown: list[_Entry]) -> tuple[tuple[int, str] | None, dict[str, int]]:
    """Where the next page goes on: behind the last of what is known, and at the records that were not shown."""
    behind = [(-entry.turn, entry.identity) for entry in shown if entry.raw is None]
    told = {(entry.raw.topic, entry.raw.offset) for entry in shown if entry.raw is not None}
    places = dict(found.places)
    for raw in found.records:
        if (raw.topic, raw.offset) not in told:
            places[raw.topic] = max(places.get(raw.topic, 0), raw.offset + 1)
    return behind[-1] if behind else place.after, places


def _events(records: list[RawEvent]) -> Iterator[_Entry]:
    """What was found, each with its turn."""
    turns: dict[str, int] = {}
    for raw in sorted(records, key=lambda raw: (raw.topic, raw.offset)):
        turn = turns[raw.topic] = max(raw.time, turns.get(raw.topic, 0))
        yield _Entry(turn, raw.topic, raw.offset, _event_item(raw), raw)


def _known(state: State, account: Account, kinds: frozenset[str]) -> Iterator[_Entry]:
    """Score changes and alerts, in no order."""
    key = account.account_id
    if "score" in kinds:
        for score, history in account.histories.items():
            for step in history.newest_first():
                view = change_view(state, key, score, step)
                title = f"{score} {view.words}"
                yield _Entry(step.time, f"s{view.id}", 0, Item(step.time, "score", CHANGES, title, view), None)
    if "alert" in kinds:
        for alert in (*state.episodes.open_of(key), *state.episodes.past_of(key)):
            shown = alert_view(state, alert)
            for time, what in _moments(alert):
                identity = f"a{alert.fingerprint}{alert.starts_at}{what}"
                title = f"{what}: {alert.summary}"
                yield _Entry(time, identity, 0, Item(time, "alert", ALERTS, title, shown), None)


def _moments(alert: Alert) -> Iterator[tuple[int, str]]:
    yield alert.starts_at, f"{alert.severity} alert began"
    if alert.acknowledged_at is not None:
        yield alert.acknowledged_at, f"acknowledged by {alert.acknowledged_by or 'somebody'}"
    if alert.ends_at is not None:
        yield alert.ends_at, "resolved"


def _event_item(raw: RawEvent) -> Item:
    data = msgspec.json.decode(raw.value)
    kind: ItemKind = next(kind for kind, sources in _SOURCES.items() if raw.topic in sources)
    return Item(raw.time, kind, raw.topic, event_text(raw.topic, data), data)

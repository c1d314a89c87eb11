"""The timeline of one account: score changes, alerts, controls, profiles and events, newest first.

Owns their order and the pages. Score changes and alerts come from the state, everything else from a search of
`agents.board.views.inputs`. Pure. Called by `agents.board.web.app`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, get_args

import msgspec
from msgspec import Struct

from agents.board.state.state import Account, State
from agents.board.views.account import change_view
from agents.board.views.inputs import RawEvent, SearchResult
from agents.board.views.listing import CursorError, decode_cursor, encode_cursor
from agents.board.views.rows import alert_view
from agents.board.views.text import event_text
from agents.board.views.types import Item, ItemKind, Timeline, UnreadableRecord
from schemas.events import CONTROL_SOURCE, PROFILE_SOURCE
from schemas.outputs import Alert
from schemas.records import UnreadableError, read_event
from schemas.sources import Sources
from schemas.topics import ALERTS, CHANGES

KINDS: tuple[ItemKind, ...] = get_args(ItemKind)
_EVER = 2**62
_LARGEST_OFFSET = 2**63 - 1
_KIND_OF: dict[str, ItemKind] = {CONTROL_SOURCE: "control", PROFILE_SOURCE: "profile"}
"""The kind of item of a source's records; `event` for all others."""


class Position(Struct, array_like=True):
    """The end of a page: no item is later than `until`; the state continues behind `after`, inputs at `offsets`."""

    until: int
    after: tuple[int, str] | None
    offsets: dict[str, int]


class _Entry(NamedTuple):
    """An item and its sort key. `raw` is the record of an input topic, None for items of the state.

    `order_time` is its time; for a late record, the time of the record before it, because a topic is shown in the order
    of its records.
    """

    order_time: int
    identity: str
    offset: int
    item: Item
    raw: RawEvent | None

    def order(self) -> tuple[int, str, int]:
        """Sort key: newest first."""
        return -self.order_time, self.identity, -self.offset


def position_of(cursor: str | None, before: int | None, sources: Sources) -> Position:
    """The start of a page: the end of the previous page, else a time (epoch ms). Raises `CursorError`."""
    if cursor is not None:
        position = decode_cursor(cursor, Position)
        known = topics_of(frozenset(KINDS), sources)
        if any(topic not in known or not 0 <= offset <= _LARGEST_OFFSET for topic, offset in position.offsets.items()):
            msg = "cursor: not valid; leave it out to start again"
            raise CursorError(msg)
        return position
    return Position(_EVER if before is None else before, None, {})


def topics_of(kinds: frozenset[str], sources: Sources) -> list[str]:
    """The input topics with these kinds of items."""
    return [source.topic for source in sources if _KIND_OF.get(source.name, "event") in kinds]


def page_of(
    state: State,
    account: Account,
    position: Position,
    result: SearchResult,
    sources: Sources,
    *,
    limit: int,
    kinds: frozenset[str],
    problem: str | None = None,
) -> Timeline:
    """A page of at most `limit` items, newest first. Each item is on exactly one page.

    `result` has the inputs backwards from `position`. If they could not be read, `problem` says why and the offsets
    stay.
    """
    known = [entry for entry in _known(state, account, kinds) if _is_behind(entry, position)]
    events = list(_events(result.records, sources))
    # Items older than the horizon wait for the next page, because the topics may have more of that time. If there is no
    # other item, they are shown, so that every page makes progress.
    ripe = [entry for entry in (*known, *events) if entry.order_time >= result.horizon] or events
    shown = sorted(ripe, key=_Entry.order)[:limit]
    after, offsets = _left(position, result, shown)
    more = any(offsets.values()) or len(known) > sum(entry.raw is None for entry in shown)
    return Timeline(
        items=sorted((entry.item for entry in shown), key=lambda item: -item.time),
        unreadable=sum(isinstance(entry.item.data, UnreadableRecord) for entry in shown),
        next=encode_cursor(Position(position.until, after, offsets)) if more else None,
        scanned=result.scanned,
        complete=len(ripe) >= limit or result.horizon == 0,
        problem=problem,
    )


def _is_behind(entry: _Entry, position: Position) -> bool:
    if entry.order_time > position.until:
        return False
    return position.after is None or (-entry.order_time, entry.identity) > position.after


def _left(
    position: Position, result: SearchResult, shown: list[_Entry]
) -> tuple[tuple[int, str] | None, dict[str, int]]:
    """Where the next page continues: behind the last item of the state, and at the records that were not shown."""
    behind = [(-entry.order_time, entry.identity) for entry in shown if entry.raw is None]
    shown_records = {(entry.raw.topic, entry.raw.offset) for entry in shown if entry.raw is not None}
    offsets = dict(result.offsets)
    for raw in result.records:
        if (raw.topic, raw.offset) not in shown_records:
            offsets[raw.topic] = max(offsets.get(raw.topic, 0), raw.offset + 1)
    return behind[-1] if behind else position.after, offsets


def _events(records: list[RawEvent], sources: Sources) -> Iterator[_Entry]:
    """The events of a search."""
    newest: dict[str, int] = {}
    for raw in sorted(records, key=lambda raw: (raw.topic, raw.offset)):
        order_time = newest[raw.topic] = max(raw.time, newest.get(raw.topic, 0))
        yield _Entry(order_time, raw.topic, raw.offset, _event_item(raw, sources), raw)


def _known(state: State, account: Account, kinds: frozenset[str]) -> Iterator[_Entry]:
    """Score changes and alerts of the state, not sorted."""
    key = account.account_id
    if "score" in kinds:
        for score, history in account.histories.items():
            for change in history.newest_first():
                view = change_view(state, key, score, change)
                title = f"{score} {view.words}"
                yield _Entry(change.time, f"s{view.id}", 0, Item(change.time, "score", CHANGES, title, view), None)
    if "alert" in kinds:
        for alert in (*state.episodes.open_of(key), *state.episodes.past_of(key)):
            for time, what, record in _transitions(state.episodes.records_of(alert)):
                identity = f"a{alert.fingerprint}{alert.starts_at}{what}"
                title = f"{what}: {record.summary}"
                yield _Entry(time, identity, 0, Item(time, "alert", ALERTS, title, alert_view(state, record)), None)


def _transitions(records: list[Alert]) -> Iterator[tuple[int, str, Alert]]:
    """The moments of an episode, each with the record that was published then.

    An alert that a worse one has taken the place of has no end here: the beginning of the worse one says it.
    """
    first, latest = records[0], records[-1]
    if first.status == "resolved":  # the topic does not have its beginning any more
        first = msgspec.structs.replace(
            first, status="firing", ends_at=None, worsened_to=None, summary=first.rule, fall=None
        )
    yield first.starts_at, f"{first.severity} alert began", first
    acknowledged = next((record for record in records if record.acknowledged_at is not None), None)
    if acknowledged is not None and acknowledged.acknowledged_at is not None:
        author = acknowledged.acknowledged_by or "somebody"
        yield acknowledged.acknowledged_at, f"acknowledged by {author}", acknowledged
    if latest.ends_at is not None and latest.worsened_to is None:
        yield latest.ends_at, "resolved", latest


def _event_item(raw: RawEvent, sources: Sources) -> Item:
    source = sources.input_of[raw.topic]
    kind = _KIND_OF.get(source, "event")
    try:
        data = read_event(raw.value).data
    except UnreadableError as error:
        problem = UnreadableRecord(error.reason, str(error), raw.offset)
        return Item(raw.time, kind, raw.topic, f"record that cannot be read: {error.reason.replace('_', ' ')}", problem)
    return Item(raw.time, kind, raw.topic, event_text(source, data), data)

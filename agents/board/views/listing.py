"""Lists of accounts: filters, order, and cursors that hold while data changes.

Owns which accounts are on a page. A cursor names the last account shown and the value it was sorted by, so an account
whose value stays is on exactly one page, whatever happens to the others, on any board. Pure. Called by
`agents.board.web.app`.
"""

from __future__ import annotations

import base64
import binascii
import heapq
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import msgspec
import xxhash
from msgspec import Struct

from agents.board.state.state import Account, State
from agents.board.views.rows import SPANS, delta_since, row_of
from agents.board.views.types import Accounts

SortValue = float | int | str | None
_Kind = TypeVar("_Kind", bound=Struct)


class ListQuery(NamedTuple):
    """Which accounts, in which order. Each filter holds any of its values; an empty text stands for "has none"."""

    score: str
    bands: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()
    owners: frozenset[str] = frozenset()
    tiers: frozenset[str] = frozenset()
    text: str = ""
    alerts_open: bool = False
    sort: str = "score"
    descending: bool = False

    def digest(self) -> str:
        """A hash of all of it: a cursor fits only the question it came from."""
        sets = [sorted(value) if isinstance(value, frozenset) else value for value in self]
        return xxhash.xxh3_64_hexdigest(msgspec.json.encode(sets))


class Cursor(Struct, array_like=True):
    """Where a page ended."""

    digest: str
    value: SortValue
    account_id: str


class CursorError(ValueError):
    """A cursor that is none, or of another question."""


def encode_cursor(cursor: Struct) -> str:
    """A cursor as text for a URL."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(cursor)).decode().rstrip("=")


def decode_cursor(text: str, kind: type[_Kind]) -> _Kind:
    """A cursor from its text. Raises `CursorError`."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return msgspec.msgpack.decode(raw, type=kind)
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        msg = "cursor: not one of ours; leave it out to begin anew"
        raise CursorError(msg) from error


def _change(span: str) -> Callable[[State, Account, str], SortValue]:
    length = SPANS[span]
    return lambda state, account, score: delta_since(state, account, score, state.time - length)


def _name(state: State, account: Account, _score: str) -> SortValue:
    return (state.profile_name(account.account_id) or account.account_id).casefold()


def _arr(state: State, account: Account, _score: str) -> SortValue:
    profile = state.profiles.get(account.account_id)
    return None if profile is None else profile.arr


def _score(_state: State, account: Account, score: str) -> SortValue:
    return account.scores[score].value


def _as_of(_state: State, account: Account, _score: str) -> SortValue:
    return account.as_of


def _alerts(state: State, account: Account, _score: str) -> SortValue:
    return len(state.episodes.open_of(account.account_id))


SORTS: Mapping[str, Callable[[State, Account, str], SortValue]] = MappingProxyType(
    {
        "score": _score,
        **{f"change_{span}": _change(span) for span in SPANS},
        "name": _name,
        "arr": _arr,
        "as_of": _as_of,
        "alerts": _alerts,
    }
)


class _SortKey:
    """An account's place in the order: by value, those without one last, then by id."""

    __slots__ = ("account_id", "descending", "value")

    def __init__(self, value: SortValue, account_id: str, *, descending: bool) -> None:
        self.value, self.account_id, self.descending = value, account_id, descending

    def __lt__(self, other: _SortKey) -> bool:
        if self.value == other.value:
            return self.account_id < other.account_id
        if self.value is None or other.value is None:
            return other.value is None
        less = bool(self.value < other.value)  # type: ignore[operator]  # one sort, one type
        return less != self.descending


def page_of(state: State, wanted: ListQuery, limit: int, cursor: str | None) -> Accounts:
    """A page of accounts. Raises `CursorError`."""
    value_of, digest = SORTS[wanted.sort], wanted.digest()
    after = None
    if cursor is not None:
        begin = decode_cursor(cursor, Cursor)
        if begin.digest != digest:
            msg = "cursor: of another question; use the same filters and order, or leave it out to begin anew"
            raise CursorError(msg)
        after = _SortKey(begin.value, begin.account_id, descending=wanted.descending)
    places = [
        _SortKey(value_of(state, account, wanted.score), account.account_id, descending=wanted.descending)
        for account in _matching(state, wanted)
    ]
    try:
        rest = places if after is None else [place for place in places if after < place]
    except TypeError as error:
        msg = "cursor: not one of ours; leave it out to begin anew"
        raise CursorError(msg) from error
    shown = heapq.nsmallest(limit, rest)
    last = shown[-1] if len(rest) > limit else None
    return Accounts(
        items=[row_of(state, state.accounts[place.account_id]) for place in shown],
        total=len(places),
        next=None if last is None else encode_cursor(Cursor(digest, last.value, last.account_id)),
    )


def _matching(state: State, wanted: ListQuery) -> Iterator[Account]:
    text = wanted.text.casefold()
    for key, account in state.accounts.items():
        score = account.scores.get(wanted.score)
        if score is None or (wanted.bands and score.band not in wanted.bands):
            continue
        if wanted.segments and (account.segment or "") not in wanted.segments:
            continue
        profile = state.profiles.get(key)
        name, owner, tier = (None, None, None) if profile is None else (profile.name, profile.owner, profile.tier)
        if wanted.owners and (owner or "") not in wanted.owners:
            continue
        if wanted.tiers and (tier or "") not in wanted.tiers:
            continue
        if text and not any(text in (part or "").casefold() for part in (key, name, owner, account.segment)):
            continue
        if wanted.alerts_open and not state.episodes.open_of(key):
            continue
        yield account

"""Lists of accounts: filters, order, and cursors that stay valid while data changes.

Owns which accounts are on a page. A cursor holds the id and the sort value of the last account of a page. An account
whose value does not change is therefore on exactly one page, on any board. Pure. Called by
`agents.board.web.app`.
"""

from __future__ import annotations

import base64
import binascii
import heapq
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import msgspec
import xxhash
from msgspec import Struct

from agents.board.state.state import Account, State
from agents.board.views.rows import SPANS, delta_since, row_of
from agents.board.views.types import Accounts
from schemas.events import Attribute
from schemas.profiles import texts_of

SortValue = float | int | str | list[float | str] | None
"""Of an attribute, a list: whether it is a text (1) or a number (0), and the value."""
ATTRIBUTE_SORT = re.compile(r"attribute:(.+)")
_Kind = TypeVar("_Kind", bound=Struct)


class ListQuery(NamedTuple):
    """The filters and the order of a list. A filter matches any of its values; "" matches accounts without a value."""

    score: str
    bands: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()
    owners: frozenset[str] = frozenset()
    tiers: frozenset[str] = frozenset()
    attributes: frozenset[tuple[str, str]] = frozenset()
    """Names and values: of each name an account has one of the values."""
    text: str = ""
    alerts_open: bool = False
    sort: str = "score"
    descending: bool = False

    @property
    def is_filtered(self) -> bool:
        """Whether it leaves out any account that has the score."""
        texts = self.bands or self.segments or self.owners or self.tiers or self.attributes or self.text.strip()
        return bool(texts or self.alerts_open)

    def digest(self) -> str:
        """A hash of the query: a cursor is valid only for the query that it came from."""
        sets = [sorted(value) if isinstance(value, frozenset) else value for value in self]
        return xxhash.xxh3_64_hexdigest(msgspec.json.encode(sets))


class Cursor(Struct, array_like=True):
    """The end of a page."""

    digest: str
    value: SortValue
    account_id: str


class CursorError(ValueError):
    """The cursor cannot be decoded, or belongs to another query."""


def encode_cursor(cursor: Struct) -> str:
    """A cursor as text for a URL."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(cursor)).decode().rstrip("=")


def decode_cursor(text: str, kind: type[_Kind]) -> _Kind:
    """A cursor from its text. Raises `CursorError`."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return msgspec.msgpack.decode(raw, type=kind)
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        msg = "cursor: not valid; leave it out to start again"
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


def _attribute(name: str) -> Callable[[State, Account, str], SortValue]:
    """Sorts by an attribute of profiles: numbers, then texts without case; flags and lists are sorted as texts."""

    def value_of(state: State, account: Account, _score: str) -> SortValue:
        profile = state.profiles.get(account.account_id)
        value = None if profile is None else profile.attributes.get(name)
        if isinstance(value, float | int) and not isinstance(value, bool):
            return [0, float(value)]
        texts = texts_of(value)
        return [1, ", ".join(texts).casefold()] if texts else None

    return value_of


def sort_of(name: str) -> Callable[[State, Account, str], SortValue] | None:
    """The value that accounts are sorted by: one of `SORTS`, or `attribute:NAME`; None for any other name."""
    if (attribute := ATTRIBUTE_SORT.fullmatch(name)) is not None:
        return _attribute(attribute[1])
    return SORTS.get(name)


class _SortKey:
    """The sort key of an account: by value, accounts without a value last, then by id."""

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


def page_of(state: State, query: ListQuery, limit: int, cursor: str | None) -> Accounts:
    """A page of accounts. Raises `CursorError`."""
    value_of, digest = sort_of(query.sort), query.digest()
    assert value_of is not None, "the request was checked"
    after = None
    if cursor is not None:
        begin = decode_cursor(cursor, Cursor)
        if begin.digest != digest:
            msg = "cursor: belongs to another query; use the same filters and order, or leave it out to start again"
            raise CursorError(msg)
        after = _SortKey(begin.value, begin.account_id, descending=query.descending)
    keys = [
        _SortKey(value_of(state, account, query.score), account.account_id, descending=query.descending)
        for account in state.accounts.values()
        if matches(state, account, query)
    ]
    try:
        rest = keys if after is None else [key for key in keys if after < key]
    except TypeError as error:
        msg = "cursor: not valid; leave it out to start again"
        raise CursorError(msg) from error
    shown = heapq.nsmallest(limit, rest)
    last = shown[-1] if len(rest) > limit else None
    return Accounts(
        items=[row_of(state, state.accounts[key.account_id]) for key in shown],
        total=len(keys),
        next=None if last is None else encode_cursor(Cursor(digest, last.value, last.account_id)),
    )


def _has_attributes(attributes: Mapping[str, Attribute], wanted: frozenset[tuple[str, str]]) -> bool:
    """Whether the profile has, of each name, one of the values; "" is an attribute that it does not have."""
    return all(
        any((wanted_name, text) in wanted for text in texts_of(attributes.get(wanted_name)) or ("",))
        for wanted_name in {name for name, _ in wanted}
    )


def matches(state: State, account: Account, query: ListQuery, *, any_band: bool = False) -> bool:
    """Whether an account is in the list of a query; with `any_band`, whatever its band."""
    score = account.scores.get(query.score)
    if score is None or (query.bands and not any_band and score.band not in query.bands):
        return False
    return passes_filters(state, account, query)


def passes_filters(state: State, account: Account, query: ListQuery) -> bool:
    """Whether an account passes the filters of a query that are not about its score."""
    if query.segments and (account.segment or "") not in query.segments:
        return False
    profile = state.profiles.get(account.account_id)
    name, owner, tier = (None, None, None) if profile is None else (profile.name, profile.owner, profile.tier)
    if query.owners and (owner or "") not in query.owners:
        return False
    attributes = {} if profile is None else profile.attributes
    if (query.tiers and (tier or "") not in query.tiers) or not _has_attributes(attributes, query.attributes):
        return False
    text, texts = query.text.strip().casefold(), (account.account_id, name, owner, account.segment)
    if text and not any(text in (value or "").casefold() for value in texts):
        return False
    return not query.alerts_open or bool(state.episodes.open_of(account.account_id))

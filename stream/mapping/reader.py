"""What the expressions of rules look at: the items of a record, the record, its decoded key and its headers.

Owns that each is computed at most once for a record, and only if a rule asks for it. Must not know rules. Called by
`stream.mapping.apply` and `stream.mapping.binding`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

from schemas.events import PROFILE_SOURCE
from stream.mapping.expressions import Expression
from stream.mapping.framing import UnmappedValueError, key_text, unwrap
from stream.mapping.rules import Origin
from stream.mapping.values import text_of

_ACCOUNT = "account_id"


class Foreign(Protocol):
    """A record as it came, and what is around it."""

    @property
    def name(self) -> str:
        """The topic, or the name of a file without its ending."""

    @property
    def value(self) -> Any:
        """Decoded JSON; None if the record has no value."""

    @property
    def origin(self) -> str:
        """The place of the record, which is unique.

        It is topic, partition and offset, such as `stripe-0-17`, or path and line, such as `exports/stripe.csv:17`.
        """

    @property
    def key(self) -> bytes | None:
        """The key as it came, or None."""

    @property
    def time_ms(self) -> int | None:
        """The time of the record, epoch ms, or None."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers as texts."""


class Reader(msgspec.Struct, dict=True):
    """A record, with its decoded key and its items, each computed at most once."""

    record: Foreign

    @cached_property
    def _items(self) -> dict[Expression, Sequence[Any]]:
        return {}

    def items(self, root: Expression) -> Sequence[Any]:
        """The items that a root gives: those of a list, or the one that it is."""
        items = self._items.get(root)
        if items is None:
            self._items[root] = ()  # so that a root that fails is a problem once
            value = root.evaluate(self.record.value)
            items = value if isinstance(value, list) else () if value is None else (value,)
            self._items[root] = items
        return items

    @cached_property
    def key(self) -> Any:
        """The key: its JSON, also framed or in an envelope, else its text."""
        try:
            return unwrap(self.record.key) if self.record.key else None
        except UnmappedValueError:
            return key_text(self.record.key)

    def account(self, source: str) -> str | None:
        """The account that the key names: a text or whole number, or `account_id` of an object.

        The one member of a key of `accounts` is the account as well, such as `{"id": 1}`.
        """
        key = self.key
        if isinstance(key, dict):
            only = next(iter(key.values())) if len(key) == 1 and source == PROFILE_SOURCE else None
            key = key.get(_ACCOUNT, only)
        if key is None or isinstance(key, dict | list):
            return None
        text = text_of(key)
        return text if isinstance(text, str) else key_text(self.record.key)


def _all(reader: Reader, item: Any) -> Any:
    record = reader.record
    return {"item": item, "record": record.value, "key": reader.key, "headers": record.headers, "name": record.name}


LOOKS: Mapping[Origin, Callable[[Reader, Any], Any]] = MappingProxyType(
    {
        "record": lambda reader, _item: reader.record.value,
        "key": lambda reader, _item: reader.key,
        "headers": lambda reader, _item: reader.record.headers,
        "all": _all,
    }
)
"""What an expression looks at, by its origin; one of the item looks at that."""

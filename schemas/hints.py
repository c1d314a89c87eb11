"""What a person needs to know about a field that is refused: the value that it has, and what it may be.

Owns these words, and which allowed name a wrong one was meant to be. Must not know how records are decoded. Called by
`schemas.codecs` and `schemas.profiles`, and by the messages about policies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import msgspec

_PATH = re.compile(r"at `\$\.([^`]+)`$")
_LONGEST_SHOWN = 60
_MOST_TYPES = 1000
_TIME = "write epoch milliseconds, or a time with its offset, such as 2026-03-01T10:00:00Z"
_NUMBER = "write a JSON number, such as 4800.5"


def record_hint(value: bytes, error: Exception, event_type: Any) -> str:
    """The hint for the field of a record that an error of msgspec names, with a semicolon before it, or nothing."""
    named = _PATH.search(str(error))
    if named is None:
        return ""
    try:
        document = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return ""
    kinds, name = _kinds(event_type), named[1]
    if not isinstance(document, dict) or name not in document or name not in kinds:
        return ""
    return field_hint(document[name], kinds[name], error)


@lru_cache(_MOST_TYPES)
def _kinds(event_type: Any) -> Mapping[str, Any]:
    """The types of the fields of an event, by their names in a record."""
    return {each.encode_name: each.type for each in msgspec.inspect.type_info(event_type).fields}  # type: ignore[attr-defined]


def field_hint(raw: Any, kind: Any, error: Exception) -> str:
    """The hint for a value that an error refuses for a type of `msgspec.inspect`, with a semicolon before it."""
    if raw is None:
        return ""
    shown = _shown(raw)
    types = list(_members(kind))
    for each in types:
        if isinstance(each, msgspec.inspect.LiteralType):
            allowed = [str(choice) for choice in each.values]
            if not isinstance(raw, str):
                return f"; the value is {shown}; allowed: {', '.join(allowed)}"
            meant = closest(raw, allowed)  # the error names the value already
            guess = ";" if meant is None else f"; did you mean {_shown(meant)}?"
            return f"{guess} allowed: {', '.join(allowed)}"
    if any(isinstance(each, msgspec.inspect.DateTimeType) for each in types):
        return f"; the value is {shown}: {_TIME}"
    is_number = any(isinstance(each, msgspec.inspect.FloatType | msgspec.inspect.IntType) for each in types)
    return f"; the value is {shown}" + (f": {_NUMBER}" if is_number and "got `str`" in str(error) else "")


def closest(word: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that `word` was probably meant to be, None if no name is close.

    A name is close if it looks alike, or if it is the only one that has the word between its underscores. A name with
    the same letters in another order comes first.
    """
    names, lower = list(allowed), word.lower()
    alike = get_close_matches(lower, names)
    swapped = [name for name in alike if sorted(name) == sorted(lower)]
    containing = [name for name in names if lower in name.split("_")]
    if swapped:
        return swapped[0]
    return alike[0] if alike else containing[0] if len(containing) == 1 else None


def _members(kind: Any) -> Iterator[Any]:
    if isinstance(kind, msgspec.inspect.UnionType):
        for each in kind.types:
            yield from _members(each)
    elif isinstance(kind, msgspec.inspect.Metadata):
        yield from _members(kind.type)
    else:
        yield kind


def _shown(raw: Any) -> str:
    """A value as JSON, cut off where it is long."""
    text = json.dumps(raw, ensure_ascii=False)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"

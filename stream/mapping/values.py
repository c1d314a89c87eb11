"""Convert values of other systems to the type of a field: text, number, time or flag.

Owns what is taken for what: whole numbers as ids, numbers in text, times in the usual notations. Whatever is converted
means the same in both systems; anything else is refused. Must not know rules. Called by `stream.mapping.apply`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from schemas.events import Event, ProfileEvent

Kind = Literal["text", "choice", "number", "flag", "time", "any"]
"""A choice is one of a closed list of words in lower case; any value is of an attribute or of properties."""

PER_SECOND: Mapping[str, int] = MappingProxyType({"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_WHOLE = 2.0**53
_FLAGS: Mapping[str, bool] = MappingProxyType({"true": True, "false": False})
_MOST_TYPES = 1000
_SEPARATORS = ".,' \u2019\u00a0\u202f"
_WITHOUT_SEPARATORS = str.maketrans("", "", _SEPARATORS)
_WHOLE_NUMBER = r"[+-]?([0-9]+|[0-9]{1,3}(?P<mark>[%s])[0-9]{3}((?P=mark)[0-9]{3})*)"
_GROUPED: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        mark: re.compile(_WHOLE_NUMBER % _SEPARATORS.replace(mark, "") + rf"({re.escape(mark)}[0-9]+)?")
        for mark in (",", ".")
    }
)
"""What a text is that is a number with a decimal mark: the marks between thousands are all the same."""
_DIGITS: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(
            ("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"), 0
        ),
        **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    }
)
"""The digits of a currency's smallest unit where they are not two, as payment APIs count them.

ISO 4217, but ISK and UGX have two digits and MGA has none: https://docs.stripe.com/currencies#special-cases
"""


@lru_cache(_MOST_TYPES)
def kinds(event_type: type[Event]) -> Mapping[str, Kind]:
    """The kind of each field of a type of events. A profile has any other field as well: it is an attribute."""
    made: dict[str, Kind] = {}
    for each in msgspec.inspect.type_info(event_type).fields:  # type: ignore[attr-defined]
        made[each.encode_name] = _kind(each.type)
    if event_type is ProfileEvent:
        for internal in ("attributes", "cleared", "deletes", "stamps", "deleted"):
            del made[internal]
    return MappingProxyType(made)


def _kind(info: Any) -> Kind:
    types = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    if any(isinstance(each, msgspec.inspect.DateTimeType) for each in types):
        return "time"
    if any(isinstance(each, msgspec.inspect.FloatType) for each in types):
        return "number"
    if any(isinstance(each, msgspec.inspect.LiteralType) for each in types):
        return "choice"
    if any(isinstance(each, msgspec.inspect.BoolType) for each in types):
        return "flag"
    return "text" if any(isinstance(each, msgspec.inspect.StrType) for each in types) else "any"


def text_of(value: Any) -> Any:
    """A text as it is, without blanks around it; a whole number or a flag as text; others unchanged."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE:
        return str(int(value))
    return value


def flag_of(value: Any) -> Any:
    """A flag as it is, or the flag that a text is: `true` or `false` in any case; others unchanged."""
    return _FLAGS.get(value.strip().lower(), value) if isinstance(value, str) else value


def number_of(value: Any) -> Any:
    """A number as it is, or the number that a text is, also one that is not finite; others unchanged."""
    if isinstance(value, Decimal):
        return float(value)
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        return value
    return value if "_" in text else number


def decimal_of(value: Any, mark: str) -> Any:
    """The number that a text is whose decimal mark is `,` or `.`, with or without marks between thousands.

    With `,`, 12.000,50 is 12000.5, and so is 12 000,50. Others unchanged, also a point in another place: 4.8.
    """
    if not isinstance(value, str) or not _GROUPED[mark].fullmatch(text := value.strip()):
        return value
    whole, _, decimals = text.partition(mark)
    return float(f"{whole.translate(_WITHOUT_SEPARATORS)}.{decimals or 0}")


def is_finite(value: Any) -> bool:
    """Whether no number in a value is NaN or infinite: JSON has no such numbers, they would be written as null."""
    if isinstance(value, float | Decimal):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(is_finite, value.values()))
    return all(map(is_finite, value)) if isinstance(value, list) else True


def scaled(number: Any, scale: float) -> Any:
    """A number times another, infinite if it is beyond a float; others unchanged."""
    if isinstance(number, bool) or not isinstance(number, int | float):
        return number
    try:
        return number * scale
    except OverflowError:
        return math.inf if (number > 0) == (scale > 0) else -math.inf


def minor_units(amount: Any, currency: Any) -> Any:
    """An amount in the smallest unit of a currency in the currency itself: 1999 usd is 19.99."""
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        return amount
    try:
        return amount / 10 ** _DIGITS.get(currency.upper() if isinstance(currency, str) else "", 2)
    except OverflowError:
        return math.inf if amount > 0 else -math.inf


def time_of(value: Any, unit: str | None = None, layout: str | None = None, zone: tzinfo = UTC) -> Any:
    """A time as epoch milliseconds, or unchanged if it is none.

    A number is in `unit`, ms by default. A text is in the `layout` of strptime, else in ISO 8601: a date is its
    beginning, and what has no offset is in `zone`. A time that its clocks skip or show twice has the offset of before
    the change.
    """
    if type(value) is int:
        return value * 1000 // PER_SECOND[unit or "ms"]
    if isinstance(value, str):
        value = _read_text(value.strip(), unit, layout)
    if isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=zone)
        return (aware - _EPOCH) // _MILLISECOND
    if isinstance(value, date):
        return (datetime.combine(value, time(), zone) - _EPOCH) // _MILLISECOND
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | Fraction) or not is_finite(value):
        return value
    # By the digits that a float is written with: 4.35 s are 4350 ms. A time in ns has more digits than a float.
    number = value if isinstance(value, int) else Fraction(repr(value) if isinstance(value, float) else value)
    return number * 1000 // PER_SECOND[unit or "ms"]


def is_layout(layout: str) -> bool:
    """Whether times can be read by this layout of strptime."""
    try:
        datetime.strptime(_EPOCH.strftime(layout), layout)  # noqa: DTZ007 -- only whether it can be read
    except ValueError:
        return False
    return True


def time_text(time_ms: Any) -> Any:
    """Epoch milliseconds as RFC 3339 in UTC, as attributes have times; anything else unchanged."""
    if isinstance(time_ms, bool) or not isinstance(time_ms, int):
        return time_ms
    try:
        moment = _EPOCH + time_ms * _MILLISECOND
    except OverflowError:
        return time_ms
    text = moment.isoformat(timespec="milliseconds" if time_ms % 1000 else "seconds")
    return text.replace("+00:00", "Z")


def converted(value: Any, kind: Kind) -> Any:
    """A value as the kind of a field wants it."""
    return _CONVERTERS[kind](value)


def converter(kind: Kind) -> Callable[[Any], Any]:
    """The function that converts values as the kind of a field wants them."""
    return _CONVERTERS[kind]


def _undecimal(value: Any) -> Any:
    if not isinstance(value, Decimal):
        return value
    return int(value) if value.is_finite() and value == int(value) else float(value)


def _as_text(value: Any) -> Any:
    return text_of(_undecimal(value))


def _as_choice(value: Any) -> Any:
    text = _as_text(value)
    return text.lower() if isinstance(text, str) else text


_CONVERTERS: Mapping[Kind, Callable[[Any], Any]] = MappingProxyType(
    {
        "text": _as_text,
        "choice": _as_choice,
        "number": lambda value: number_of(_undecimal(value)),
        "flag": lambda value: flag_of(_undecimal(value)),
        "time": lambda value: time_of(_undecimal(value)),
        "any": _undecimal,
    }
)


def _read_text(text: str, unit: str | None, layout: str | None) -> Any:
    if not text:
        return None
    try:
        if layout is not None:
            return datetime.strptime(text, layout)  # noqa: DTZ007 -- without an offset it is in the zone, as documented
        if text.lstrip("-").replace(".", "", 1).isdigit() and (unit is not None or len(text) > len("20260131")):
            return Fraction(text) if "." in text else int(text)
        if text.endswith((" UTC", " GMT")):
            moment = datetime.fromisoformat(text[:-4])
            return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return datetime.fromisoformat(text)
    except ValueError:
        return text

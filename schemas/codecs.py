"""Decode records to events, a whole batch at once, and encode messages.

Owns JSON decoding and the reasons for which a record is refused. Only when a record of a batch is bad are its records
decoded one by one. Knows no Kafka client, no policy, no clock. Called by `agents.worker.tasks.records` and
`agents.files.replay`; `encode` by whoever writes a message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.events import PROFILE_SOURCE, Event, ProfileEvent
from schemas.foreign_forms import foreign_form
from schemas.hints import record_hint
from schemas.plausible_times import IMPLAUSIBLE_TIME, IN_THE_FUTURE, unit_hint
from schemas.profiles import read_profile
from schemas.properties import NONE, Properties, event_type
from schemas.sources import Source

T = TypeVar("T")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

NULL_VALUE = "null_value"
BAD_UTF8 = "bad_utf8"
MALFORMED_JSON = "malformed_json"
TOO_DEEP = "too_deep"
INVALID_FIELD = "invalid_field"
REASONS = (NULL_VALUE, BAD_UTF8, MALFORMED_JSON, TOO_DEEP, INVALID_FIELD, IN_THE_FUTURE, IMPLAUSIBLE_TIME)


class Reject(NamedTuple):
    """A record that is refused: its position (index or offset), one of `REASONS`, a message for people.

    If it is not refused as a `whole`, its event is applied without the fields that the message names.
    """

    position: int
    reason: str
    message: str
    whole: bool = True


class Decoded(NamedTuple):
    """A decoded batch: `events[i]` came from record `indexes[i]`; `indexes` is None when no record was refused.

    A profile may be among the events and, for some of its fields, among the rejects.
    """

    events: Sequence[Event]
    indexes: NDArray[np.int64] | None
    rejects: list[Reject]


_MOST_DECODERS = 1000
_FEW_BYTES = 4096
"""Up to so many bytes are searched faster by `bytes.count` than by arrays."""
_NEWLINE, _OPENING, _CLOSING = b"\n{}"
_PROFILE_DECODER = msgspec.json.Decoder(dict[str, Any])
_ENCODER = msgspec.json.Encoder()


def encode(message: msgspec.Struct) -> bytes:
    """One output message as JSON, UTF-8."""
    return _ENCODER.encode(message)


@lru_cache(_MOST_DECODERS)
def decoder_of(source: Source, names: tuple[str, ...]) -> msgspec.json.Decoder[Event]:
    """The decoder of a source's events with these properties."""
    return msgspec.json.Decoder(event_type(source, names) if names else source.event_type)


def decode(source: Source, values: Sequence[bytes | None], properties: Properties = NONE) -> Decoded:
    """Decode the record values of one source, with the `properties` that are named for it.

    All values are joined by newlines and decoded in one call. That is only sound when every line is one record, so it
    is done when no value holds a newline and every value starts with `{` and ends with `}`: then no two values together
    make one record. In all other cases, and after any error, each record is decoded alone, so that only the bad one is
    refused.
    """
    if source.event_type is ProfileEvent:
        return _decode_profiles(values)
    decoder = decoder_of(source, properties.get(source.name, ()))
    count = len(values)
    if not count:
        return Decoded([], None, [])
    try:
        joined = b"\n".join(values)  # type: ignore[arg-type]  # a None raises TypeError, handled below
        if _is_a_record_a_line(joined, count):
            if not joined.isascii():
                joined.decode()
            events = decoder.decode_lines(joined)
            if len(events) == count:
                return Decoded(events, None, [])
    except (TypeError, UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        pass
    return decode_each(decoder, source, values)


def _is_a_record_a_line(joined: bytes, count: int) -> bool:
    """Whether joined values are `count` lines that all start with `{` and end with `}`."""
    if len(joined) <= _FEW_BYTES:
        newlines = joined.count(b"\n")
        return newlines == count - 1 == joined.count(b"}\n{") and joined.startswith(b"{") and joined.endswith(b"}")
    characters = np.frombuffer(joined, dtype=np.uint8)  # a fifth of what `bytes.count` takes
    ends = np.flatnonzero(characters == _NEWLINE)
    return (
        len(ends) == count - 1
        and joined[:1] == b"{"
        and joined[-1:] == b"}"
        and bool((characters[ends - 1] == _CLOSING).all() and (characters[ends + 1] == _OPENING).all())
    )


def decode_each(decoder: msgspec.json.Decoder[Event], source: Source, values: Sequence[bytes | None]) -> Decoded:
    """Decode each record alone: only those that are bad are refused."""
    events: list[Event] = []
    indexes: list[int] = []
    rejects: list[Reject] = []
    for index, value in enumerate(values):
        outcome = _decode_one(decoder.decode, value, source.name, decoder.type)
        if isinstance(outcome, tuple):
            rejects.append(Reject(index, *outcome))
        else:
            events.append(outcome)
            indexes.append(index)
    return Decoded(events, np.array(indexes, dtype=np.int64), rejects)


def _decode_profiles(values: Sequence[bytes | None]) -> Decoded:
    """Profiles field by field: a bad field is a reject, and the profile is an event without it."""
    events: list[Event] = []
    indexes: list[int] = []
    rejects: list[Reject] = []
    for index, value in enumerate(values):
        outcome = _decode_one(_decode_profile, value, PROFILE_SOURCE, ProfileEvent)
        if not isinstance(outcome[0], ProfileEvent):
            rejects.append(Reject(index, *outcome))
            continue
        profile, problems = outcome
        events.append(profile)
        indexes.append(index)
        if problems:
            message = f"{PROFILE_SOURCE}: {'; '.join(problems)}; the other fields of the profile are used"
            rejects.append(Reject(index, INVALID_FIELD, message, whole=False))
    return Decoded(events, np.array(indexes, dtype=np.int64), rejects)


def _decode_profile(value: bytes) -> tuple[ProfileEvent, list[str]]:
    return read_profile(_PROFILE_DECODER.decode(value))


def _decode_one(
    decode_value: Callable[[bytes], T], value: bytes | None, source: str, event_type: Any
) -> T | tuple[str, str]:
    if value is None:
        return NULL_VALUE, f"{source}: the record has no value; an event is a JSON object"
    try:
        if not value.isascii():
            value.decode()
        return decode_value(value)
    except UnicodeDecodeError as error:
        return BAD_UTF8, f"{source}: {_described(value, error)}"
    except RecursionError:
        return TOO_DEEP, f"{source}: the JSON is nested too deeply"
    except msgspec.ValidationError as error:
        hint = _time_hint(value, error) or record_hint(value, error, event_type)
        return INVALID_FIELD, f"{source}: {_described(value, error)}{hint}"
    except msgspec.DecodeError as error:
        return MALFORMED_JSON, f"{source}: {_described(value, error)}"


def _described(value: bytes, error: Exception) -> str:
    """Why a value is refused; a value in a known form of other systems is named, with what to do."""
    form = foreign_form(value)
    return str(error) if form is None else f"{form} ({error})"


class _Timed(msgspec.Struct):
    time: float


_TIMED = msgspec.json.Decoder(_Timed)


def _time_hint(value: bytes, error: msgspec.ValidationError) -> str:
    """The unit of a `time` that is refused as a number, if recognised: nanoseconds, or seconds with a fraction."""
    if "`$.time`" not in str(error):
        return ""
    try:
        return unit_hint(_TIMED.decode(value).time)
    except msgspec.DecodeError:
        return ""


def is_profile_tombstone(source: str, value: bytes | None) -> bool:
    """Whether a record is the tombstone of a profile: no value on the compacted `accounts` topic."""
    return value is None and source == PROFILE_SOURCE


def instant_ms(time: int | datetime) -> int:
    """An event's `time` as epoch milliseconds; fractions of a millisecond are cut off."""
    return time if isinstance(time, int) else (time - EPOCH) // MILLISECOND


def times_ms(events: Sequence[Event]) -> NDArray[np.int64]:
    """The `time` of each event as epoch milliseconds, int64 of shape (len(events),)."""
    times = [event.time for event in events]
    try:
        return np.array(times, dtype=np.int64)
    except TypeError:
        return np.array([instant_ms(time) for time in times], dtype=np.int64)

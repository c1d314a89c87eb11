"""Decode records to events, a whole batch at once, and encode messages.

Owns JSON decoding and the reasons for which a record is refused. Only when a record of a batch is bad are its records
decoded one by one. Knows no Kafka client, no policy, no clock. Called by `agents.worker.tasks.records` and
`agents.files.replay`; `encode` by whoever writes a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.events import EVENT_TYPES, PROFILE_SOURCE, Event
from schemas.foreign_forms import foreign_form
from schemas.plausible_times import IMPLAUSIBLE_TIME, IN_THE_FUTURE, unit_hint

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

NULL_VALUE = "null_value"
BAD_UTF8 = "bad_utf8"
MALFORMED_JSON = "malformed_json"
TOO_DEEP = "too_deep"
INVALID_FIELD = "invalid_field"
REASONS = (NULL_VALUE, BAD_UTF8, MALFORMED_JSON, TOO_DEEP, INVALID_FIELD, IN_THE_FUTURE, IMPLAUSIBLE_TIME)


class Reject(NamedTuple):
    """A record that is refused: its position (index or offset), one of `REASONS`, a message for people."""

    position: int
    reason: str
    message: str


class Decoded(NamedTuple):
    """A decoded batch: `events[i]` came from record `indexes[i]`; `indexes` is None when no record was refused."""

    events: list[Event]
    indexes: NDArray[np.int64] | None
    rejects: list[Reject]


_DECODERS = {source: msgspec.json.Decoder(kind) for source, kind in EVENT_TYPES.items()}
_ENCODER = msgspec.json.Encoder()


def encode(message: msgspec.Struct) -> bytes:
    """One output message as JSON, UTF-8."""
    return _ENCODER.encode(message)


def decode(source: str, values: Sequence[bytes | None]) -> Decoded:
    """Decode the record values of one source.

    All values are joined by newlines and decoded in one call. That is only sound when every line is one record, so it
    is done when no value holds a newline and every value starts with `{` and ends with `}`: then no two values together
    make one record. In all other cases, and after any error, each record is decoded alone, so that only the bad one is
    refused.
    """
    decoder = _DECODERS[source]
    count = len(values)
    if not count:
        return Decoded([], None, [])
    try:
        joined = b"\n".join(values)  # type: ignore[arg-type]  # a None raises TypeError, handled below
        if (
            joined.count(b"\n") == count - 1
            and joined.count(b"}\n{") == count - 1
            and joined[:1] == b"{"
            and joined[-1:] == b"}"
        ):
            if not joined.isascii():
                joined.decode()
            events = decoder.decode_lines(joined)
            if len(events) == count:
                return Decoded(events, None, [])
    except (TypeError, UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        pass
    return _decode_each(source, values)


def _decode_each(source: str, values: Sequence[bytes | None]) -> Decoded:
    decoder = _DECODERS[source]
    events: list[Event] = []
    indexes: list[int] = []
    rejects: list[Reject] = []
    for index, value in enumerate(values):
        outcome = _decode_one(decoder, value, source)
        if isinstance(outcome, tuple):
            rejects.append(Reject(index, *outcome))
        else:
            events.append(outcome)
            indexes.append(index)
    return Decoded(events, np.array(indexes, dtype=np.int64), rejects)


def _decode_one(decoder: msgspec.json.Decoder[Event], value: bytes | None, source: str) -> Event | tuple[str, str]:
    if value is None:
        return NULL_VALUE, f"{source}: the record has no value; an event is a JSON object"
    try:
        if not value.isascii():
            value.decode()
        return decoder.decode(value)
    except UnicodeDecodeError as error:
        return BAD_UTF8, f"{source}: {_described(value, error)}"
    except RecursionError:
        return TOO_DEEP, f"{source}: the JSON is nested too deeply"
    except msgspec.ValidationError as error:
        return INVALID_FIELD, f"{source}: {_described(value, error)}{_time_hint(value, error)}"
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

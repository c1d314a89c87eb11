"""Read keys and values of foreign records: each is a message, or raises `UnreadableError`.

Owns the decoding of every record that a program reads from an output topic, and of raw input events for people. Who
reads decides what happens to an unreadable record, and counts it. Input events for the engine are decoded in batches
by `schemas.codecs`. Pure. Called by `agents.board`, `agents.sinks`, `agents.derived`, `agents.shadow`, `agents.demo`
and `agents.kafka`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, cast

import msgspec
from msgspec import Raw, Struct

from schemas.codecs import (
    BAD_UTF8,
    INVALID_FIELD,
    MALFORMED_JSON,
    NULL_VALUE,
    TOO_DEEP,
    instant_ms,
)
from schemas.events import Instant, ProfileEvent
from schemas.outputs import Alert, Override, RollupMessage, ScoreChange, ScoreMessage, ShadowMessage
from schemas.plausible_times import IMPLAUSIBLE_TIME
from schemas.profiles import read_profile

FIRST_MS, LAST_MS = -62_135_596_800_000, 253_402_300_799_999
"""The years 1 to 9999, which every date library knows."""
LARGEST_INTEGER = 2**63 - 1
LARGEST_NUMBER = 1e12
"""A score or contribution beyond it is no score, and sums of such numbers overflow."""

_Message = TypeVar("_Message")


class UnreadableError(ValueError):
    """A record that is not what its topic holds; `reason` is one of `schemas.codecs.REASONS`."""

    def __init__(self, reason: str, message: str) -> None:
        """Set the reason and the message for a person."""
        super().__init__(message)
        self.reason = reason


class RawEvent(NamedTuple):
    """An input event as it was sent: its time (epoch ms) and its JSON object."""

    time: int
    data: dict[str, Any]


class _Timed(Struct):
    """The time of an event; the rest is not decoded."""

    time: Instant


_timed = msgspec.json.Decoder(_Timed).decode
_object = msgspec.json.Decoder(dict[str, Any]).decode
_members = msgspec.json.Decoder(dict[str, Raw]).decode


def read_key(key: bytes | None) -> str:
    """The account id of a record key. Raises `UnreadableError`."""
    if not key:
        raise UnreadableError(INVALID_FIELD, "the record has no key; a key is an account id")
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise UnreadableError(BAD_UTF8, f"key: {error}") from None


def read_message(kind: type[_Message], value: bytes | None) -> _Message:
    """The message of a record value; members that `kind` does not have are ignored.

    Raises `UnreadableError`, also for numbers and times of output messages that no later step could handle.
    """
    message = cast("_Message", _decoded(_decoder(cast("Hashable", kind)), value))
    check = _CHECKS.get(kind)
    if check is not None:
        check(message)
    return message


def read_time(value: bytes | None) -> int:
    """The time (epoch ms) of an input event; the rest is not decoded. Raises `UnreadableError`."""
    time = instant_ms(_decoded(_timed, value).time)
    _check_times(time=time)
    return time


def read_event(value: bytes | None) -> RawEvent:
    """An input event as it was sent. Raises `UnreadableError`."""
    time, data = read_time(value), _decoded(_object, value)
    try:
        _encodable(data)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise UnreadableError(INVALID_FIELD, str(error)) from None
    return RawEvent(time, data)


def read_members(value: bytes | None) -> dict[str, Raw]:
    """The members of a JSON object, not decoded. Raises `UnreadableError`."""
    return cast("dict[str, Raw]", _decoded(_members, value))


def read_text(value: Raw) -> str:
    """The text of a JSON string that `read_members` returned. Raises `UnreadableError`."""
    return cast("str", _decoded(_string, bytes(value)))


_string = msgspec.json.Decoder(str).decode
_encodable = msgspec.json.Encoder().encode


@cache
def _decoder(kind: Any) -> Callable[[bytes], Any]:
    if kind is ProfileEvent:
        return lambda value: read_profile(_object(value))[0]
    return msgspec.json.Decoder(kind).decode


def _decoded(decode: Callable[[bytes], Any], value: bytes | None) -> Any:
    if value is None:
        raise UnreadableError(NULL_VALUE, "the record has no value")
    try:
        if not value.isascii():
            value.decode()  # the decoder does not look into members that it skips
        return decode(value)
    except UnicodeDecodeError as error:
        raise UnreadableError(BAD_UTF8, str(error)) from None
    except RecursionError:
        raise UnreadableError(TOO_DEEP, "the JSON is nested too deeply") from None
    except msgspec.ValidationError as error:
        raise UnreadableError(INVALID_FIELD, str(error)) from None
    except msgspec.DecodeError as error:
        raise UnreadableError(MALFORMED_JSON, str(error)) from None


def _check_times(**times: int | None) -> None:
    for name, time in times.items():
        if time is not None and not FIRST_MS <= time <= LAST_MS:
            raise UnreadableError(IMPLAUSIBLE_TIME, f"{name} {_shown(time)} is not in the years 1 to 9999")


def _check_integers(**integers: int) -> None:
    for name, integer in integers.items():
        if not -LARGEST_INTEGER <= integer <= LARGEST_INTEGER:
            raise UnreadableError(INVALID_FIELD, f"{name} {_shown(integer)} has more than 64 bits")


def _check_numbers(**numbers: float | None) -> None:
    for name, number in numbers.items():
        if number is not None and not -LARGEST_NUMBER <= number <= LARGEST_NUMBER:
            raise UnreadableError(INVALID_FIELD, f"{name} {number:g} is larger than {LARGEST_NUMBER:g}")


def _shown(integer: int) -> str:
    """An integer of any size in a few characters."""
    return str(integer) if -LARGEST_INTEGER <= integer <= LARGEST_INTEGER else f"of {integer.bit_length()} bits"


def _check_override(override: Override | None) -> None:
    if override is not None:
        _check_times(since=override.since, expires_at=override.expires_at)
        _check_numbers(score=override.score)


def _check_scores(message: ScoreMessage) -> None:
    _check_times(as_of=message.as_of)
    _check_integers(revision=message.revision)
    _check_override(message.override)
    _check_numbers(arr=message.arr)
    for score in message.scores.values():
        _check_numbers(value=score.value, confidence=score.confidence)
        for factor in score.factors:
            _check_numbers(value=factor.value, points=factor.points, weight=factor.weight, gives=factor.contribution)
        if score.outlook is not None:
            turn = score.outlook.turn
            _check_times(until=score.outlook.until, at=None if turn is None else turn.at)


def _check_change(change: ScoreChange) -> None:
    _check_times(time=change.time)
    _check_integers(revision=change.revision)
    _check_override(change.override)
    _check_numbers(**{"from": change.from_, "to": change.to})
    for factor in change.factors:
        _check_numbers(before=factor.before, after=factor.after, delta=factor.delta)


def _check_alert(alert: Alert) -> None:
    _check_times(
        starts_at=alert.starts_at,
        ends_at=alert.ends_at,
        acknowledged_at=alert.acknowledged_at,
        snoozed_until=alert.snoozed_until,
    )
    _check_integers(flaps=alert.flaps)
    _check_numbers(score=alert.score)


def _check_profile(profile: ProfileEvent) -> None:
    for name in ("time", "started_at", "renewal_at", "ended_at"):
        instant = getattr(profile, name)
        _check_times(**{name: None if instant is None else instant_ms(instant)})
    _check_numbers(arr=profile.arr)


def _check_rollup(rollup: RollupMessage) -> None:
    _check_times(as_of=rollup.as_of)
    for score in rollup.scores.values():
        _check_numbers(mean=score.mean, worst=score.worst, weighted=score.weighted)
        _check_integers(children=score.children)


_CHECKS: Mapping[type, Callable[[Any], None]] = MappingProxyType(
    {
        Alert: _check_alert,
        ProfileEvent: _check_profile,
        RollupMessage: _check_rollup,
        ScoreChange: _check_change,
        ScoreMessage: _check_scores,
        ShadowMessage: _check_scores,
    }
)

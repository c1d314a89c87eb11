"""What becomes of one record of another system: events for input topics, or a dead letter.

Owns that a record gives all of its events or none, so that a dead letter can be replayed after the mapping was changed.
Pure. Called by `agents.mapper.mapper`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import msgspec
from kafka.errors import InvalidTimestampError, KafkaError

from agents.kafka.letters import Position, Refusal, sendable
from agents.mapper.registry.client import UnknownSchemaError
from agents.mapper.registry.decoding import Decoder, UndecodableError
from schemas.codecs import MALFORMED_JSON, NULL_VALUE, decode
from schemas.foreign_forms import has_header
from schemas.plausible_times import IN_THE_FUTURE
from schemas.sources import Sources
from stream.mapping.apply import BoundMapping, no_rule
from stream.mapping.binding import MappedEvent
from stream.mapping.framing import UnmappedValueError, unwrap
from stream.mapping.rules import InputMapping

MAPPED = "mapped"
SKIPPED = "skipped"
TOMBSTONE = "tombstone"
UNMAPPED = "unmapped"
MAPPING_FAILED = "mapping_failed"
TOO_LARGE = "too_large"
UNKNOWN_SCHEMA = "unknown_schema"
UNDECODABLE = "undecodable"

_LARGEST = 32 * 1024
"""Bytes of a value that is mapped with others, so that a poll of them takes little memory."""
_REASONS: Mapping[type[Exception], str] = MappingProxyType(
    {UnmappedValueError: MALFORMED_JSON, UnknownSchemaError: UNKNOWN_SCHEMA, UndecodableError: UNDECODABLE}
)


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of a record: its events, or the reason (`outcome`) and message of a dead letter.

    A record without events and message needs neither: a rule skips it, or it is a tombstone. A dead letter
    `has_value` unless its value is too large for the dead letters.
    """

    outcome: str
    events: list[MappedEvent]
    message: str | None = None
    has_value: bool = True


class _Consumed(msgspec.Struct):
    """A consumer's record as what rules look at; what is around its value is read only if a rule asks for it."""

    name: str
    value: Any
    key: bytes | None
    record: Any

    @property
    def origin(self) -> str:
        record = self.record
        return f"{record.topic}-{record.partition}-{record.offset}"

    @property
    def time_ms(self) -> int | None:
        return time_of(self.record)

    @property
    def headers(self) -> Mapping[str, str]:
        return {name: (value or b"").decode(errors="replace") for name, value in self.record.headers or ()}


def draft_of(record: Any, mapping: BoundMapping, decoder: Decoder | None = None) -> Outcome:
    """Map a consumer's record; whether a worker would take the events is not known yet.

    `decoder` is for values and keys that a schema registry's serializers wrote. Raises `RegistryUnavailableError`:
    nothing is known of the record then.
    """
    try:
        value = None if record.value is None else _content(record.value, decoder)
        key = _key(record.key, decoder)
    except (UnmappedValueError, UnknownSchemaError, UndecodableError) as error:
        return Outcome(_REASONS[type(error)], [], str(error))
    mapped = mapping.apply(_Consumed(record.topic, value, key, record))
    if mapped.problems:
        return Outcome(MAPPING_FAILED, [], "; ".join(mapped.problems))
    if mapped.events:
        return Outcome(MAPPED, mapped.events)
    if record.value is None:
        return Outcome(TOMBSTONE, [])
    return Outcome(SKIPPED, []) if mapped.skipped else Outcome(UNMAPPED, [], no_rule(mapping.mapping, value))


def polled_drafts(
    records: Sequence[Any], mapping: BoundMapping, decoder: Decoder | None = None
) -> list[Outcome | None]:
    """What `draft_of` gives for the records of a poll, None for those for which only it can tell."""
    drafts: list[Outcome | None] = [None] * len(records)
    of_topics: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        value = record.value
        if value is None or len(value) > _LARGEST:
            continue
        if decoder is None or not has_header(record.key or b""):
            of_topics.setdefault(record.topic, []).append(index)
    for topic, indexes in of_topics.items():
        rules = mapping.polled(topic)
        if rules is not None:
            values = [records[index].value for index in indexes]
            record_of = partial(_consumed, [records[index] for index in indexes])
            for index, events in zip(indexes, rules.apply(values, record_of), strict=True):
                if events is not None:
                    drafts[index] = Outcome(MAPPED, events) if events else Outcome(SKIPPED, [])
    return drafts


def _consumed(records: Sequence[Any], index: int) -> _Consumed:
    record = records[index]
    return _Consumed(record.topic, None, record.key, record)


def checked(drafts: Sequence[Outcome], mapping: BoundMapping) -> list[Outcome]:
    """The outcomes of records, of which a worker has to take every event: a record gives all of its events or none.

    The events of a source are decoded at once, and those of a record with a refused one again, for the message.
    """
    of_sources: dict[str, list[tuple[int, bytes]]] = {}
    for index, draft in enumerate(drafts):
        for event in draft.events:
            if event.value is not None:
                of_sources.setdefault(event.source, []).append((index, event.value))
    outcomes = list(drafts)
    for source, values in of_sources.items():
        for reject in decode(mapping.sources[source], [value for _, value in values]).rejects:
            index = values[reject.position][0]
            outcomes[index] = _checked_alone(drafts[index], mapping)
    return outcomes


def _checked_alone(draft: Outcome, mapping: BoundMapping) -> Outcome:
    for event in draft.events:
        refused = _refused(event, mapping.sources)
        if refused is not None:
            reason, message = refused
            return Outcome(reason, [], f"rule {event.rule} of {mapping.mapping.file}: {message}")
    return draft


def _content(value: bytes, decoder: Decoder | None) -> Any:
    return decoder(value) if decoder is not None and has_header(value) else unwrap(value)


def _key(key: bytes | None, decoder: Decoder | None) -> bytes | None:
    """The key, as JSON where a schema registry's serializer wrote it."""
    if key is None or decoder is None or not has_header(key):
        return key
    return msgspec.json.encode(decoder(key))


def _refused(event: MappedEvent, sources: Sources) -> tuple[str, str] | None:
    """Why a worker would refuse the event as a whole."""
    if event.value is None:
        return None
    for _, reason, message, whole in decode(sources[event.source], [event.value]).rejects:
        if whole and reason != NULL_VALUE:
            return reason, message
    return None


def time_of(record: Any) -> int | None:
    """The time of a record, epoch ms; None if it has none."""
    return record.timestamp if record.timestamp >= 0 else None


def refused_by_broker(
    record: Any, outcome: Outcome, mapping: InputMapping, event: MappedEvent | None, error: KafkaError
) -> Outcome:
    """What becomes of a record one of whose writes ended with an error of `REFUSED`; `event` None: its dead letter.

    Raises the error for a dead letter that cannot be smaller.
    """
    if event is None:
        if not outcome.has_value:
            raise error
        advice = f"the record is too large for a dead letter too: read it at {_position(record)}"
        return msgspec.structs.replace(outcome, message=f"{outcome.message}; {advice}", has_value=False)
    if isinstance(error, InvalidTimestampError):
        reason, message = IN_THE_FUTURE, "the time of the record is later than the broker takes"
    else:
        size = len(event.value or b"")
        reason = TOO_LARGE
        message = f"the event has {size:,} bytes, more than the broker takes (max.message.bytes)"
    return Outcome(reason, [], f"rule {event.rule} of {mapping.file}: {event.source}: {message}")


def letter_of(record: Any, outcome: Outcome) -> dict[str, Any]:
    """The dead letter of a record, as arguments of a producer's `send`."""
    letter = sendable(record, Refusal(outcome.outcome, outcome.message or "", _position(record), record.timestamp))
    return letter if outcome.has_value else {**letter, "value": b""}


def _position(record: Any) -> Position:
    return Position(record.topic, record.partition, record.offset)

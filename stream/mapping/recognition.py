"""Recognise records that need no mapping: CloudEvents, Segment track calls, framed JSON, ids that are numbers.

Owns these forms and what is converted without being asked. Looks only at records that were refused as events, so it
costs nothing for events. Everything else needs a mapping (`stream.mapping.apply`). Called by
`agents.kafka.source_records` and `agents.files`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import numpy as np

from schemas.codecs import NULL_VALUE, TOO_DEEP, Decoded, Reject, decode
from schemas.events import Event, UsageEvent
from schemas.properties import NONE, Properties
from schemas.sources import Source
from stream.mapping.framing import UnmappedValueError, key_text, unwrap
from stream.mapping.values import kinds, text_of, time_of

CLOUD_EVENT = "cloudevent"
SEGMENT = "segment"
UNWRAPPED = "unwrapped"
CONVERTED = "converted"
_AS: Mapping[str, str] = {
    CLOUD_EVENT: "as a CloudEvent, whose subject is the account and whose data are the event",
    SEGMENT: "as a track call of Segment, whose context.groupId is the account",
    UNWRAPPED: "without what is around it",
}
_SPEC_VERSION = "ce_specversion"


class Around(NamedTuple):
    """What is around the value of a record."""

    key: bytes | None = None
    headers: Mapping[str, str] = {}


class Recognised(NamedTuple):
    """Decoded records with those that were recognised, and the form of each of these by its index."""

    decoded: Decoded
    forms: Mapping[int, str]


NOTHING_AROUND = Around()


def recognise(
    source: Source,
    values: Sequence[bytes | None],
    decoded: Decoded,
    properties: Properties = NONE,
    around: Callable[[int], Around] = lambda _: NOTHING_AROUND,
) -> Recognised:
    """Try the refused records of a batch in other forms; `around` gives key and headers of a record by its index.

    The message of a record that is in such a form and no event either says what is wrong with it in that form.
    """
    forms: dict[int, str] = {}
    if decoded.indexes is None or not decoded.rejects:
        return Recognised(decoded, forms)
    recognised: dict[int, Event] = {}
    rejects: list[Reject] = []
    for reject in decoded.rejects:
        value = values[reject.position]
        if not reject.whole or value is None or reject.reason in {NULL_VALUE, TOO_DEEP}:
            rejects.append(reject)
            continue
        event, others, form = _event(source, value, around(reject.position), properties)
        rejects += [other._replace(position=reject.position) for other in others] or ([] if event else [reject])
        if event is not None:
            recognised[reject.position] = event
            forms[reject.position] = form
    if not recognised:
        return Recognised(decoded._replace(rejects=rejects), forms)
    events = dict(zip(decoded.indexes.tolist(), decoded.events, strict=True)) | recognised
    indexes = sorted(events)
    merged = Decoded([events[index] for index in indexes], np.array(indexes, dtype=np.int64), rejects)
    return Recognised(merged, forms)


def _event(
    source: Source, value: bytes, around: Around, properties: Properties
) -> tuple[Event | None, list[Reject], str]:
    """The event of a record, why it or some of its fields are refused, and the form that it is in."""
    try:
        inner = unwrap(value)
    except UnmappedValueError:
        return None, [], CONVERTED
    content, form = _content(source, inner, around)
    if form is CONVERTED and not _is_plain(value, inner):
        form = UNWRAPPED
    if not isinstance(content, dict):
        return None, [], form
    text = msgspec.json.encode(_converted(content, source))
    again = decode(source, [text], properties)
    if again.events:
        return again.events[0], again.rejects, form
    if form not in _AS:
        return None, [], form  # what was wrong with it in the first place is said better there
    message = again.rejects[0].message.removeprefix(f"{source.name}: ")
    return None, [again.rejects[0]._replace(message=f"{source.name}: {message} ({_AS[form]})")], form


def _content(source: Source, content: Any, around: Around) -> tuple[Any, str]:
    """The fields of the event in a record, and the record's form."""
    if not isinstance(content, dict):
        return content, CONVERTED
    if _SPEC_VERSION in around.headers:
        attributes = {name.removeprefix("ce_"): text for name, text in around.headers.items()}
        return _with_attributes(content, attributes, around), CLOUD_EVENT
    if "specversion" in content and "type" in content and "source" in content:
        return _with_attributes(_data(content.get("data")), content, around), CLOUD_EVENT
    if content.get("type") == "track" and "messageId" in content and source.event_type is UsageEvent:
        return _track(content), SEGMENT
    return content, CONVERTED


def _is_plain(value: bytes, inner: Any) -> bool:
    """Whether a value is its JSON and nothing around it."""
    try:
        return bool(msgspec.json.decode(value) == inner)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _data(data: Any) -> Any:
    """The data of a CloudEvent, also as a text that is JSON."""
    if not isinstance(data, str):
        return data
    try:
        return unwrap(data.encode())
    except UnmappedValueError:
        return data


def _with_attributes(data: Any, attributes: Mapping[str, Any], around: Around) -> Any:
    """The data of a CloudEvent; what they lack of id, account and time is from its attributes."""
    if not isinstance(data, dict):
        return data
    subject = attributes.get("subject") or attributes.get("partitionkey") or key_text(around.key)
    defaults = {"id": attributes.get("id"), "account_id": subject, "time": attributes.get("time")}
    own = {name: value for name, value in data.items() if value is not None or name not in defaults}
    return {**{name: value for name, value in defaults.items() if value is not None}, **own}


def _track(call: Mapping[str, Any]) -> dict[str, Any]:
    context = call.get("context")
    group = context.get("groupId") if isinstance(context, dict) else None
    fields = {
        "id": call["messageId"],
        "account_id": group or call.get("groupId"),
        "time": call.get("timestamp") or call.get("originalTimestamp") or call.get("sentAt"),
        "user_id": call.get("userId") or call.get("anonymousId"),
        "feature": call.get("event"),
        "properties": call.get("properties"),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _converted(content: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """The fields of an event, where a value can only mean one thing as what the field wants."""
    of_source = kinds(source.event_type)
    return {name: _as_kind(value, of_source.get(name)) for name, value in content.items()}


def _as_kind(value: Any, kind: str | None) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if kind == "text" and not isinstance(value, str):
        return text_of(value)
    if kind == "choice" and isinstance(value, str):
        return value.strip().lower()
    return _time(value) if kind == "time" else value


def _time(value: Any) -> Any:
    """A whole number, or a text with an offset: without one, the time is a guess."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            return value
        return value if moment.tzinfo is None else time_of(moment)
    return value

"""The AsyncAPI 3 document of a deployment: channels, operations, messages, keys, headers and settings of topics.

Owns the form of the document; the records are those of `schemas.catalog.records`. Operations are those of the workers:
they receive inputs and send outputs. Pure. Called by `schemas.catalog.documents`.
"""

from __future__ import annotations

from typing import Any, Final

from schemas.catalog.json_schema import components
from schemas.catalog.records import ERROR_HEADERS, Record, dead_letter_topics, records_of
from schemas.sources import DLQ_SUFFIX, Sources

Json = dict[str, Any]

_REFS: Final = "#/components/schemas/{name}"
_BINDING: Final = "0.5.0"
_DEAD_LETTERS: Final = "dead-letters"
_DEAD_LETTER: Final = "DeadLetter"


def document(sources: Sources, version: str, partitions: int) -> Json:
    """The document for these inputs; `partitions` is how many each input has."""
    records = records_of(sources)
    messages: Json = {}
    for record in records:
        messages |= _messages(record)
    return {
        "asyncapi": "3.0.0",
        "id": "urn:account-vitals",
        "info": {
            "title": "account-vitals",
            "version": version,
            "description": (
                "Records of the Kafka topics that account-vitals reads and writes. Times are epoch milliseconds, UTC. "
                "Unknown fields may be added."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            **{record.topic.name: _channel(record, partitions) for record in records},
            _DEAD_LETTERS: _dead_letters(sources),
        },
        "operations": {_operation_name(record): _operation(record) for record in records}
        | {"sendDeadLetters": _sends()},
        "components": {
            "messages": messages | {_DEAD_LETTER: _dead_letter()},
            "schemas": components(records, _REFS),
        },
    }


def _operation_name(record: Record) -> str:
    return ("receive" if record.is_input else "send") + record.title


def _message_names(record: Record) -> list[str]:
    """The name of the message of a record, then that of a record without a value, if it means something."""
    return [record.title, *([f"{record.title}Tombstone"] if record.tombstone else [])]


def _messages(record: Record) -> Json:
    """The message of a record, and that of a record without a value."""
    key = {"type": "string", "description": f"The {record.topic.key}.", "minLength": 1}
    bindings = {"kafka": {"key": key, "bindingVersion": _BINDING}}
    name, *tombstone = _message_names(record)
    message: Json = {
        "name": name,
        "title": record.topic.name,
        "contentType": "application/json",
        "payload": {"$ref": _REFS.format(name=record.type_name)},
        "bindings": bindings,
        "examples": [{"payload": record.example}],
    }
    if record.headers:
        message["headers"] = _headers(record.headers)
    messages = {name: message}
    for other in tombstone:
        messages[other] = {
            "name": other,
            "title": f"{record.topic.name} without a value",
            "summary": record.tombstone,
            "payload": {"type": "null"},
            "bindings": bindings,
        }
    return messages


def _headers(texts: Any) -> Json:
    properties = {name: {"type": "string", "description": text} for name, text in texts.items()}
    return {"type": "object", "properties": properties}


def _channel(record: Record, partitions: int) -> Json:
    topic = record.topic
    configuration: Json = {"cleanup.policy": [topic.cleanup], "max.message.bytes": topic.max_message_bytes}
    if topic.cleanup == "delete":
        configuration["retention.ms"] = topic.retention_ms
    return {
        "address": topic.name,
        "title": topic.name,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _message_names(record)},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": partitions,
                "topicConfiguration": configuration,
                "bindingVersion": _BINDING,
            }
        },
    }


def _operation(record: Record) -> Json:
    return {
        "action": "receive" if record.is_input else "send",
        "channel": {"$ref": f"#/channels/{record.topic.name}"},
        "messages": [{"$ref": f"#/channels/{record.topic.name}/messages/{name}"} for name in _message_names(record)],
    }


def _dead_letters(sources: Sources) -> Json:
    return {
        "address": f"{{topic}}{DLQ_SUFFIX}",
        "title": "Dead letters",
        "description": "Records that could not be used, unchanged: key, value and headers.",
        "parameters": {"topic": {"enum": dead_letter_topics(sources), "description": "Topic of the record."}},
        "messages": {_DEAD_LETTER: {"$ref": f"#/components/messages/{_DEAD_LETTER}"}},
    }


def _dead_letter() -> Json:
    return {
        "name": _DEAD_LETTER,
        "title": "Dead letter",
        "summary": "The record as it came, whatever its value is.",
        "headers": _headers(ERROR_HEADERS),
        "payload": {},
    }


def _sends() -> Json:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{_DEAD_LETTERS}"},
        "messages": [{"$ref": f"#/channels/{_DEAD_LETTERS}/messages/{_DEAD_LETTER}"}],
    }

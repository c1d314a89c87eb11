"""The files of the catalog: which there are in each form, and their text.

Owns names and layout of the files. Pure. Called by `agents.cli.topics`; docs/reference/schemas has a copy of all.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal, get_args

from schemas.catalog.asyncapi import document
from schemas.catalog.connect import connect_schema
from schemas.catalog.json_schema import record_schema
from schemas.catalog.records import records_of
from schemas.sources import Sources

Form = Literal["json-schema", "asyncapi", "connect"]
FORMS: Final[tuple[Form, ...]] = get_args(Form)
ASYNCAPI_FILE: Final = "asyncapi.json"
_SUFFIXES: Final = {"json-schema": ".schema.json", "connect": ".connect.json"}


def by_topic(form: Form, sources: Sources) -> dict[str, Any]:
    """The schema of each topic, as JSON Schema or as a schema of Kafka Connect."""
    make = record_schema if form == "json-schema" else connect_schema
    return {record.topic.name: make(record) for record in records_of(sources)}


def files(form: Form, sources: Sources, version: str, partitions: int) -> dict[str, Any]:
    """The files of one form, by name: one for each topic, or the AsyncAPI document."""
    if form == "asyncapi":
        return {ASYNCAPI_FILE: document(sources, version, partitions)}
    return {topic + _SUFFIXES[form]: schema for topic, schema in by_topic(form, sources).items()}


def text_of(content: Any) -> str:
    """The text of a file, indented so that a difference is a difference of lines."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

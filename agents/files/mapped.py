"""Try a mapping on files: what each rule makes of records, and what becomes of all of them.

Owns examples and counts. Must not print. Called by `vitals map`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from agents.files.formats import Record
from agents.files.inputs import read_file
from agents.files.playback import BadLine
from schemas.codecs import decode
from schemas.sources import Sources
from stream.mapping.apply import Mapped
from stream.mapping.binding import MappedEvent
from stream.mapping.recognition import recognise
from stream.mapping.rules import InputMapping


class Example(NamedTuple):
    """A record that a rule maps: its number in the file, the record, and the event."""

    number: int
    before: Any
    after: Mapping[str, Any]


@dataclass(slots=True)
class MappedFile:
    """What a mapping makes of one file. `counts` are of events by source, and of records that give none, by reason."""

    path: Path
    records: int = 0
    events: list[Mapping[str, Any]] = field(default_factory=list)
    examples: dict[str, list[Example]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    bad: list[BadLine] = field(default_factory=list)


def map_file(path: Path, sources: Sources, mapping: InputMapping | None, examples: int) -> MappedFile:
    """Map a file, with so many `examples` for each rule. Raises OSError with the file's name."""
    mapped = MappedFile(path)

    def watch(record: Record, result: Mapped) -> None:
        for event in result.events:
            of_rule = mapped.examples.setdefault(event.rule, [])
            if len(of_rule) < examples:
                of_rule.append(Example(record.number, _json(record.value), _document(event)))

    read = read_file(path, sources, mapping, watch)
    mapped.records = read.records
    mapped.bad = read.bad
    for source in [source for source in sources.names if source in read.by_source]:
        numbered = read.by_source[source]
        values = [value for _, value in numbered]
        decoded, forms = recognise(sources[source], values, decode(sources[source], values))
        for index, reason, message, _ in decoded.rejects:
            mapped.bad.append(BadLine(str(path), numbered[index].number, reason, message))
        indexes = range(len(values)) if decoded.indexes is None else decoded.indexes.tolist()
        for index, event in zip(indexes, decoded.events, strict=True):
            # An event of the usual form as it is, without the fields that it leaves out.
            fields = msgspec.to_builtins(event) if index in forms else msgspec.json.decode(values[index])
            mapped.events.append({"topic": source, **fields})
        mapped.counts[f"events of {source}"] += len(decoded.events)
    if read.deletions:
        mapped.counts["profiles that are deleted"] += len(read.deletions)
    for rule, count in read.skipped.items():
        mapped.counts[f"skipped by rule {rule}"] += count
    mapped.counts.update(f"left out: {line.reason}" for line in mapped.bad)
    return mapped


def _json(value: Any) -> Any:
    try:
        return msgspec.json.decode(value) if isinstance(value, bytes) else value
    except (msgspec.DecodeError, UnicodeDecodeError):
        return repr(value)


def _document(event: MappedEvent) -> Mapping[str, Any]:
    value = event.value or event.deletion
    deletes = {"deletes": True} if event.value is None else {}
    return {"topic": event.source, **(msgspec.json.decode(value) if value else {}), **deletes}

"""Read the sources of a policy: those that it adds, with topic and fields, and when a source counts as stalled.

Owns `SourceDefinition`, `IdleSource` and what a source of a policy may be called. Must not know of measures and scores.
Called by the policy parser, before all that names a source.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast, get_args

from schemas.events import PROFILE_SOURCE
from schemas.hints import closest
from schemas.sources import BUILT_IN, DLQ_SUFFIX, IDENTITY_FIELDS, INTERNAL_TOPICS, FieldType, source_of_fields
from schemas.topics import DLQ_PROGRESS, all_topics, changelog
from stream.policy.errors import listed, shown
from stream.policy.fields import LONGEST_NAME
from stream.policy.table import is_name
from stream.policy.windows import SPANS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.sources import Source, Sources
    from stream.policy.errors import Findings
    from stream.policy.table import Table

MOST_SOURCES = 50
MOST_FIELDS = 200
_TYPES: tuple[str, ...] = get_args(FieldType)
_DEFINITION_KEYS = ("topic", "fields", "required")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,245}")  # with .dlq at most the 249 characters that Kafka allows
_A_NAME = "the name of a source must be 1 to 100 letters (a to z, A to Z), digits, - and _"
_A_TOPIC = "a name of 1 to 245 letters (a to z, A to Z), digits, ., - and _"
_FIELDS = 'a table of fields with their types, such as { seats = "number", module = "text", active = "flag" }'
_RESERVED = (*INTERNAL_TOPICS, PROFILE_SOURCE)
_OWN_TOPICS = (*(topic.name for topic in all_topics("", BUILT_IN)), DLQ_PROGRESS.name)
_CHANGELOG = changelog("").name


@dataclass(frozen=True, slots=True)
class SourceDefinition:
    """A source that a policy adds: its topic, its fields with their types, and those that every event must have."""

    name: str
    topic: str
    fields: tuple[tuple[str, FieldType], ...]
    required: tuple[str, ...] = ()

    @property
    def source(self) -> Source:
        """The source, with a type of events that has these fields."""
        return source_of_fields(self.name, self.topic, self.fields, self.required)


@dataclass(frozen=True, slots=True)
class IdleSource:
    """A source counts as stalled if all its events are older than `after_ms`."""

    source: str
    after_ms: int


class PolicySources(NamedTuple):
    """What a policy says of sources: those that it adds, and those that can count as stalled; each sorted by name."""

    definitions: tuple[SourceDefinition, ...]
    topics: tuple[tuple[str, str], ...]
    """Built-in sources and the topics that they have by this policy."""
    idle: tuple[IdleSource, ...]
    is_whole: bool
    """Whether nothing is wrong with those that it adds: else nothing that names one can be read."""

    @property
    def sources(self) -> Sources:
        """The built-in sources, with the topics that they have here, and those of the policy."""
        return BUILT_IN.renamed(dict(self.topics)).extended(definition.source for definition in self.definitions)


def read_sources(root: Table, findings: Findings) -> PolicySources:
    """The sources of a policy, without those that are wrong, which is recorded."""
    tables = root.names("sources", "tables such as [sources.product-usage]")
    added = [name for name in sorted(tables) if _adds(tables, name)]
    if len(added) > MOST_SOURCES:
        root.problem("sources", f"must add at most {MOST_SOURCES} sources, not {len(added)}")
    of_events = (*BUILT_IN.of_events, *added)
    definitions, topics, idle = [], [], []
    for name in sorted(tables):
        if name in added:
            table = tables.table(name, "", (*_DEFINITION_KEYS, "stall_after"))
            assert table is not None, "a table, as its keys have been read"
            definition = _read_definition(tables, name, table)
            after_ms = SPANS.read_ms(table, "stall_after", required=False)
            if definition is not None:
                definitions.append(definition)
        else:
            topic, after_ms = _read_known(tables, name, of_events)
            if topic is not None:
                topics.append((name, topic))
        if after_ms is not None:
            idle.append(IdleSource(name, after_ms))
    _check_topics(tables, [*topics, *((each.name, each.topic) for each in definitions)])
    naming = [(name,) for name in (*added, *dict(topics))]
    is_wrong = findings.any(lambda path: path[:1] == ("sources",) and path[1:2] in naming)
    return PolicySources(tuple(definitions), tuple(topics), tuple(idle), is_whole=not is_wrong)


def _adds(tables: Table, name: str) -> bool:
    """Whether a table adds a source, and is not that of a built-in one whose name is misspelled."""
    value = tables.value(name)
    if not isinstance(value, dict) or name in BUILT_IN:
        return False
    defines = any(key in value for key in _DEFINITION_KEYS)
    return defines or closest(name, BUILT_IN.names) is None


def _read_known(tables: Table, name: str, of_events: Sequence[str]) -> tuple[str | None, int | None]:
    """The topic of a built-in source and when it counts as stalled; None for what is missing, or wrong and recorded."""
    if name != PROFILE_SOURCE and not tables.check_name(name, name, of_events, "a source of events"):
        return None, None
    value = tables.value(name)
    if isinstance(value, dict) and any(key in value for key in ("fields", "required")):
        message = "is a built-in source, which has its own fields: remove them, or choose another name for yours"
        tables.problem(name, f"{shown(name)} {message}")
        return None, None
    if name == PROFILE_SOURCE and isinstance(value, dict) and "stall_after" in value:
        message = f"{shown(name)} has profiles and no events, so it cannot stall; allowed here: "
        tables.problem(name, message + listed(of_events))
        return None, None
    table = tables.table(name, 'a table with stall_after = "1d"', ("stall_after", "topic"))
    if table is None:
        return None, None
    topic = _read_topic(table) if "topic" in table else None
    return topic, SPANS.read_ms(table, "stall_after", required=topic is None and "topic" not in table)


def _read_definition(tables: Table, name: str, table: Table) -> SourceDefinition | None:
    is_valid = _NAME.fullmatch(name) is not None and name not in _RESERVED
    if name in _RESERVED:
        tables.problem(name, f"{shown(name)} is an input of every deployment: choose another name")
    elif not is_valid:
        tables.problem(name, _A_NAME)
    topic = name if "topic" not in table else _read_topic(table)
    fields = _read_fields(table)
    if fields is None:
        return None
    required = table.texts("required", f", such as [{shown(next(iter(dict(fields)), 'seats'))}]")
    for field in required:
        table.check_name("required", field, tuple(table.names("fields", "")), "a field of this source")
    return SourceDefinition(name, topic or name, fields, tuple(sorted(set(required)))) if is_valid else None


def _read_topic(table: Table) -> str | None:
    topic = table.value("topic")
    if isinstance(topic, str) and _TOPIC.fullmatch(topic) and topic.strip("."):
        return topic
    table.wrong("topic", _A_TOPIC)
    return None


def _read_fields(table: Table) -> tuple[tuple[str, FieldType], ...] | None:
    """The fields sorted by name; None without a table of them."""
    fields = table.table("fields", _FIELDS, None)
    if fields is None:
        return None
    if len(fields) > MOST_FIELDS:
        table.problem("fields", f"must be at most {MOST_FIELDS} fields, not {len(fields)}")
    read: list[tuple[str, FieldType]] = []
    for field in sorted(fields):
        problem = _problem_of_name(field)
        if problem is not None:
            fields.problem(field, problem)
        kind = fields.choice(field, _TYPES)
        if kind is not None:
            read.append((field, cast("FieldType", kind)))
    return tuple(read)


def _problem_of_name(field: str) -> str | None:
    if field in IDENTITY_FIELDS:
        return f"{shown(field)} is a field of every event: remove it; every event has {listed(IDENTITY_FIELDS)}"
    if "." in field:
        return "the name of a field must not have a dot: fields inside other fields cannot be read"
    if not is_name(field) or field != field.strip() or len(field) > LONGEST_NAME:
        return f"the name of a field must be printable, without blanks at its ends, and at most {LONGEST_NAME} long"
    return None


def _check_topics(tables: Table, topics: Sequence[tuple[str, str]]) -> None:
    """Record topics that the product uses itself, and names and topics that two sources have.

    `topics` has names of sources with their topics, without built-in sources whose topics are their names. Kafka takes
    `.` and `_` in names of topics for one character where it names metrics, and refuses such a pair.
    """
    own = {_in_metrics(topic) for topic in _OWN_TOPICS}
    taken: dict[str, str] = {}
    for name, topic in sorted(topics, key=lambda each: each[1] != each[0]):
        key = "fields" if topic == name and name not in BUILT_IN else "topic"
        table = tables.table(name, "", None)
        assert table is not None, "a table, as it has been read"
        if topic == name and name in BUILT_IN:
            continue
        if _in_metrics(topic) in own or topic.endswith((DLQ_SUFFIX, _CHANGELOG)) or topic.startswith("__"):
            table.problem(key, f"topic {shown(topic)} is used by the product or by Kafka itself: choose another topic")
        for spelling in dict.fromkeys((topic, name)):
            other = taken.setdefault(_in_metrics(spelling), name)
            if other != name:
                message = f"{shown(spelling)} is the name or the topic of source {shown(other)} too"
                table.problem(key, f"{message} (. and _ count as the same): choose another topic")


def _in_metrics(topic: str) -> str:
    return topic.replace(".", "_")

"""Input sources: their topics, their event types and the fields that a policy may name, as one value.

Owns `Source`, `Sources` and the built-in sources. A policy can add sources (`stream.policy.inputs.sources`), so whoever
needs the sources of a deployment gets a `Sources` as an argument. Knows nothing of decoding, policies or state.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal, cast, get_args, get_origin, get_type_hints

import msgspec

from schemas.events import (
    CONTROL_SOURCE,
    PROFILE_SOURCE,
    BillingEvent,
    ControlEvent,
    EngagementEvent,
    Event,
    Number,
    OtherEvent,
    ProfileEvent,
    SignalEvent,
    SurveyEvent,
    TicketEvent,
    UsageEvent,
)

INBOX: Final = "inbox"
"""The repartition topic as an input: an applied offset of each row is of it."""
PEERS_INPUT: Final = "peers"
"""The topic of peer tables as an input."""
INTERNAL_TOPICS: Final[Mapping[str, str]] = MappingProxyType({INBOX: "vitals-inbox", PEERS_INPUT: "vitals-peers"})
"""Topics that workers read beside the sources, by the name of the input."""
DLQ_SUFFIX: Final = ".dlq"

FieldType = Literal["number", "text", "flag"]
"""What a field of a source of a policy can be. A flag is true or false, which conditions read as text."""
IDENTITY_FIELDS: Final = ("id", "account_id", "time", "properties")
"""Fields of every event, which a source of a policy does not name."""
_FLAG_VALUES: Final = ("true", "false")
_TYPE_OF: Final[Mapping[str, Any]] = MappingProxyType({"number": Number, "text": str, "flag": bool})
_PLAIN_ATTRIBUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_MOST_TYPES: Final = 1000

PROFILE_FACTS: Final[tuple[str, ...]] = ("started_at", "renewal_at", "arr")
"""Fields of an account's profile that a measure may read."""


@dataclass(frozen=True)
class Source:
    """One input source: what it is called, its topic, the type of its events, and the fields that a policy may name.

    `texts` are what `where`, `of` and `weights` may name, and `flags` those of them that are true or false in records;
    `numbers` are what `field` may name. `has_count`: the field `count` is how many events a record stands for.
    """

    name: str
    topic: str
    event_type: type[Event]
    texts: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    has_count: bool = False

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        """What a record without a field, or with null in it, has: fields with a default other than null."""
        fields, defaults = self.event_type.__struct_fields__, self.event_type.__struct_defaults__
        by_field = zip(reversed(fields), reversed(defaults), strict=False)
        return MappingProxyType({field: default for field, default in by_field if isinstance(default, str | float)})

    @cached_property
    def closed(self) -> Mapping[str, tuple[str, ...]]:
        """Text fields that have no other values than those listed: a record with another one is refused."""
        hints = get_type_hints(self.event_type)
        closed = {field: values for field in self.texts if (values := _closed(hints.get(field)))}
        return MappingProxyType(closed | dict.fromkeys(self.flags, _FLAG_VALUES))


def _closed(hint: Any) -> tuple[str, ...]:
    """The values of a type that lists them, or that is such a type or None; empty for other types."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    return next((values for each in get_args(hint) if (values := _closed(each))), ())


@lru_cache(_MOST_TYPES)
def attribute_of(field: str) -> str:
    """The attribute of an event that has a field: a name in Python, whatever the field is called."""
    return field if _PLAIN_ATTRIBUTE.fullmatch(field) else "_" + field.encode().hex()


def source_of_fields(
    name: str, topic: str, fields: Iterable[tuple[str, FieldType]], required: Iterable[str] = ()
) -> Source:
    """A source whose events have these fields; the `required` ones are in every event, and others may be missing."""
    fields = tuple(fields)
    by_type: dict[str, tuple[str, ...]] = {
        kind: tuple(field for field, each in fields if each == kind) for kind in get_args(FieldType)
    }
    texts = tuple(field for field, kind in fields if kind != "number")
    event_type = _event_type(fields, frozenset(required))
    return Source(name, topic, event_type, texts=texts, numbers=by_type["number"], flags=by_type["flag"])


@lru_cache(_MOST_TYPES)
def _event_type(fields: tuple[tuple[str, FieldType], ...], required: frozenset[str]) -> type[Event]:
    """The type of events with these fields, one for equal fields, so that policies share its decoder."""
    first: list[tuple[str, Any]] = [(attribute_of(name), _TYPE_OF[kind]) for name, kind in fields if name in required]
    rest = [(attribute_of(name), _TYPE_OF[kind] | None, None) for name, kind in fields if name not in required]
    spelling = {attribute_of(name): name for name, _ in fields}
    made = msgspec.defstruct("OtherEvent", [*first, *rest], bases=(OtherEvent,), rename=spelling, gc=False)
    return cast("type[Event]", made)


@dataclass(frozen=True)
class Sources:
    """The input sources of a deployment. `measured` are those whose events feed measures.

    Their order breaks ties of record time. A name is that of policies, files, metrics and saved state; of a built-in
    source it is the topic's name too.
    """

    measured: tuple[Source, ...]
    profiles: Source
    prefix: str = ""
    """What the names of all topics begin with that the deployment names itself."""

    def own(self, name: str) -> str:
        """The topic of the deployment that is called `name` where there is no prefix, such as `health.scores`."""
        return self.prefix + name

    def letters_of(self, topic: str) -> str:
        """The topic of the dead letters of an input topic; it has the prefix, also where the policy names the input."""
        return (topic if topic.startswith(self.prefix) else self.own(topic)) + DLQ_SUFFIX

    @cached_property
    def of_letters(self) -> Mapping[str, str]:
        """The input topic of each topic of dead letters."""
        return {self.letters_of(source.topic): source.topic for source in self}

    def __iter__(self) -> Iterator[Source]:
        """All sources in their order."""
        return iter((*self.measured, self.profiles))

    def __getitem__(self, name: str) -> Source:
        """The source of a name."""
        return self._by_name[name]

    def get(self, name: str) -> Source | None:
        """The source of a name, if there is one."""
        return self._by_name.get(name)

    def __contains__(self, name: object) -> bool:
        """Whether there is a source of this name."""
        return name in self._by_name

    @cached_property
    def _by_name(self) -> Mapping[str, Source]:
        return {source.name: source for source in self}

    @cached_property
    def of_events(self) -> tuple[str, ...]:
        """Names of the sources whose events feed measures."""
        return tuple(source.name for source in self.measured)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all sources."""
        return tuple(source.name for source in self)

    @cached_property
    def of_rows(self) -> tuple[str, ...]:
        """Inputs with an applied offset in each row: the sources, then the repartition topic."""
        return (*self.names, INBOX)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Everything that a partition task reads: inputs with an applied offset in each row, then the peer tables."""
        return (*self.of_rows, PEERS_INPUT)

    @cached_property
    def index(self) -> Mapping[str, int]:
        """The place of each input in `inputs`."""
        return {name: index for index, name in enumerate(self.inputs)}

    @cached_property
    def topic_of(self) -> Mapping[str, str]:
        """The topic of each input."""
        internal = {name: self.own(topic) for name, topic in INTERNAL_TOPICS.items()}
        return {**{source.name: source.topic for source in self}, **internal}

    @cached_property
    def topics(self) -> tuple[str, ...]:
        """The topic of each input, in the order of `inputs`."""
        return tuple(self.topic_of[name] for name in self.inputs)

    @cached_property
    def input_of(self) -> Mapping[str, str]:
        """The input of each topic."""
        return {topic: name for name, topic in self.topic_of.items()}

    @cached_property
    def of_topics(self) -> Mapping[str, Source]:
        """The source of each topic that has events or profiles."""
        return {source.topic: source for source in self}

    @cached_property
    def spelled(self) -> Mapping[str, str]:
        """The name of each source by its name and by its topic: how files and cases say what an event is of."""
        return {**{source.topic: source.name for source in self}, **{source.name: source.name for source in self}}

    def extended(self, more: Iterable[Source]) -> Sources:
        """These sources, and then more of events; the same value where there is none."""
        more = tuple(more)
        return replace(self, measured=(*self.measured, *more)) if more else self

    def renamed(self, topics: Mapping[str, str]) -> Sources:
        """These sources with other topics, given by the names of the sources; the same value where there is none."""
        if not topics:
            return self
        measured = tuple(replace(source, topic=topics.get(source.name, source.topic)) for source in self.measured)
        profiles = replace(self.profiles, topic=topics.get(self.profiles.name, self.profiles.topic))
        return replace(self, measured=measured, profiles=profiles)

    def under(self, prefix: str) -> Sources:
        """These sources in a deployment whose topics have a prefix; a topic that the policy names stays as it is."""
        if not prefix:
            return self
        unnamed = {source.name: prefix + source.topic for source in self if source.topic == source.name}
        return replace(self.renamed(unnamed), prefix=prefix)

    @cached_property
    def renamed_topics(self) -> Mapping[str, str]:
        """The topics of built-in sources that have other ones than their names."""
        return {source.name: source.topic for source in self if source.name in BUILT_IN and source.topic != source.name}


class SourcesError(ValueError):
    """Policies that mean different sources by one name or topic."""


def united_sources(each: Iterable[Sources]) -> Sources:
    """The sources of several policies together. Raises `SourcesError`."""
    each = tuple(each)
    added = {source: None for sources in each for source in sources if source.name not in BUILT_IN}
    renamed = {source: None for sources in each for source in sources if source.name in sources.renamed_topics}
    by_spelling: dict[str, Source] = {}
    for source in (*added, *renamed):
        for spelling in (source.name, source.topic):
            if by_spelling.setdefault(spelling, source) != source:
                msg = f"the policies mean different sources by {spelling!r}: give both the same topic and fields"
                raise SourcesError(msg)
    topics = {source.name: source.topic for source in renamed}
    return BUILT_IN.renamed(topics).extended(sorted(added, key=lambda source: source.name))


_USAGE = Source(
    "product-usage",
    "product-usage",
    UsageEvent,
    texts=("user_id", "feature", "action"),
    numbers=("count", "duration_s"),
    has_count=True,
)
_TICKETS = Source(
    "support-tickets",
    "support-tickets",
    TicketEvent,
    texts=("ticket_id", "status", "priority", "kind"),
    numbers=("first_response_s", "resolution_s"),
)

BUILT_IN: Final = Sources(
    (
        _USAGE,
        _TICKETS,
        Source("surveys", "surveys", SurveyEvent, texts=("kind", "user_id"), numbers=("score",)),
        Source("billing", "billing", BillingEvent, texts=("kind", "currency"), numbers=("amount", "days_late")),
        Source("engagement", "engagement", EngagementEvent, texts=("kind", "user_id", "role")),
        Source(CONTROL_SOURCE, CONTROL_SOURCE, ControlEvent, texts=("kind", "by"), numbers=("value",)),
        Source("signals", "signals", SignalEvent, texts=("name",), numbers=("value",)),
    ),
    Source(PROFILE_SOURCE, PROFILE_SOURCE, ProfileEvent),
)
"""The sources that every deployment has, with the fields in the order of docs/reference/policy/measures.md."""

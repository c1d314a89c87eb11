"""The records of all inputs and outputs: topic, type, example, headers and what a record without a value means.

Owns which topics the catalog has: internal ones are not in it. Pure. Called by the writers of the three forms,
`schemas.catalog.json_schema`, `schemas.catalog.connect` and `schemas.catalog.asyncapi`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from msgspec import Struct

from schemas.catalog.examples import OUTPUT_EXAMPLES, input_example
from schemas.events import OtherEvent
from schemas.outputs import Alert, RollupMessage, ScoreChange, ScoreMessage, ScoreRow, ShadowMessage
from schemas.sources import DLQ_SUFFIX, Sources
from schemas.topics import (
    ALERTS,
    CHANGES,
    ERROR_HEADER,
    POSITION_HEADER,
    ROLLUPS,
    SCORE_ROWS,
    SCORES,
    SHADOW,
    Topic,
    all_topics,
)

ERROR_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        f"{ERROR_HEADER}reason": "Why the record could not be used.",
        f"{ERROR_HEADER}message": "The reason for a person, with the field.",
        f"{ERROR_HEADER}topic": "Topic of the record.",
        f"{ERROR_HEADER}partition": "Partition of the record.",
        f"{ERROR_HEADER}offset": "Offset of the record.",
        f"{ERROR_HEADER}time": "Time of the record, epoch milliseconds.",
    }
)
"""Headers of dead letters."""
OUTPUT_TYPES: Final[Mapping[str, type[Struct]]] = MappingProxyType(
    {
        SCORES: ScoreMessage,
        CHANGES: ScoreChange,
        ALERTS: Alert,
        SHADOW: ShadowMessage,
        ROLLUPS: RollupMessage,
        SCORE_ROWS.name: ScoreRow,
    }
)
_TOMBSTONES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "accounts": "The profile is deleted, and the account has ended.",
        SCORES: "The account is gone.",
        CHANGES: "The account was erased.",
        SHADOW: "The account is gone.",
        ROLLUPS: "The parent account has no children any more.",
        SCORE_ROWS.name: "The account was erased.",
    }
)
_HEADERS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {ALERTS: {POSITION_HEADER: "For workers: how far the worker was that published the alert."}}
)


class Record(NamedTuple):
    """The records of one topic. `tombstone` is what a record without a value means, empty if there is none."""

    topic: Topic
    kind: type[Struct]
    example: dict[str, Any]
    tombstone: str
    headers: Mapping[str, str]

    @property
    def title(self) -> str:
        """`HealthScoreChanges` of `health.score-changes`."""
        return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", self.topic.name))

    @property
    def type_name(self) -> str:
        """The name of the type of the values; sources that a policy adds have one each."""
        return self.title if issubclass(self.kind, OtherEvent) else self.kind.__name__

    @property
    def is_input(self) -> bool:
        """Whether others write the topic."""
        return self.topic.role == "input"


def records_of(sources: Sources) -> tuple[Record, ...]:
    """The records of every input and output of a deployment, inputs first."""
    topics = (*all_topics("", sources), SCORE_ROWS.under(sources.prefix))
    inputs = {source.topic: source for source in sources}
    kinds: dict[str, type[Struct]] = {topic: source.event_type for topic, source in inputs.items()}
    kinds |= {sources.own(name): kind for name, kind in OUTPUT_TYPES.items()}
    # What an output is called without the prefix, and the name of the source of an input.
    names = {sources.own(name): name for name in OUTPUT_TYPES} | {topic: each.name for topic, each in inputs.items()}
    return tuple(
        Record(
            topic,
            kinds[topic.name],
            input_example(inputs[topic.name]) if topic.name in inputs else OUTPUT_EXAMPLES[names[topic.name]],
            _TOMBSTONES.get(names[topic.name], ""),
            _HEADERS.get(names[topic.name], {}),
        )
        for topic in topics
        if topic.name in kinds
    )


def dead_letter_topics(sources: Sources) -> list[str]:
    """The topics whose records can become dead letters."""
    return [topic.name.removesuffix(DLQ_SUFFIX) for topic in all_topics("", sources) if topic.role == "dead letters"]

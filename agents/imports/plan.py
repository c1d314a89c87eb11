"""What an import sends: counts by source, times, and what it leaves out.

Owns these figures, which are saved with the import and printed before anything is sent. Must not know files, SQLite and
Kafka. Called by `agents.imports.reading`, `agents.imports.spool` and `vitals import`.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from schemas.sources import Sources


class SourcePlan(Struct):
    """The events of one source: how many, how many of them delete a profile, and their first and last time (epoch ms).

    `expired` are older than the topic keeps records; None: not known, since nobody asked the broker.
    """

    source: str
    topic: str
    events: int = 0
    deletions: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    expired: int | None = None


class Plan(Struct):
    """What is in the files: records, events of each source, and records that give none by rule or reason.

    `incomplete` are profiles that are sent, and of which workers leave out fields.
    """

    records: int = 0
    sources: dict[str, SourcePlan] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    incomplete: int = 0

    @property
    def events(self) -> int:
        """How many events are sent."""
        return sum(each.events for each in self.sources.values())

    def count(self, source: str, time_ms: int, *, deletes: bool, oldest: Oldest) -> None:
        """Count an event."""
        each = self.sources[source]
        each.events += 1
        each.deletions += deletes
        each.first_ms = time_ms if each.first_ms is None else min(each.first_ms, time_ms)
        each.last_ms = time_ms if each.last_ms is None else max(each.last_ms, time_ms)
        if source in oldest:
            each.expired = (each.expired or 0) + (time_ms < oldest[source])


Oldest = Mapping[str, int]
"""The oldest time (epoch ms) of a record that the topic of a source keeps, where that is known."""


def empty_plan(sources: Sources) -> Plan:
    """A plan of no file."""
    return Plan(sources={source.name: SourcePlan(source.name, source.topic) for source in sources})

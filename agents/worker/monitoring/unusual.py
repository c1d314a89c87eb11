"""Input records that are not as documented and count all the same: other forms, and fields that nobody reads.

Owns the counts and which records are looked at. Unknown fields are looked for in one record a second and topic: a
decoder that looks at every field of every record would cost more than the event itself. Called by
`agents.worker.tasks.processor`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec
import structlog

from agents.worker.monitoring.metrics import Telemetry
from schemas.events import ProfileEvent
from schemas.sources import INBOX, PEERS_INPUT, Sources
from stream.ingest.merge import Fetch
from stream.mapping.values import kinds

log = structlog.get_logger()

LOOK_EVERY_S = 1.0
MOST_NAMES = 50
"""Names of unknown fields of a topic that are counted by name; all others are counted as `other`."""
LONGEST_NAME = 60
OTHER = "other"
_ALIKE = 0.8
_KNOWN_EVERYWHERE = {"properties", "topic"}
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class UnusualRecords:
    """What a worker notices about the form of its input."""

    def __init__(self, sources: Sources, telemetry: Telemetry, clock: Callable[[], float] = time.monotonic) -> None:
        """Look at nothing yet; `clock` gives seconds."""
        self._sources, self._telemetry, self._clock = sources, telemetry, clock
        self._looked_at: dict[str, float] = {}
        self._names: dict[str, set[str]] = {}

    def note(self, fetch: Fetch, records: Sequence[Any]) -> None:
        """Count the forms of fetched records, and look at one of them if its topic was not looked at just now."""
        for batch in fetch.batches:
            for form, count in batch.forms.items():
                self._telemetry.recognised.labels(self._sources[batch.source].topic, form).inc(count)
        name = self._sources.inputs[fetch.source_index]
        # Forwarded records have been looked at where they came from, and any field of a profile is an attribute.
        if name in {INBOX, PEERS_INPUT} or self._sources[name].event_type is ProfileEvent or not records:
            return
        now = self._clock()
        if now - self._looked_at.get(name, float("-inf")) >= LOOK_EVERY_S and not fetch.batches[0].forms:
            self._looked_at[name] = now
            self._look(name, records[-1].value)

    def _look(self, name: str, value: bytes | None) -> None:
        try:
            fields: Mapping[str, object] = _FIELDS.decode(value or b"{}")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return  # it is a dead letter, which has its own count
        source = self._sources[name]
        known = kinds(source.event_type)
        for unknown in sorted(fields.keys() - known.keys() - _KNOWN_EVERYWHERE):
            self._count(source.topic, unknown[:LONGEST_NAME], list(known))

    def _count(self, topic: str, field: str, known: list[str]) -> None:
        names = self._names.setdefault(topic, set())
        if field not in names:
            if len(names) == MOST_NAMES:
                field = OTHER
            else:
                names.add(field)
                alike = looks_like(field, known)
                if alike is None:
                    log.info("unknown_field", topic=topic, field=field)
                else:
                    log.warning("unknown_field", topic=topic, field=field, looks_like=alike)
        self._telemetry.unknown_fields.labels(topic, field).inc()


def looks_like(field: str, known: list[str]) -> str | None:
    """The known field that a name is a spelling of, such as `userId` of `user_id`."""
    spellings = {_plain(name): name for name in known}
    close = get_close_matches(_plain(field), spellings, 1, _ALIKE)
    return spellings[close[0]] if close else None


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())

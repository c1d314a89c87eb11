"""Measures what a mapping costs: the CPU time of foreign records on their way to scores, beside that of native ones.

Owns the method: one process without a broker decodes and applies the same events twice, as JSON of the product's own
form, and wrapped as another system would send them, which the mapper's code maps first. Time is that of the CPU, the
lowest of some passes in turn, so that other programs matter less. Must not know how rules are applied. Called by
`__main__`.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec

from agents.demo.company import Company
from agents.kafka.source_records import read
from agents.mapper.records import checked, draft_of, polled_drafts
from schemas.sources import BUILT_IN
from stream.engine.engine import Engine, Mode
from stream.ingest.merge import Merge
from stream.mapping.apply import BoundMapping
from stream.mapping.reading import parse_mapping
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

POLICY = Path(__file__).parents[2] / "deploy" / "policies" / "template.toml"
TARGET = 0.4
END_MS = 1_767_225_600_000
_SOURCE = "product-usage"
_FETCH = 2_000
_POLL = 500
_PASSES = 5
_MAPPING = """
[[map]]
name = "use"
when = "type == 'use'"
to = "product-usage"
[map.fields]
id = "uuid"
account_id = "company.id"
time = { path = "sent_at", unit = "ms" }
user_id = "user.id"
feature = "properties.feature"
action = { path = "properties.verb", lookup = { used = "used", viewed = "viewed" }, default = "used" }
"""


@dataclass(frozen=True)
class MappingRun:
    """Events per second of CPU time: decoded and scored as they are, mapped, and mapped and then scored."""

    events: int
    native: float
    mapped: float
    both: float

    @property
    def share(self) -> float:
        """Speed of the path with a mapping, as a share of the path without."""
        return self.both / self.native


def measure_mapping(tell: Callable[[str], None], events: int = 60_000) -> MappingRun:
    """Measure `events` events of the demo's company."""
    tell("mapping")
    native = list(islice(_native(), events))
    foreign = [_foreign(record) for record in native]
    mapping = parse_mapping(_MAPPING, "bench.toml")
    native_s = mapped_s = scored_s = math.inf
    for _ in range(_PASSES):
        native_s = min(native_s, _scored(native))
        written, seconds = _mapped(foreign, BoundMapping(mapping, BUILT_IN))
        assert len(written) == len(native)
        mapped_s, scored_s = min(mapped_s, seconds), min(scored_s, _scored(written))
    count = len(native)
    return MappingRun(count, count / native_s, count / mapped_s, count / (mapped_s + scored_s))


def _mapped(records: Sequence[_Record], mapping: BoundMapping) -> tuple[list[_Record], float]:
    """The records that the mapper writes for records that come in polls, and CPU seconds to map these."""
    written: list[_Record] = []
    elapsed = 0.0
    for first in range(0, len(records), _POLL):
        polled = records[first : first + _POLL]
        started = time.process_time()
        drafts = zip(polled, polled_drafts(polled, mapping), strict=True)
        outcomes = checked([draft or draft_of(record, mapping) for record, draft in drafts], mapping)
        elapsed += time.process_time() - started
        events_of = zip(polled, outcomes, strict=True)
        written += [record._replace_value(event.value) for record, outcome in events_of for event in outcome.events]
    return written, elapsed


class _Record(SimpleNamespace):
    """What a consumer gives."""

    def _replace_value(self, value: bytes | None) -> _Record:
        return _Record(**{**vars(self), "value": value})


def _native() -> Iterable[_Record]:
    company = Company(500, 120, 7, end_ms=END_MS)
    used = (each for each in company if each[0] == _SOURCE)
    for offset, (topic, account, time_ms, value) in enumerate(used):
        key = account.encode()
        yield _Record(topic=topic, partition=0, offset=offset, timestamp=time_ms, key=key, value=value, headers=[])


def _foreign(record: _Record) -> _Record:
    """The record as an analytics tool would send it."""
    event: dict[str, Any] = msgspec.json.decode(record.value)
    value = {
        "type": "use",
        "uuid": event["id"],
        "company": {"id": event["account_id"], "plan": "scale"},
        "user": {"id": event.get("user_id")},
        "sent_at": event["time"],
        "properties": {"feature": event.get("feature"), "verb": event.get("action") or "used", "screen": "1280x800"},
        "context": {"library": {"name": "analytics", "version": "4.1"}, "locale": "de-DE"},
    }
    return record._replace_value(msgspec.json.encode(value))


def _scored(records: Sequence[_Record]) -> float:
    """CPU seconds to decode records in fetches and apply them, as a worker does that catches up."""
    engine = Engine(compile_plan(parse_policy(POLICY.read_text(encoding="utf-8"), "policy.toml")))
    merge = Merge(BUILT_IN)
    started = time.process_time()
    for first in range(0, len(records), _FETCH):
        fetched: list[Any] = list(records[first : first + _FETCH])
        merge.add(read(BUILT_IN, _SOURCE, fetched, fetched[-1].offset + 1, {}))
        engine.step(merge.release(lambda _source: False), Mode.CONFLATED, END_MS)
    elapsed = time.process_time() - started
    assert engine.as_of is not None
    return elapsed

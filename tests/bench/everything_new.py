"""Measures what the newer features of the language cost: CPU time of events under three policies.

Owns the method: one process without a broker decodes and applies the same events of five topics under each policy, as a
worker does that catches up, then scores all accounts. Time is that of the CPU, so that other programs matter less. Must
not know how rules are applied. Called by `__main__`.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import msgspec

from agents.demo.company import Company
from agents.kafka.source_records import read
from stream.engine.engine import Engine, Mode
from stream.ingest.merge import Merge
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stream.ingest.batch import Batch
    from stream.plan.plan import Plan

_FOLDER = Path(__file__).parent
POLICIES = {
    "template": _FOLDER.parents[1] / "deploy" / "policies" / "template.toml",
    "everything": _FOLDER / "everything.toml",
    "everything_new": _FOLDER / "everything_new.toml",
}
END_MS = 1_767_225_600_000
_USAGE = "product-usage"
_PLANS = ("free", "pro", "team")
_SCREENS = 8
_DAYS = 120
_FETCH = 2_000


@dataclass(frozen=True)
class PolicyRun:
    """A policy: events a second of CPU time, and microseconds of it to score an account once."""

    name: str
    events: int
    accounts: int
    events_per_s: float
    score_us: float


def measure_everything_new(tell: Callable[[str], None], events: int = 60_000, accounts: int = 100) -> list[PolicyRun]:
    """Measure each policy over `events` events."""
    records = records_of(events, accounts)
    runs = []
    for name, path in POLICIES.items():
        tell(f"policy {name}")
        text = path.read_text(encoding="utf-8")
        apply(text, records[:_FETCH])
        engine, apply_s = apply(text, records)
        started = time.process_time()
        count = len(engine.current().scores)
        score_s = time.process_time() - started
        runs.append(PolicyRun(name, len(records), count, len(records) / apply_s, 1e6 * score_s / count))
    return runs


def records_of(events: int, accounts: int) -> list[SimpleNamespace]:
    """The first events of the demo's company as a consumer gives them, those of usage with properties."""
    offsets = Counter[str]()
    records = []
    company = Company(accounts, _DAYS, 7, end_ms=END_MS)
    for number, (topic, account, time_ms, value) in enumerate(islice(company, events)):
        sent = _with_properties(value, number) if topic == _USAGE else value
        offset = offsets[topic]
        records.append(
            SimpleNamespace(topic=topic, offset=offset, timestamp=time_ms, key=account.encode(), value=sent, headers=[])
        )
        offsets[topic] += 1
    return records


def _with_properties(value: bytes, number: int) -> bytes:
    event = msgspec.json.decode(value)
    screen = f"screen-{number % _SCREENS}"
    properties = {"seats_used": number % 50, "plan": _PLANS[number % len(_PLANS)], "screen": screen}
    return msgspec.json.encode({**event, "properties": properties})


def apply(policy: str, records: Sequence[SimpleNamespace]) -> tuple[Engine, float]:
    """The engine after all records, and the CPU seconds to decode and apply them."""
    plan = compile_plan(parse_policy(policy, "policy.toml"))
    engine = Engine(plan)
    started = time.process_time()
    for first in range(0, len(records), _FETCH):
        engine.step(_batches(plan, records[first : first + _FETCH]), Mode.CONFLATED, END_MS)
    return engine, time.process_time() - started


def _batches(plan: Plan, records: Sequence[SimpleNamespace]) -> list[Batch]:
    """What a worker makes of records that it fetched from one partition of each topic."""
    by_topic: dict[str, list[SimpleNamespace]] = {}
    for record in records:
        by_topic.setdefault(record.topic, []).append(record)
    merge = Merge(plan.sources)
    for topic, fetched in by_topic.items():
        merge.add(read(plan.sources, topic, fetched, fetched[-1].offset + 1, plan.properties))
    return merge.release(lambda _source: False)

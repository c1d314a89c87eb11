"""Gauges of sources and accounts: the label of a source is its topic, and accounts without a score are in no band."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import cast

from agents.worker.monitoring.gauges import measure
from agents.worker.monitoring.metrics import Telemetry
from agents.worker.tasks.processor import Processor
from stream.engine.engine import Engine
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy
from tests.driving.engine import Drive
from tests.oracle.events import Record
from tests.strategies.policies import NOW_MS

POLICY = """
name = "live"
[sources.visits]
topic = "field.visits"
fields = {}
stall_after = "1d"
[measures.visits]
source = "visits"
stat = "count"
window = "7d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }
weight = 1
[scores.health]
min_change = 1
bands = [{ name = "all", from = 0 }]
"""


def test_the_label_of_a_source_is_its_topic() -> None:
    plan = compile_plan(parse_policy(POLICY))
    engine, telemetry = Engine(plan, partition=0), Telemetry(plan.sources)
    engine.settled.update({("visits", "applied"): 3, ("removed", "applied"): 2, ("billing", "late"): 1})
    engine.time.observe("visits", 1_772_000_000_000)
    task = SimpleNamespace(engine=engine, pair=SimpleNamespace(shadow=None), partition=0)
    processor = SimpleNamespace(with_engine=lambda: [task], lag=lambda _task: {"field.visits": 4}, plan=plan)
    measure(cast("Processor", processor), telemetry)
    shown = {
        (sample.name, sample.labels.get("topic")): sample.value
        for metric in telemetry.registry.collect()
        for sample in metric.samples
        if sample.name in {"vitals_events_settled", "vitals_watermark_timestamp_seconds", "vitals_lag_records"}
    }
    assert shown == {
        ("vitals_events_settled", "field.visits"): 3,
        ("vitals_events_settled", "removed"): 2,
        ("vitals_events_settled", "billing"): 1,
        ("vitals_watermark_timestamp_seconds", "field.visits"): 1_772_000_000,
        ("vitals_lag_records", "field.visits"): 4,
    }
    topics = {labels["topic"] for labels in labels_of(telemetry, "vitals_dead_letters_total")}
    assert "field.visits" in topics
    assert "visits" not in topics


def test_an_account_without_a_score_is_counted_by_status_and_in_no_band() -> None:
    plan = compile_plan(parse_policy(POLICY))
    drive, telemetry = Drive(Engine(plan, partition=0)), Telemetry(plan.sources)
    events = [("acme", "visits", {}), ("birch", "visits", {}), ("birch", "billing", {"kind": "cancelled"})]
    for number, (account, source, fields) in enumerate(events):
        event = {"id": str(number), "account_id": account, "time": NOW_MS + number, **fields}
        drive.take([Record(source, 0, number, NOW_MS, account.encode(), json.dumps(event).encode())])
    drive.flush()
    task = SimpleNamespace(engine=drive.engine, pair=SimpleNamespace(shadow=None), partition=0)
    processor = SimpleNamespace(with_engine=lambda: [task], lag=lambda _task: {}, plan=plan)
    measure(cast("Processor", processor), telemetry)
    shown = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in telemetry.registry.collect()
        for sample in metric.samples
        if sample.name in {"vitals_accounts", "vitals_account_states"}
    }
    assert shown == {
        ("vitals_accounts", "health", "all"): 1,
        ("vitals_account_states", "active"): 1,
        ("vitals_account_states", "new"): 0,
        ("vitals_account_states", "no-data"): 0,
        ("vitals_account_states", "ended"): 1,
    }


def labels_of(telemetry: Telemetry, name: str) -> list[dict[str, str]]:
    samples = (sample for metric in telemetry.registry.collect() for sample in metric.samples)
    return [sample.labels for sample in samples if sample.name == name]

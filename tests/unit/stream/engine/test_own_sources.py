"""What becomes of the state when a policy changes the sources that it adds, and what the state calls them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stream.engine.engine import Engine
from stream.recovery import changelog
from tests.driving.engine import Drive, plan_of, scores_of
from tests.oracle.events import Record

DAY_MS = 86_400_000
START_MS = 1_725_148_800_000
USES = """
name = "uses"
[measures.uses]
source = "product-usage"
stat = "count"
window = "20d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }
weight = 1
[scores.health]
min_change = 0
bands = [{ name = "all", from = 0 }]
"""
SOURCE = """
[sources.visits]
topic = "field.visits"
fields = { minutes = "number", length = "text" }
stall_after = "10d"
"""
MINUTES = """
[measures.minutes]
source = "visits"
stat = "sum"
field = "minutes"
window = "20d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }
weight = 1
"""
LONG = MINUTES.replace("minutes]", "long]").replace('"sum"', '"count"').replace('field = "minutes"\n', "")
LONG += 'where = { length = ["long"] }\n'
OTHER_TYPE = SOURCE.replace('length = "text"', 'length = "number"')
LENGTH = MINUTES.replace("minutes]", "length]").replace('"minutes"', '"length"')


def visit(offset: int, day: int, event_id: str | None = None, **fields: Any) -> Record:
    time_ms = START_MS + day * DAY_MS
    event = {"id": event_id or f"v{offset}", "account_id": "acme", "time": time_ms, **fields}
    return Record("visits", 0, offset, time_ms, b"acme", json.dumps(event).encode())


def continued(policy: str, drive: Drive) -> Drive:
    """An engine of another policy with the state that is saved now."""
    drive.save()
    engine = Engine(plan_of(policy))
    changelog.restore(engine, drive.topic)
    return Drive(engine, topic=dict(drive.topic))


def value_of(drive: Drive, measure: str) -> float | None:
    (value,) = [factor[1] for factor in scores_of(drive.engine)["acme"].factors if factor[0] == measure]
    return value


def test_a_source_that_is_removed_leaves_its_offset_its_ids_and_its_events_in_revision() -> None:
    drive = Drive(Engine(plan_of(USES + SOURCE + MINUTES)))
    drive.take([visit(0, 0, minutes=30), visit(1, 1, minutes=12)])
    assert value_of(drive, "minutes") == 42
    drive.flush()
    before = drive.scores[-1].revision
    without = continued(USES, drive)
    assert without.engine.other_positions == {"visits": 2}
    without.take([Record("product-usage", 0, 0, START_MS + 2 * DAY_MS, b"acme", usage(2))])
    without.flush()
    assert without.scores[-1].revision > before
    again = continued(USES + SOURCE + MINUTES, without)
    assert again.engine.position["visits"] == 2
    again.take([visit(2, 3, "v0", minutes=30), visit(3, 3, minutes=5)])
    assert value_of(again, "minutes") == 5
    assert again.engine.history.incomplete


def usage(day: int) -> bytes:
    return json.dumps({"id": f"u{day}", "account_id": "acme", "time": START_MS + day * DAY_MS}).encode()


@pytest.mark.parametrize(
    ("fields", "added", "value", "expected"),
    [(SOURCE, LONG, "long", 1), (OTHER_TYPE, LENGTH, "length", 7)],
    ids=["a field is added", "a type is changed"],
)
def test_later_events_are_read_with_other_fields(fields: str, added: str, value: Any, expected: int) -> None:
    """The measure of the field has none of the events before, and is known not to be complete."""
    had = SOURCE.replace(', length = "text"', "") if fields == SOURCE else SOURCE
    drive = Drive(Engine(plan_of(USES + had + MINUTES)))
    value = 7 if fields == OTHER_TYPE else value
    drive.take([visit(0, 0, minutes=30, length="long")])
    later = continued(USES + fields + MINUTES + added, drive)
    later.take([visit(1, 1, minutes=12, length=value)])
    measure = "length" if fields == OTHER_TYPE else "long"
    assert (value_of(later, measure), value_of(later, "minutes")) == (expected, 42)
    assert [name for name, _ in later.engine.history.incomplete] == [measure]


@pytest.mark.parametrize("turned", [False, True])
def test_a_flag_that_becomes_a_text_goes_on_as_the_same_text(turned: bool) -> None:
    texts, flags = USES + SOURCE + MINUTES, USES + SOURCE.replace('length = "text"', 'length = "flag"') + MINUTES
    measure = LONG.replace('"long"', '"true"')
    first, then = (texts, flags) if turned else (flags, texts)
    drive = Drive(Engine(plan_of(first + measure)))
    drive.take([visit(0, 0, minutes=30, length="true" if turned else True)])
    later = continued(then + measure, drive)
    later.take([visit(1, 1, minutes=12, length=True if turned else "true")])
    assert (value_of(later, "long"), later.engine.history.incomplete) == (2, ())


def test_state_and_alerts_have_the_name_of_the_source() -> None:
    drive = Drive(Engine(plan_of(USES + SOURCE + MINUTES)))
    drive.take([visit(0, 0, minutes=30)])
    drive.take([Record("product-usage", 0, 0, START_MS + 12 * DAY_MS, b"acme", usage(12))])
    drive.save()
    assert [alert.rule for alert in drive.alerts] == ["stalled:visits"]
    assert drive.engine.position["visits"] == 1
    assert not any(b"field.visits" in value for value in drive.topic.values())

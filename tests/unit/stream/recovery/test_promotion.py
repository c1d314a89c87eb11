"""What a promoted engine takes over from the previous one, where the two have not seen the same events."""

from __future__ import annotations

import pytest

from stream.engine.engine import Engine
from stream.recovery import changelog
from stream.recovery.promotion import take_over
from tests.driving.alert_histories import DAY, START, Scenario
from tests.driving.engine import Drive, plan_of
from tests.driving.scores import messages_of
from tests.oracle import engine as oracle

POLICY = """
name = "time-to-value"
[measures.usage]
source = "product-usage"
stat = "count"
window = "365d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 1
[measures.first_training]
source = "engagement"
stat = "days_to_first"
where = { kind = ["training"] }
normalise = { kind = "linear", zero_at = 40, hundred_at = 0 }
weight = 1
missing = "zero"
[scores.health]
min_change = 1
bands = [{ name = "good", from = 60 }, { name = "poor", from = 0 }]
"""


@pytest.mark.parametrize("restarts", [False, True])
def test_days_to_first_follows_the_first_event_that_only_the_previous_engine_has(restarts: bool) -> None:
    """The candidate saw the account's first event only later: its windows were over, or it began later."""
    scenario, plan = Scenario(""), plan_of(POLICY)
    early = [scenario.record(0.5)]
    later = [scenario.record(20.5), scenario.record(20.6, "engagement", kind="training")]
    previous, engine, whole = (Drive(Engine(plan)) for _ in range(3))
    for drive, records in ((previous, early), (whole, early), (previous, later), (engine, later), (whole, later)):
        drive.take(records)
    assert days(engine.engine) == 0
    take_over(engine.engine, previous.engine)
    if restarts:
        engine.save()
        engine.engine = Engine(plan)
        changelog.restore(engine.engine, engine.topic)
    assert days(engine.engine) == days(whole.engine) == 20
    expected = oracle.final_scores([*early, *later], POLICY, START + 21 * DAY)["acme"]
    assert {measure: value for measure, value, *_ in expected.factors} == {"usage": 2, "first_training": 20}


def days(engine: Engine) -> float | None:
    factors = messages_of(engine)["acme"]["scores"]["health"]["factors"]
    (value,) = (factor.get("value") for factor in factors if factor["measure"] == "first_training")
    return None if value is None else float(value)

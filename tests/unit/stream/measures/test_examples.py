"""The examples in the docstrings of statistics, comparisons and lifecycles give what they say.

An example computes one measure by a real engine: `value_of` takes the measure as a policy writes it, and events.
"""

from __future__ import annotations

import doctest
import importlib
import json
import math
import pkgutil
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

import stream.measures
from schemas.codecs import decode, instant_ms
from schemas.sources import BUILT_IN
from stream.accounts import alert_lifecycle
from stream.columns import panes
from stream.engine.engine import Engine, Mode
from stream.ingest.batch import Batch
from stream.measures import STATS, comparison
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy

NOON_MS = instant_ms(datetime(2026, 3, 28, 12, tzinfo=UTC))
DAY_MS = 86_400_000
REQUIRED: dict[str, dict[str, Any]] = {
    "product-usage": {"user_id": "ann"},
    "support-tickets": {"ticket_id": "T1", "status": "opened"},
    "surveys": {"kind": "nps"},
    "billing": {"kind": "invoice_paid"},
    "accounts": {},
}
POLICY = """
name = "example"
measures.example = {{ {measure} }}
measures.clock = {{ source = "controls", stat = "count", window = "1d" }}
[scores.health]
model = "additive"
impacts = {{ example = 1, clock = 1 }}
min_change = 1
bands = [{{ name = "any", from = 0 }}]
"""


def days_ago(days: float, **fields: object) -> dict[str, Any]:
    return {"time": NOON_MS - int(days * DAY_MS), **fields}


def profile(**fields: object) -> dict[str, Any]:
    return {"time": NOON_MS - DAY_MS, **fields}


def value_of(measure: str, *events: dict[str, Any]) -> float:
    """The value of a measure for one account, on 2026-03-28 at noon UTC."""
    plan = compile_plan(parse_policy(POLICY.format(measure=measure)))
    source = plan.measures[0].measure.source
    engine = Engine(plan)
    # A pulse at noon moves the time of the score there, whatever the events are.
    feed(engine, "controls", [{"time": NOON_MS, "kind": "pulse", "by": "ann", "value": 1}])
    feed(engine, source, [REQUIRED[source] | event for event in events])
    return float(engine.score(engine.accounts.alive()).values[0, 0])


def feed(engine: Engine, source: str, events: list[dict[str, Any]]) -> None:
    if not events:
        return
    values = [json.dumps({"id": str(number), "account_id": "acme", **event}) for number, event in enumerate(events)]
    decoded = decode(BUILT_IN[source], [value.encode() for value in values])
    assert not decoded.rejects
    offsets = np.arange(len(events), dtype=np.int64)
    times = np.full(len(events), NOON_MS, dtype=np.int64)
    engine.step([Batch(source, offsets, times, decoded.events, len(events))], Mode.HEAD, None)


MODULES = [module.name for module in pkgutil.iter_modules(stream.measures.__path__)]
WITHOUT_EXAMPLES = {"base", "own"}
"""`own` is for statistics of other packages, whose contract has examples."""


@pytest.mark.parametrize("name", sorted({*MODULES} - WITHOUT_EXAMPLES))
def test_examples_of_a_statistic_give_what_they_say(name: str) -> None:
    module = importlib.import_module(f"stream.measures.{name}")
    assert module.__doc__ is not None
    names = {"value_of": value_of, "days_ago": days_ago, "profile": profile}
    result = doctest.testmod(module, extraglobs=names)
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize("module", [alert_lifecycle, comparison, panes])
def test_examples_of_functions_give_what_they_say(module: Any) -> None:
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def test_every_statistic_is_described_by_its_module() -> None:
    described = {name: importlib.import_module(type(stat).__module__).__doc__ or "" for name, stat in STATS.items()}
    assert {name for name, text in described.items() if f"`{name}`" not in text or "Formula:" not in text} == set()


def test_an_example_that_is_wrong_is_noticed() -> None:
    assert math.isnan(value_of('source = "surveys", stat = "mean", field = "score", window = "9d"'))
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(verbose=False)
    wrong = '>>> value_of(\'source = "product-usage", stat = "count", window = "7d"\', days_ago(0))\n2.0\n'
    example = parser.get_doctest(wrong, {"value_of": value_of, "days_ago": days_ago}, "wrong", None, None)
    assert runner.run(example, out=lambda _text: None).failed == 1

"""Bands are held from border to border, also across the moment at which catching up ends."""

from __future__ import annotations

import json

import numpy as np

from schemas.codecs import decode
from stream.engine.engine import Engine, Mode
from stream.ingest.batch import Batch
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy

DAY = 86_400_000
MIDNIGHT = 20_000 * DAY
POLICY = """
name = "p"
[measures.usage]
source = "product-usage"
stat = "count"
field = "count"
window = "1d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }
weight = 1
[scores.health]
min_change = 1
bands = [{ name = "good", from = 70, leave = 10 }, { name = "poor", from = 0 }]
"""


def take(engine: Engine, offset: int, time: int, count: int, mode: Mode) -> None:
    event = {"id": str(offset), "account_id": "a", "time": time, "count": count}
    decoded = decode("product-usage", [json.dumps(event).encode()])
    places = np.array([offset], dtype=np.int64)
    engine.step([Batch("product-usage", places, np.array([time]), decoded.events, offset + 1)], mode, None)


def test_a_boundary_at_the_moment_of_arrival_is_held_to_once_it_has_passed() -> None:
    # 72 at midnight is good; 20 at the next midnight is not below 10: still good. Without the first border it is poor.
    engine = Engine(compile_plan(parse_policy(POLICY)))
    take(engine, 0, MIDNIGHT, 72, Mode.CONFLATED)
    engine.flush(Mode.CONFLATED)
    engine.caught_up()
    take(engine, 1, MIDNIGHT + DAY, 20, Mode.HEAD)
    take(engine, 2, MIDNIGHT + DAY + 1, 1, Mode.HEAD)
    scored = engine.score(engine.accounts.alive())
    assert (scored.scores[0].values.tolist(), scored.scores[0].bands.tolist()) == ([21.0], [1])

"""Sticky bands move from window boundary to window boundary, also across the end of catching up."""

from __future__ import annotations

import json

import numpy as np
import pytest

from schemas.codecs import decode
from schemas.sources import BUILT_IN
from stream.engine.engine import Engine, Mode
from stream.ingest.batch import Batch
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy
from stream.scoring.hysteresis import NOT_DUE, StickyBands, on_boundary, shown
from stream.scoring.scoring import NO_BAND, score_values

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


def step(engine: Engine, offset: int, time: int, count: int, mode: Mode) -> None:
    event = {"id": str(offset), "account_id": "a", "time": time, "count": count}
    decoded = decode(BUILT_IN["product-usage"], [json.dumps(event).encode()])
    offsets = np.array([offset], dtype=np.int64)
    engine.step([Batch("product-usage", offsets, np.array([time]), decoded.events, offset + 1)], mode, None)


def test_a_band_at_the_boundary_where_catching_up_ends_is_sticky_after_it() -> None:
    # 72 at midnight is good; 20 at the next is not below 10: still good. Without the first boundary it is poor.
    engine = Engine(compile_plan(parse_policy(POLICY)))
    step(engine, 0, MIDNIGHT, 72, Mode.CONFLATED)
    engine.flush(Mode.CONFLATED)
    engine.caught_up()
    step(engine, 1, MIDNIGHT + DAY, 20, Mode.HEAD)
    step(engine, 2, MIDNIGHT + DAY + 1, 1, Mode.HEAD)
    scored = engine.score(engine.accounts.alive())
    assert (scored.scores[0].values.tolist(), scored.scores[0].bands.tolist()) == ([21.0], [1])


# The states of a sticky band, as (sticky band, due since): new, steady, leaving. `dwell` is 2 days, bands are 0, 1, 2.
DWELL = POLICY.replace("leave = 10 }", 'leave = 10 }, { name = "fair", from = 40 }').replace(
    "min_change = 1", 'min_change = 1\ndwell = "2d"'
)
NEW = (NO_BAND, NOT_DUE)
NOW = MIDNIGHT + 5 * DAY


@pytest.mark.parametrize(
    ("before", "due", "after"),
    [
        pytest.param(NEW, 1, (1, NOT_DUE), id="new takes the band that is due"),
        pytest.param((1, NOT_DUE), 1, (1, NOT_DUE), id="steady stays"),
        pytest.param((1, NOT_DUE), 2, (1, NOW), id="steady starts to leave"),
        pytest.param((1, NOW - DAY), 2, (1, NOW - DAY), id="leaving waits for dwell"),
        pytest.param((1, NOW - DAY), 1, (1, NOT_DUE), id="leaving is steady again"),
        pytest.param((1, NOW - DAY), 0, (1, NOW - DAY), id="leaving to another band goes on waiting"),
        pytest.param((1, NOW - 2 * DAY), 0, (0, NOT_DUE), id="leaving takes the band that is due after dwell"),
    ],
)
def test_every_state_of_a_sticky_band_moves_as_its_table_says(
    before: tuple[int, int], due: int, after: tuple[int, int]
) -> None:
    plan = compile_plan(parse_policy(DWELL))
    sticky = StickyBands(np.array([[before[0]]], dtype=np.int8), np.array([[before[1]]], dtype=np.int64))
    scored = score_values(plan, np.array([[0.0]]))
    scored = scored._replace(scores=(scored.scores[0]._replace(bands=np.array([due], dtype=np.int8)),))
    changed = on_boundary(plan, scored, sticky, NOW)
    assert (int(sticky.bands[0, 0]), int(sticky.due_since[0, 0])) == after
    assert changed.tolist() == [before != after]
    assert shown(plan, scored, sticky.bands).scores[0].bands.tolist() == [after[0]]

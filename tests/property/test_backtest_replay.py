"""A score at a cutoff comes from what is not after it, and is the score an engine has that knows no more than that."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from agents.backtest.replay import Grid, TooShortError, Track, lay_out, replay
from agents.backtest.score_reader import look, select_score
from agents.files.replay import TimedEvent, batches_of
from schemas.codecs import decode, times_ms
from stream.engine.engine import Engine, Mode
from stream.plan.plan import Plan
from tests.driving.engine import plan_of
from tests.strategies.events import ACCOUNTS, DAY_MS, NOW_MS, SOURCES, events, profiles
from tests.strategies.policies import policies

SPAN_MS = 12 * DAY_MS


@st.composite
def histories(draw: DrawFn) -> list[TimedEvent]:
    """Events and profiles of a few accounts in order of time, some ids twice."""
    found: list[TimedEvent] = []
    count = draw(st.integers(1, 25))
    for number in range(count):
        source = draw(st.sampled_from((*SOURCES, "accounts")))
        account = draw(st.sampled_from(ACCOUNTS))
        time_ms = NOW_MS - SPAN_MS + draw(st.integers(0, SPAN_MS // DAY_MS)) * DAY_MS + draw(st.integers(0, DAY_MS))
        if draw(st.integers(0, 4)) == 0:
            time_ms = time_ms // DAY_MS * DAY_MS  # exactly on a border
        name = str(draw(st.integers(0, number)))
        event = draw(
            profiles(account, time_ms, name) if source == "accounts" else events(source, account, time_ms, name)
        )
        decoded = decode(source, [json.dumps(event).encode()]).events
        found += [TimedEvent(int(times_ms(decoded)[0]), source, decoded[0])]
    metric = [part for part in found if part.source != "accounts"]
    anchor = decode(
        "engagement", [b'{"id":"first","account_id":"acme","time":%d,"kind":"x"}' % (NOW_MS - SPAN_MS)]
    ).events
    last = decode("engagement", [b'{"id":"last","account_id":"birch","time":%d,"kind":"x"}' % NOW_MS]).events
    if not metric or draw(st.booleans()):
        found += [TimedEvent(NOW_MS - SPAN_MS, "engagement", anchor[0]), TimedEvent(NOW_MS, "engagement", last[0])]
    found.sort(key=lambda part: part.time_ms)
    return found


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))


def grid_of(history: list[TimedEvent], every: int) -> Grid | None:
    try:
        return lay_out(history, every)
    except TooShortError:
        return None


def everything(grid: Grid) -> dict[int, range]:
    return dict.fromkeys(range(len(grid.boundaries)), range(len(grid.accounts)))


@settings(max_examples=25)
@given(histories(), policies(max_measures=3), st.integers(1, 4), st.data())
def test_what_comes_after_a_cutoff_changes_nothing_at_it(
    history: list[TimedEvent], policy: str, every: int, data: st.DataObject
) -> None:
    grid, plan = grid_of(history, every), plan_of(policy)
    if grid is None:
        return
    place = data.draw(st.integers(0, len(grid.boundaries) - 1))
    before = [part for part in history if part.time_ms <= grid.boundaries[place]]
    score = plan.policy.score.name
    whole, part = (replay(known, plan, score, grid, everything(grid)) for known in (history, before))
    cutoffs = place // every + 1
    assert same(whole.scores[: place + 1], part.scores[: place + 1])
    assert same(whole.bands[: place + 1], part.bands[: place + 1])
    assert same(whole.points[:cutoffs], part.points[:cutoffs])
    assert same(whole.last_ms[:cutoffs], part.last_ms[:cutoffs])
    until = {where: costs for where, costs in whole.costs.items() if where[0] <= place}
    assert until == {where: costs for where, costs in part.costs.items() if where[0] <= place}


@settings(max_examples=25)
@given(histories(), policies(max_measures=3))
def test_a_score_is_that_of_an_engine_that_was_given_no_more(history: list[TimedEvent], policy: str) -> None:
    grid, plan = grid_of(history, 1), plan_of(policy)
    if grid is None:
        return
    track = replay(history, plan, plan.policy.score.name, grid)
    for place, boundary in enumerate(grid.boundaries.tolist()):
        assert_boundary([part for part in history if part.time_ms <= boundary], plan, grid, track, place)


def assert_boundary(known: list[TimedEvent], plan: Plan, grid: Grid, track: Track, place: int) -> None:
    engine = Engine(plan)
    engine.step(batches_of(known, Counter()), Mode.HEAD, None)
    engine.advance_to(int(grid.boundaries[place]))
    rows = engine.accounts.alive()
    seen = look(engine, rows, select_score(plan.policy))
    names = [engine.accounts.index.names[row] for row in rows.tolist()]
    columns = [grid.accounts[name] for name in names]
    rest = sorted(set(range(len(grid.accounts))) - set(columns))
    assert np.isnan(track.scores[place, rest]).all()
    assert (track.bands[place, rest] == -1).all()
    assert same(track.scores[place, columns], seen.scores)
    assert same(track.bands[place, columns], seen.bands)
    assert same(track.points[place, columns], seen.points.astype(np.float32))
    assert same(track.last_ms[place, columns], engine.accounts.last_ms[rows])

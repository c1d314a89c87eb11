"""A score at a boundary depends on no later event, and is the score of an engine that has only the earlier events."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from agents.backtest.replay import Grid, TooShortError, Track, make_grid, read_scores, replay
from agents.files.playback import batches_of
from agents.files.timeline import TimedEvent
from schemas.codecs import decode, times_ms
from schemas.sources import BUILT_IN
from stream.engine.engine import Engine, Mode
from stream.explain.selector import select_score
from stream.plan.plan import Plan
from tests.driving.engine import plan_of
from tests.strategies.effort import examples
from tests.strategies.events import ACCOUNTS, DAY_MS, NOW_MS, SOURCES, events, profiles
from tests.strategies.policies import policies

SPAN_MS = 12 * DAY_MS


@st.composite
def histories(draw: DrawFn) -> list[TimedEvent]:
    """Events and profiles of a few accounts in order of time, some ids twice."""
    history: list[TimedEvent] = []
    count = draw(st.integers(1, 25))
    for number in range(count):
        source = draw(st.sampled_from((*SOURCES, "accounts")))
        account = draw(st.sampled_from(ACCOUNTS))
        time_ms = NOW_MS - SPAN_MS + draw(st.integers(0, SPAN_MS // DAY_MS)) * DAY_MS + draw(st.integers(0, DAY_MS))
        if draw(st.integers(0, 4)) == 0:
            time_ms = time_ms // DAY_MS * DAY_MS  # exactly at a boundary
        name = str(draw(st.integers(0, number)))
        event = draw(
            profiles(account, time_ms, name) if source == "accounts" else events(source, account, time_ms, name)
        )
        decoded = decode(BUILT_IN[source], [json.dumps(event).encode()]).events
        history += [TimedEvent(int(times_ms(decoded)[0]), source, decoded[0])]
    metric = [event for event in history if event.source != "accounts"]
    anchor = decode(
        BUILT_IN["engagement"], [b'{"id":"first","account_id":"acme","time":%d,"kind":"x"}' % (NOW_MS - SPAN_MS)]
    ).events
    last = decode(BUILT_IN["engagement"], [b'{"id":"last","account_id":"birch","time":%d,"kind":"x"}' % NOW_MS]).events
    if not metric or draw(st.booleans()):
        history += [TimedEvent(NOW_MS - SPAN_MS, "engagement", anchor[0]), TimedEvent(NOW_MS, "engagement", last[0])]
    history.sort(key=lambda event: event.time_ms)
    return history


def same(actual: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.array_equal(actual, expected, equal_nan=actual.dtype.kind == "f"))


def grid_of(history: list[TimedEvent], every: int) -> Grid | None:
    try:
        return make_grid(history, every)
    except TooShortError:
        return None


def everything(grid: Grid) -> dict[int, range]:
    return dict.fromkeys(range(len(grid.boundaries)), range(len(grid.accounts)))


@settings(max_examples=examples(25))
@given(histories(), policies(max_measures=3), st.integers(1, 4), st.data())
def test_later_events_do_not_change_a_boundary(
    history: list[TimedEvent], policy: str, every: int, data: st.DataObject
) -> None:
    grid, plan = grid_of(history, every), plan_of(policy)
    if grid is None:
        return
    number = data.draw(st.integers(0, len(grid.boundaries) - 1))
    before = [event for event in history if event.time_ms <= grid.boundaries[number]]
    score = select_score(plan.policy)
    whole, cut = (replay(known, plan, score, grid, everything(grid)) for known in (history, before))
    cutoffs = number // every + 1
    assert same(whole.scores[: number + 1], cut.scores[: number + 1])
    assert same(whole.bands[: number + 1], cut.bands[: number + 1])
    assert same(whole.points[:cutoffs], cut.points[:cutoffs])
    assert same(whole.last_ms[:cutoffs], cut.last_ms[:cutoffs])
    until = {key: costs for key, costs in whole.costs.items() if key[0] <= number}
    assert until == {key: costs for key, costs in cut.costs.items() if key[0] <= number}


@settings(max_examples=examples(25))
@given(histories(), policies(max_measures=3))
def test_a_score_is_that_of_an_engine_with_only_the_earlier_events(history: list[TimedEvent], policy: str) -> None:
    grid, plan = grid_of(history, 1), plan_of(policy)
    if grid is None:
        return
    track = replay(history, plan, select_score(plan.policy), grid)
    for number, boundary in enumerate(grid.boundaries.tolist()):
        assert_boundary([event for event in history if event.time_ms <= boundary], plan, grid, track, number)


def assert_boundary(known: list[TimedEvent], plan: Plan, grid: Grid, track: Track, number: int) -> None:
    engine = Engine(plan)
    engine.step(batches_of(known, Counter(), BUILT_IN), Mode.HEAD, None)
    engine.advance_to(int(grid.boundaries[number]))
    rows = engine.accounts.alive()
    expected = read_scores(engine, rows, select_score(plan.policy))
    names = [engine.accounts.index.names[row] for row in rows.tolist()]
    columns = [grid.accounts[name] for name in names]
    rest = sorted(set(range(len(grid.accounts))) - set(columns))
    assert np.isnan(track.scores[number, rest]).all()
    assert (track.bands[number, rest] == -1).all()
    assert same(track.scores[number, columns], expected.scores)
    assert same(track.bands[number, columns], expected.bands)
    assert same(track.points[number, columns], expected.points.astype(np.float32))
    assert same(track.last_ms[number, columns], engine.accounts.last_ms[rows])

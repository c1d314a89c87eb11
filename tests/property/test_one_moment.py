"""Over files a moment has one score, whoever reads it: score, history, explain, back-test and the oracle agree."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.backtest.replay import TooShortError, make_grid, replay
from agents.files import playback
from agents.files.history import score_history
from agents.files.replay import Watch, read_events, replay_files
from agents.files.scores import score_messages
from schemas.outputs import ScoreMessage
from stream.engine.engine import Mode
from stream.explain.selector import select_score
from tests.driving.engine import CLOSE, plan_of
from tests.oracle.engine import Record, final_scores
from tests.oracle.events import read_event
from tests.strategies.bands import restless_policies
from tests.strategies.effort import examples
from tests.strategies.policies import DAY_MS, NOW_MS, RICH, Sent, log_of, logs, policies
from tests.strategies.rich_policies import rich_policies

if TYPE_CHECKING:
    from stream.engine.engine import Engine
    from stream.explain.selector import SelectedScore
    from stream.plan.plan import Plan
from stream.publishing.decimals import rounded_number

Score = tuple[float, str]
PEERS = """
name = "peers"
[measures.usage]
source = "product-usage"
stat = "count"
window = "7d"
compare = "peers"
least_peers = 1
normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }
weight = 1
missing = 50
[segments.big]
when = { tier = ["one"] }
[scores.health]
min_change = 1
bands = [{ name = "fine", from = 50 }, { name = "poor", from = 0 }]
"""


@dataclass(frozen=True)
class Files:
    """Event files and what is read from them under one policy."""

    paths: list[Path]
    policy: str

    @cached_property
    def plan(self) -> Plan:
        return plan_of(self.policy)

    @property
    def selected(self) -> SelectedScore:
        return select_score(self.plan.policy)

    def by_history(self, as_of_ms: int | None) -> dict[int, dict[str, Score]]:
        days, _ = score_history(self.paths, self.plan, self.selected, as_of_ms=as_of_ms)
        scores: dict[int, dict[str, Score]] = {}
        for day in days:
            scores.setdefault(day.as_of, {})[day.account_id] = (day.score, day.band)
        return scores

    def by_score(self, as_of_ms: int) -> dict[str, Score]:
        return self._scores(replay_files(self.paths, self.plan, as_of_ms, mode=Mode.CONFLATED).engine)

    def by_explain(self, since_ms: int, as_of_ms: int) -> tuple[dict[str, Score], dict[str, Score]]:
        """The scores at both moments, by a replay that publishes what a worker does."""
        earlier: list[dict[str, Score]] = []
        watch = Watch(lambda _first, _end: [since_ms], lambda _moment, engine: earlier.append(self._scores(engine)))
        replayed = replay_files(self.paths, self.plan, as_of_ms, watch)
        return earlier[0] if earlier else {}, self._scores(replayed.engine)

    def by_backtest(self) -> dict[int, dict[str, Score]]:
        events = read_events(self.paths, [])
        try:
            grid = make_grid(events, 1)
        except TooShortError:
            return {}
        track = replay(events, self.plan, self.selected, grid)
        bands = [band.name for band in self.selected.bands]
        return {
            moment: {
                name: (rounded_number(float(track.scores[number, column])), bands[track.bands[number, column]])
                for name, column in grid.accounts.items()
                if track.bands[number, column] >= 0
            }
            for number, moment in enumerate(grid.boundaries.tolist())
        }

    def _scores(self, engine: Engine) -> dict[str, Score]:
        messages = [msgspec.json.decode(sent.value, type=ScoreMessage) for sent in engine.current().scores]
        named = {message.account_id: message.scores[self.selected.name] for message in messages}
        return {
            name: (score.value, score.band)
            for name, score in named.items()
            if score.value is not None and score.band is not None
        }


def timed(log: list[Record]) -> list[Record]:
    """The records of a log that a file can have, each arriving at its own time."""
    return log_of(
        [
            Sent(record.source, 0, read_event(record.source, record.value, NOW_MS).time_ms, record.key, record.value)
            for record in log
            if record.value is not None
        ]
    )


def write(log: list[Record], folder: str) -> list[Path]:
    """Write the log as files, one per topic, with one record per line."""
    lines: dict[str, list[str]] = {}
    for record in log:
        lines.setdefault(record.source, []).append(json.dumps(json.loads(record.value or b"")) + "\n")
    paths = []
    for source, text in lines.items():
        paths.append(Path(folder, f"{source}.jsonl"))
        paths[-1].write_text("".join(text), encoding="utf-8")
    return paths


def assert_oracle(actual: dict[str, Score], log: list[Record], policy: str, moment_ms: int) -> None:
    known = [record for record in log if record.timestamp_ms <= moment_ms]
    expected = final_scores(known, policy, NOW_MS, moment_ms, timed_profiles=True)
    assert actual.keys() == {account for account, score in expected.items() if score.value is not None}
    for account, score in expected.items():
        if score.value is None:
            continue
        assert abs(actual[account][0] - score.value) <= CLOSE
        assert actual[account][1] == score.band


UNDISTURBED: dict[str, Any] = {
    **RICH,
    "partitions": 1,
    "delays_ms": (0,),
    "backdated": False,
    "invalid": False,
    "max_events": 25,
}


@settings(max_examples=examples(40))
@given(
    logs(**UNDISTURBED),
    st.one_of(policies(max_measures=3), rich_policies(), restless_policies(), restless_policies()),
    st.sampled_from((None, 0, 3 * DAY_MS + 1)),
    st.data(),
)
def test_a_moment_has_one_score(log: list[Record], policy: str, silence_ms: int | None, data: st.DataObject) -> None:
    log = timed(log)
    events = [record.timestamp_ms for record in log if record.source != "accounts"]
    as_of_ms = None if silence_ms is None or not events else max(events) + silence_ms
    with TemporaryDirectory() as folder:
        files = Files(write(log, folder), policy)
        history = files.by_history(as_of_ms)
        if not events:
            assert history == {}
            return
        last_ms = max(events) if as_of_ms is None else as_of_ms
        moments = [*range(events[0] // DAY_MS * DAY_MS + DAY_MS - 1, last_ms, DAY_MS), last_ms]
        assert history.keys() <= set(moments)
        # A moment at which no account has a score has no line.
        history = {moment: history.get(moment, {}) for moment in moments}
        backtest = files.by_backtest()
        assert backtest.keys() == {
            moment for moment in moments if moment <= max(events) and moment % DAY_MS == DAY_MS - 1
        }
        assert {moment: history[moment] for moment in backtest} == backtest
        for moment in data.draw(st.lists(st.sampled_from(moments), min_size=1, max_size=3, unique=True)):
            assert files.by_score(moment) == history[moment]
            earlier = data.draw(st.sampled_from([since for since in moments if since <= moment]))
            assert files.by_explain(earlier, moment) == (history[earlier], history[moment])
            assert_oracle(history[moment], log, policy, moment)


@settings(max_examples=examples(25))
@given(
    logs(**UNDISTURBED),
    st.one_of(policies(max_measures=3), rich_policies(), restless_policies()),
    st.integers(1, 8),
)
def test_scores_do_not_depend_on_the_size_of_the_steps_of_a_replay(log: list[Record], policy: str, size: int) -> None:
    with TemporaryDirectory() as folder:
        files = Files(write(timed(log), folder), policy)
        together = score_messages(replay_files(files.paths, files.plan, mode=Mode.CONFLATED).engine)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(playback, "QUIET_STEP_EVENTS", size)
            assert score_messages(replay_files(files.paths, files.plan, mode=Mode.CONFLATED).engine) == together


@settings(max_examples=examples(25))
@given(logs(**UNDISTURBED), st.data())
def test_peers_are_those_of_the_moment(log: list[Record], data: st.DataObject) -> None:
    log = timed(log)
    with TemporaryDirectory() as folder:
        files = Files(write(log, folder), PEERS)
        history = files.by_history(None)
        for moment in data.draw(st.lists(st.sampled_from(sorted(history)), max_size=3)) if history else ():
            assert files.by_score(moment) == history[moment]
            assert files.by_explain(moment, moment) == (history[moment], history[moment])
            with TemporaryDirectory() as before:
                known = [record for record in log if record.timestamp_ms <= moment]
                alone = Files(write(known, before), PEERS).by_score(moment)
            assert alone == history[moment]
        assert all(history.get(moment, {}) == scores for moment, scores in files.by_backtest().items())

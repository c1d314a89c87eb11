"""The history of files is the oracle's, at every day's end and at the last moment."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.files.history import DayScore, score_history
from agents.files.replay import replay_files
from stream.explain.selector import select_score
from tests.driving.engine import CLOSE, plan_of
from tests.oracle.engine import AccountScore, Record, boundary_scores, final_scores
from tests.strategies.policies import DAY_MS, NOW_MS, logs, policies


def written(log: list[Record], folder: str) -> list[Path]:
    """Write the log as files, one per topic, with one record per line."""
    lines: dict[str, list[str]] = {}
    for record in log:
        if record.value is not None:
            lines.setdefault(record.source, []).append(json.dumps(json.loads(record.value)) + "\n")
    files = []
    for source, text in lines.items():
        files.append(Path(folder, f"{source}.jsonl"))
        files[-1].write_text("".join(text), encoding="utf-8")
    return files


def assert_day(published: dict[str, DayScore], expected: dict[str, AccountScore]) -> None:
    assert published.keys() == expected.keys()
    for account, score in expected.items():
        assert abs(published[account].score - score.value) <= CLOSE
        assert published[account].band == score.band


@settings(max_examples=40)
@given(
    logs(partitions=1, delays_ms=(0,), backdated=False, invalid=False, max_events=25),
    policies(max_measures=3),
    st.sampled_from((None, 0, 3 * DAY_MS + 1)),
)
def test_the_scores_of_every_day_are_the_oracles(log: list[Record], policy_text: str, silence_ms: int | None) -> None:
    plan = plan_of(policy_text)
    with TemporaryDirectory() as folder:
        files = written(log, folder)
        newest_ms = replay_files(files, plan).engine.as_of
        as_of_ms = None if silence_ms is None or newest_ms is None else newest_ms + silence_ms
        days, replay = score_history(files, plan, select_score(plan.policy), as_of_ms=as_of_ms)
        plain = replay_files(files, plan, as_of_ms)
    assert sorted(replay.engine.current().scores) == sorted(plain.engine.current().scores)
    assert replay.outcomes == plain.outcomes
    assert [day.as_of for day in days] == sorted(day.as_of for day in days)
    if newest_ms is None:
        assert days == []
        return
    by_moment: dict[int, dict[str, DayScore]] = {}
    for day in days:
        by_moment.setdefault(day.as_of, {})[day.account_id] = day
    end_ms = newest_ms if as_of_ms is None else as_of_ms
    boundaries = {end_ms: final_scores(log, policy_text, NOW_MS, end_ms)}
    boundaries |= {
        moment_ms: scores
        for (_, moment_ms), scores in boundary_scores(log, policy_text, NOW_MS).items()
        if not moment_ms % DAY_MS
    }
    for moment_ms in range(-(-newest_ms // DAY_MS) * DAY_MS, end_ms + 1, DAY_MS):
        boundaries[moment_ms] = final_scores(log, policy_text, NOW_MS, moment_ms)
    assert by_moment.keys() == boundaries.keys()
    for moment_ms, expected in boundaries.items():
        assert_day(by_moment[moment_ms], expected)

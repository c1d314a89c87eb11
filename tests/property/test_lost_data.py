"""After the last event of an account no score of it rises, under any policy, until it has no data and keeps none.

No source counts as stalled here: when one is back, all accounts are scored as of now again, with better values
too. `tests.property.test_idle_sources` has both together.
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings

from agents.files.replay import Watch, replay_files
from stream.engine.engine import Mode
from tests.driving.engine import plan_of
from tests.oracle.engine import read_policy
from tests.pages.blocks import policy_files
from tests.property.test_one_moment import timed, write
from tests.strategies.effort import examples
from tests.strategies.policies import DAY_MS, NOW_MS, SPAN_MS, logs
from tests.strategies.rich_policies import rich_policies

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stream.engine.engine import Engine
    from tests.oracle.engine import Record

SHIPPED = {file.stem: file.read_text("utf-8") for file in policy_files(Path("deploy/policies"))}
IDLE_SOURCES = re.compile(r"(?m)^\[sources\.[a-z-]+\]\nstall_after = .*\n")
QUIET = {"duplicates": False, "backdated": False, "invalid": False, "profiles": False, "delays_ms": (0,)}
EVENTS = logs(partitions=1, **QUIET)


def values_by_midnight(log: list[Record], policy_text: str, until_ms: int) -> dict[int, dict[str, NDArray[np.float64]]]:
    """The scores of each account, NaN without data, at the midnights since the day of its last event."""
    by_midnight: dict[int, dict[str, NDArray[np.float64]]] = {}

    def look(moment_ms: int, engine: Engine) -> None:
        accounts = engine.accounts
        rows = accounts.alive()
        scored = engine.score(rows)
        day_ms = accounts.life_ms[rows] // DAY_MS * DAY_MS
        by_midnight[moment_ms] = {
            accounts.index.names[row]: np.array([score.values[index] for score in scored.scores])
            for index, row in enumerate(rows.tolist())
            if day_ms[index] < moment_ms
        }

    with TemporaryDirectory() as folder:
        paths = write(timed(log), folder)
        watch = Watch(lambda first_ms, _: range((first_ms // DAY_MS + 1) * DAY_MS, until_ms, DAY_MS), look)
        engine = replay_files(paths, plan_of(policy_text), until_ms, watch, mode=Mode.CONFLATED).engine
    last_ms = {name: engine.accounts.life_ms[row] for row, name in enumerate(engine.accounts.index.names)}
    return {
        moment_ms: {name: values for name, values in of_accounts.items() if last_ms[name] < moment_ms}
        for moment_ms, of_accounts in by_midnight.items()
    }


def assert_nothing_rises(log: list[Record], policy_text: str) -> None:
    first: dict[str, NDArray[np.float64]] = {}
    for _, of_accounts in sorted(values_by_midnight(log, policy_text, NOW_MS + 50 * DAY_MS).items()):
        for name, values in of_accounts.items():
            before = first.setdefault(name, values)
            assert not np.any(values > before + 1e-9), (name, before, values)
            assert not np.any(np.isnan(before) & ~np.isnan(values)), (name, before, values)


def is_about_one_account_alone(policy_text: str) -> bool:
    """Whether scores depend on events only, the rule is on, and every measure has one meaning in all scores.

    Not so are controls, which people enter, and a measure that gives points here and has an impact there.
    """
    policy = read_policy(policy_text)
    if policy.status.get("while_silent") == "now":
        return False
    impacts = [score.impacts for score in policy.scores_in(None)]
    impacts += [score.impacts for segment in policy.segments for score in policy.scores_in(segment.name)]
    for measure in policy.measures:
        signs = {float(np.sign(float(each[measure.name]))) for each in impacts if measure.name in each}
        if len(signs) > 1 or (signs and {"normalise", "segments"} & measure.settings.keys()):
            return False
    return all(measure.source != "controls" for measure in policy.measures)


@pytest.mark.parametrize("name", SHIPPED)
@settings(max_examples=examples(10))
@given(log=EVENTS)
def test_under_the_policies_to_start_from(name: str, log: list[Record]) -> None:
    assert_nothing_rises(log, IDLE_SOURCES.sub("", SHIPPED[name]))


@settings(max_examples=examples(60))
@given(rich_policies(kept_bands=False).filter(is_about_one_account_alone), EVENTS)
def test_under_any_policy(policy_text: str, log: list[Record]) -> None:
    assert_nothing_rises(log, policy_text)


def test_the_logs_are_shorter_than_the_time_after_them() -> None:
    assert SPAN_MS < 50 * DAY_MS

"""Row 2: the worker dies at each step of a commit, and nothing counts twice or is lost."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults import verdict
from tests.faults.deployment import SLOWLY, Deployment
from tests.faults.events import DAY_MS, END_MS, HOUR_MS, MOOD, SHORT, SURVEYS, USAGE, accounts_of, company, event
from tests.faults.worker_that_dies import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.topic_log import Message

DYING = Path(__file__).with_name("worker_that_dies.py")
IGNORES_OFFSETS = Path(__file__).with_name("worker_without_applied_offsets.py")


def dies_at(deployment: Deployment, step: str, commit: int) -> None:
    """Run a worker until it has killed itself at a step of its `commit`-th commit."""
    worker = deployment.start(entry=[str(DYING), step, str(commit)])
    deployment.workers.remove(worker)
    status = worker.wait(60)
    assert status == -signal.SIGKILL, f"{step}: ended with {status}\n{worker.last_words()}"
    deployment.kills += 1


FEW_STEPS = ("half the rows", "offsets")
"""Before and after what a restart relies on is whole."""


@pytest.mark.broker
@pytest.mark.parametrize("steps", [FEW_STEPS, pytest.param(STEPS, marks=pytest.mark.faults)], ids=["few", "all"])
def test_dying_at_every_step_in_turn_changes_nothing(tmp_path: Path, fault: Callable, steps: tuple[str, ...]) -> None:
    with Deployment(tmp_path, policy=SHORT, broker=SLOWLY, catch_up="exact", catch_up_lag=100) as deployment:
        deployment.send(company(25, 20))
        for step in steps:
            dies_at(deployment, step, 1)
        deployment.start()
        deployment.until_done()
        figures = deployment.judge()
    fault(f"2 kill at {len(steps)} steps of the commit, in turn", figures)


@pytest.mark.faults
@pytest.mark.parametrize("commit", [1, 2])
@pytest.mark.parametrize("step", STEPS)
def test_dying_at_a_step_changes_nothing(tmp_path: Path, fault: Callable, step: str, commit: int) -> None:
    with Deployment(tmp_path, policy=SHORT, broker=SLOWLY, catch_up="conflate", catch_up_lag=100) as deployment:
        deployment.send(company(60, 40))
        dies_at(deployment, step, commit)
        deployment.start()
        deployment.until_done()
        figures = deployment.judge()
    fault(f"2 kill at commit {commit} after {step}", figures)


@pytest.mark.broker
@pytest.mark.parametrize(
    "step",
    [
        pytest.param("rows", marks=pytest.mark.faults),
        pytest.param("half the rows", marks=pytest.mark.faults),
        pytest.param("one partition", marks=pytest.mark.faults),
    ],
)
def test_an_account_that_went_silent_is_not_lost_by_a_half_written_commit(
    tmp_path: Path, fault: Callable, step: str
) -> None:
    """Weeks pass within one commit: rows of its end are written, and what they owe to its beginning is read again."""
    with Deployment(tmp_path, policy=SHORT, commit_interval_s=2) as deployment:
        sent = [
            event(USAGE, f"u{number}", account, END_MS - 60 * DAY_MS + number * HOUR_MS + 7, user_id=f"p{number % 7}")
            for number, account in enumerate(
                account for turn in range(150) for account in accounts_of(0, 4, prefix=f"gone{turn}")
            )
        ]
        deployment.send(sent)
        dies_at(deployment, step, 1)
        deployment.start()
        deployment.until_done()
        figures = deployment.judge()
    fault(f"2 kill in a commit of 25 days after {step}", figures)


@pytest.mark.faults
def test_a_score_published_before_a_crash_is_corrected_when_it_no_longer_holds(tmp_path: Path, fault: Callable) -> None:
    """Published but not committed: later records may change the score, and the last message must be correct."""
    account = "acct-1"

    def survey(number: int, score: int) -> Message:
        return event(SURVEYS, f"s{number}", account, END_MS - DAY_MS + number * 1000, kind="nps", score=score)

    with Deployment(tmp_path, policy=MOOD, commit_interval_s=1) as deployment:
        deployment.send([survey(0, 8)])
        worker = deployment.start()
        deployment.until_done()
        deployment.stop(worker)
        worker = deployment.start(commit_interval_s=300)
        deployment.until(lambda: worker.settled().total() == 1, "the first answer is remembered")
        deployment.send([survey(1, 2)])

        def published_score() -> float:
            return float(deployment.scores()[account]["scores"]["health"]["value"])

        deployment.until(lambda: published_score() == 20, "the second answer is published")
        deployment.kill(worker)
        deployment.send([survey(2, 8)])
        deployment.start()
        deployment.until_done()
        log = deployment.input_log()
        differences = verdict.score_differences(log.scores(deployment.policy), deployment.scores())
        assert not differences
        counts = {outcome: count for (_, outcome), count in deployment.settled().items()}
        assert counts == {"applied": 3}
    fault("2 kill between publishing and committing", {"sent": log.sent, **counts, "kills": deployment.kills})


@pytest.mark.faults
def test_the_oracle_notices_a_worker_that_ignores_applied_offsets(tmp_path: Path, fault: Callable) -> None:
    """Without applied offsets the same kill counts events twice, and the comparison of these tests fails."""
    with Deployment(tmp_path, broker=SLOWLY, dedup="false") as deployment:
        sent = deployment.send(company(40, 30))
        dies_at(deployment, "state", 2)
        deployment.start(entry=[str(IGNORES_OFFSETS)])
        deployment.until(lambda: deployment.settled().total() >= sent, "all records settled once")
        deployment.until(lambda: not deployment.not_committed(), "the rest is committed")
        log = deployment.input_log()
        differences = verdict.score_differences(log.scores(deployment.policy), deployment.scores())
        assert differences
        with pytest.raises(AssertionError):
            deployment.judge(log, patience_s=0)
    fault("0 applied offsets ignored on purpose", {"sent": sent, "wrong": len(differences), "kills": 1})

"""A worker with a shadow against a real Kafka: both policies are right, the differences are shown, promotion works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from schemas.topics import SHADOW
from tests.broker.test_worker import vitals
from tests.faults import topic_log, verdict
from tests.faults.deployment import Deployment
from tests.faults.events import SHORT, company

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.broker

CANDIDATE = (
    SHORT.replace('"short"', '"candidate"')
    .replace('window = "3d"', 'window = "9d"')
    .replace("weight = 40", "weight = 70")
    .replace("from = 60", "from = 45")
)


def shadow_scores(deployment: Deployment) -> dict[str, dict]:
    records = topic_log.read(deployment.kafka.bootstrap, [SHADOW])[SHADOW]
    return verdict.latest_scores([record for record in records if record.value is not None])


def test_a_candidate_runs_beside_the_live_policy_and_takes_its_place(tmp_path: Path) -> None:
    events = company(16, 12)
    half = len(events) // 2
    candidate = tmp_path / "candidate.toml"
    candidate.write_text(CANDIDATE, "utf-8")
    with Deployment(tmp_path, policy=SHORT, shadow=candidate) as deployment:
        deployment.send(events[:half])
        worker = deployment.start()
        deployment.until_done()
        deployment.judge()
        log = deployment.input_log()
        assert not verdict.score_differences(log.scores(CANDIDATE), shadow_scores(deployment))
        bands = worker.samples()
        assert sum(bands["vitals_shadow_accounts"].values()) == sum(bands["vitals_accounts"].values())

        shown = json.loads(vitals(deployment, "shadow", "--json").stdout)
        live, would = log.scores(SHORT), log.scores(CANDIDATE)
        moved = sum(score.band != would[account].band for account, score in live.items())
        assert (shown["accounts"], shown["moved"]) == (len(live), moved)
        firing = [
            {(account, score.band) for account, score in scores.items() if score.alert} for scores in (live, would)
        ]
        assert len(shown["raised"]) == len(firing[1] - firing[0])
        assert len(shown["spared"]) == len(firing[0] - firing[1])
        assert moved

        promoted = vitals(deployment, "shadow", "--promote")
        assert promoted.returncode == 0, promoted.stderr
        assert (tmp_path / "policy.toml").read_text("utf-8") == CANDIDATE
        assert deployment.stop(worker) == 0
        deployment.send(events[half:])
        worker = deployment.start()  # the setting still names the candidate: it is no shadow of itself
        deployment.until_done()
        deployment.policy = CANDIDATE
        assert deployment.judge()["replayed"] == 0
        log_text = worker.log_text()
        assert ("shadow_promoted" in log_text, "shadow_is_live" in log_text, "measure_lacks_history" in log_text) == (
            True,
            True,
            False,
        )
        left = topic_log.read(deployment.kafka.bootstrap, [SHADOW])[SHADOW]
        assert {record.value for record in {record.key: record for record in left}.values()} == {None}

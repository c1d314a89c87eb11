"""`vitals rollup` against a real Kafka: parents follow their children in all partitions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from schemas.outputs import RollupMessage
from schemas.topics import ROLLUPS, SCORES
from tests.broker.child import ChildProcess
from tests.faults import topic_log
from tests.faults.deployment import Deployment
from tests.faults.events import END_MS, HOUR_MS, USAGE, event
from tests.faults.worker_process import ROOT, clean_environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.broker

CHILDREN = [f"child-{number}" for number in range(8)]
_START_MS = END_MS - 10 * HOUR_MS


def rollup_process(deployment: Deployment, log: Path, *arguments: str) -> ChildProcess:
    command = [sys.executable, "-m", "agents", "rollup", *arguments]
    return ChildProcess(
        command, log=log, env=clean_environment({"broker": deployment.kafka.url, "rollup_port": 0}), cwd=ROOT
    )


def latest(deployment: Deployment, topic: str) -> dict[str, bytes | None]:
    records = topic_log.read(deployment.kafka.bootstrap, [topic])[topic]
    return {record.key.decode(): record.value for record in records if record.key is not None}


def parents(deployment: Deployment) -> dict[str, RollupMessage | None]:
    def decoded(value: bytes | None) -> RollupMessage | None:
        return None if value is None else msgspec.json.decode(value, type=RollupMessage)

    return {key: decoded(value) for key, value in latest(deployment, ROLLUPS).items()}


def scores(deployment: Deployment) -> dict[str, float]:
    return {
        key: msgspec.json.decode(value)["scores"]["health"]["value"]
        for key, value in latest(deployment, SCORES).items()
        if value is not None
    }


def test_parents_follow_their_children_over_restarts_and_partitions(tmp_path: Path) -> None:
    # long because: one deployment; every step starts from the state that the previous one left
    with Deployment(tmp_path) as deployment:
        profiles = [
            event(
                "accounts",
                f"p{number}",
                child,
                _START_MS,
                parent_id="group" if number % 2 else "other",
                arr=1000 * number,
            )
            for number, child in enumerate(CHILDREN)
        ]
        use = [
            event(USAGE, f"{child}-{user}", child, _START_MS + number, user_id=f"u{user}")
            for number, child in enumerate(CHILDREN)
            for user in range(number + 1)
        ]
        deployment.send([*profiles, *use])
        deployment.start()
        deployment.until_done()
        once = rollup_process(deployment, tmp_path / "once.log", "--once")
        assert once.wait(60) == 0, once.log_tail()
        values, rollups = scores(deployment), parents(deployment)
        odd = {child: values[child] for number, child in enumerate(CHILDREN) if number % 2}
        group = rollups["group"]
        assert group is not None
        assert (group.children, sorted(rollups)) == (4, ["group", "other"])
        health = group.scores["health"]
        worst = min(odd, key=lambda child: (odd[child], child))
        assert (health.worst, health.worst_account) == (odd[worst], worst)
        assert health.mean == pytest.approx(sum(odd.values()) / 4)
        weighted = sum(value * (2 * index + 1) for index, value in enumerate(odd.values())) / (1 + 3 + 5 + 7)
        assert health.weighted == pytest.approx(weighted)

        # One child improves and all children of the other parent leave it: the follower publishes both changes.
        follower = rollup_process(deployment, tmp_path / "follower.log")
        deployment.send(
            [
                *(event(USAGE, f"more-{user}", worst, _START_MS + HOUR_MS, user_id=f"n{user}") for user in range(9)),
                *(
                    event("accounts", f"q{number}", child, _START_MS + HOUR_MS, parent_id=None)
                    for number, child in enumerate(CHILDREN)
                    if not number % 2
                ),
            ]
        )
        deployment.until_done()

        def followed() -> bool:
            now = parents(deployment)
            group_now = now["group"]
            expected = sum(scores(deployment)[child] for child in odd) / 4
            return (
                now["other"] is None
                and group_now is not None
                and abs(group_now.scores["health"].mean - expected) < 1e-9
            )

        deployment.until(followed, "the follower has published both")
        assert scores(deployment)[worst] > odd[worst]
        assert follower.terminate(30) == 0, follower.log_tail()

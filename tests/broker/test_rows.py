"""`vitals rows` against a real Kafka: a change becomes rows once, erasures are passed on, bad records are skipped."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from schemas.outputs import ScoreRow
from schemas.topics import CHANGES, SCORE_ROWS
from tests.faults import topic_log
from tests.faults.deployment import Deployment
from tests.faults.worker_process import ROOT, clean_environment
from tests.unit.stream.consumers.test_score_rows import CHANGE

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.broker


def change(number: int, account: str) -> topic_log.Message:
    value = msgspec.json.encode(msgspec.structs.replace(CHANGE, id=f"c{number}", account_id=account))
    return topic_log.Message(CHANGES, account.encode(), value, CHANGE.time + number)


def rows_once(deployment: Deployment) -> str:
    environment = clean_environment({"broker": deployment.kafka.url, "partitions": topic_log.PARTITIONS})
    done = subprocess.run(
        [sys.executable, "-m", "agents", "rows", "--once"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rows(deployment: Deployment) -> list[tuple[str, str, int, int]]:
    records = topic_log.read(deployment.kafka.bootstrap, [SCORE_ROWS.name])[SCORE_ROWS.name]
    listed = []
    for record in records:
        row = None if record.value is None else msgspec.json.decode(record.value, type=ScoreRow)
        assert record.key is not None
        name = "erased" if row is None else row.change_id
        listed.append((record.key.decode(), name, -1 if row is None else row.factor_number, record.timestamp_ms))
    return sorted(listed)


def test_every_change_becomes_rows_once(tmp_path: Path) -> None:
    with Deployment(tmp_path) as deployment:
        deployment.send(
            [
                change(1, "acme"),
                change(2, "birch"),
                topic_log.Message(CHANGES, b"birch", b"{", 9),
                topic_log.Message(CHANGES, b"birch", None, 9),
            ]
        )
        assert "5 rows written to health.score-rows" in rows_once(deployment)
        first = [("acme", "c1", 0, 6), ("acme", "c1", 1, 6), ("birch", "c2", 0, 7), ("birch", "c2", 1, 7)]
        assert rows(deployment) == sorted([*first, ("birch", "erased", -1, 9)])
        assert "0 rows written" in rows_once(deployment)
        deployment.send([change(3, "acme")])
        assert "2 rows written" in rows_once(deployment)
        assert [row for row in rows(deployment) if row[1] == "c3"] == [("acme", "c3", 0, 8), ("acme", "c3", 1, 8)]

"""Kafka Connect writes `health.score-rows` into PostgreSQL, as docs/how-to/read-scores-with-sql.md configures it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from schemas.catalog.documents import by_topic
from schemas.sources import BUILT_IN
from schemas.topics import CHANGES, SCORE_ROWS
from tests.broker.child import ChildProcess
from tests.broker.jars import fetch_jars, tool
from tests.broker.test_rows import change, rows_once
from tests.faults import topic_log
from tests.faults.deployment import Deployment
from tests.faults.postgres import DATABASE, USER, Postgres
from tests.faults.worker_process import ROOT, clean_environment
from tests.pages.sql import page_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = [pytest.mark.faults, pytest.mark.broker]

POM = ROOT / "tests" / "faults" / "connect" / "pom.xml"
ROWS = "SELECT change_id, factor_number, account_id, measure, points_delta, catching_up FROM score_rows ORDER BY 1, 2"
_WITHIN_S = 240.0


def connect_process(folder: Path, deployment: Deployment, database: Postgres) -> ChildProcess:
    worker = {
        "bootstrap.servers": deployment.kafka.bootstrap,
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "offset.storage.file.filename": str(folder / "offsets"),
        "listeners": "http://127.0.0.1:0",
    }
    (folder / "worker.properties").write_text("".join(f"{name}={value}\n" for name, value in worker.items()))
    schema = json.dumps(by_topic("connect", BUILT_IN)[SCORE_ROWS.name])
    sink = page_files()["score-rows.properties"].replace("SCHEMA", schema)
    sink = sink.replace("localhost:5432/postgres", f"127.0.0.1:{database.port}/{DATABASE}")
    assert f"connection.username={USER}\n" in sink
    (folder / "sink.properties").write_text(sink)
    jars = fetch_jars(POM, "connect")
    command = [tool("java"), "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*"]
    return ChildProcess(
        [*command, "org.apache.kafka.connect.cli.ConnectStandalone", "worker.properties", "sink.properties"],
        log=folder / "connect.log",
        env=clean_environment({}),
        cwd=folder,
    )


def wait_for(database: Postgres, rows: Sequence[str], process: ChildProcess) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while (answer := database.query(ROWS)) != list(rows):
        assert time.monotonic() < deadline, (answer, process.log_tail())
        time.sleep(0.5)


def test_rows_reach_a_database_once_and_erasures_stop_nothing(tmp_path: Path) -> None:
    with Deployment(tmp_path) as deployment, Postgres() as database:
        deployment.send([change(1, "acme"), topic_log.Message(CHANGES, b"birch", None, 9), change(2, "birch")])
        rows_once(deployment)
        process = connect_process(tmp_path, deployment, database)
        try:
            first = [
                "c1|0|acme|usage|0|t",
                "c1|1|acme|tickets|-20|t",
                "c2|0|birch|usage|0|t",
                "c2|1|birch|tickets|-20|t",
            ]
            wait_for(database, first, process)
            deployment.send([change(1, "acme"), change(3, "acme")])  # a worker published the first one again
            rows_once(deployment)
            wait_for(database, [*first, "c3|0|acme|usage|0|t", "c3|1|acme|tickets|-20|t"], process)
        finally:
            process.kill()

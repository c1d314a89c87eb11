"""`vitals board` with real workers and a real Kafka: it shows the contents of topics and writes controls."""

from __future__ import annotations

import http.client
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
import pytest

from agents.board.views.inputs import BLOCK_PATIENCE_S
from agents.board.views.listing import encode_cursor
from agents.board.views.timeline import Position
from schemas.topics import ALERTS, SCORES
from tests.broker.kafka_server import free_port
from tests.driving.boards import NOON, TOKEN, alert, score
from tests.faults import topic_log
from tests.faults.deployment import PATIENCE_S, Deployment
from tests.faults.events import END_MS, HOUR_MS, USAGE, event
from tests.faults.topic_log import Message
from tests.faults.worker_process import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.broker

BOARD = ("-m", "agents", "board")
ACCOUNTS = [f"account-{number}" for number in range(12)]


def board_of(deployment: Deployment, folder: Path, **more: object) -> WorkerProcess:
    port = free_port()
    settings = {**deployment.settings, "board_port": port, "board_token": TOKEN, **more}
    return WorkerProcess(settings, web_port=port, log=folder / "board.log", entry=BOARD)


def ask(board: WorkerProcess, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", board.web_port, timeout=30)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {TOKEN}", **(headers or {})})
        answer = connection.getresponse()
        assert answer.status < http.client.BAD_REQUEST, answer.read()
        return json.loads(answer.read())
    finally:
        connection.close()


def status_of(board: WorkerProcess, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", board.web_port, timeout=30)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
        return connection.getresponse().status
    finally:
        connection.close()


def is_ready(board: WorkerProcess) -> bool:
    assert board.is_running, board.last_words()
    return (board.ask("/readyz") or (0, ""))[0] == http.client.OK


def latest(deployment: Deployment, topic: str) -> dict[str, Any]:
    records = topic_log.read(deployment.kafka.bootstrap, [topic])[topic]
    return {record.key.decode(): msgspec.json.decode(record.value) for record in records if record.key and record.value}


@pytest.mark.faults
def test_the_board_shows_the_contents_of_the_topics(tmp_path: Path) -> None:
    with Deployment(tmp_path) as deployment:
        events = [
            event(USAGE, f"{account}-{hour}", account, END_MS - hour * HOUR_MS, user_id=f"u{hour % (users + 1)}")
            for users, account in enumerate(ACCOUNTS)
            for hour in range(48, 0, -3)
        ]
        sent = deployment.send(events)
        worker = deployment.start()
        deployment.until(lambda: sum(worker.settled().values()) >= sent, "all events are applied")
        board = board_of(deployment, tmp_path)
        try:
            deployment.until(lambda: is_ready(board), "the board has read everything")
            deployment.until(lambda: ask(board, "/api/summary")["processor"]["lag"] == [], "the lag is known and zero")
            truth = latest(deployment, SCORES)
            shown = {row["account_id"]: row for row in ask(board, "/api/accounts?limit=500")["items"]}
            assert {key: row["scores"]["health"]["value"] for key, row in shown.items()} == {
                key: message["scores"]["health"]["value"] for key, message in truth.items()
            }
            assert set(truth) == set(ACCOUNTS)
            timeline = ask(board, f"/api/accounts/{ACCOUNTS[3]}/timeline?kinds=event&limit=200")
            assert [item["data"]["time"] for item in timeline["items"]] == [
                END_MS - hour * HOUR_MS for hour in range(3, 49, 3)
            ]
            assert (timeline["complete"], timeline["next"], timeline["problem"]) == (True, None, None)
            assert ask(board, "/api/summary")["processor"]["workers"] == 1
            unreadable = b'{"id":"x","account_id":"account-3","time":1,"note":"\xff"}'
            deployment.send([Message("billing", b"account-3", unreadable, END_MS)])
            timeline = ask(board, "/api/accounts/account-3/timeline?kinds=event&limit=200")
            assert timeline["unreadable"] == 1
            assert timeline["items"][0]["data"]["unreadable"] == "bad_utf8"
            began_s = time.monotonic()
            for offset in (10**15, 2**62, -1):
                cursor = encode_cursor(Position(2**62, None, {"billing": offset}))
                assert status_of(board, f"/api/accounts/account-3/timeline?cursor={cursor}") == http.client.BAD_REQUEST
            assert time.monotonic() - began_s < BLOCK_PATIENCE_S, "refused without waiting for records"
            worker.stop()
            until_s = time.monotonic() + PATIENCE_S
            while ask(board, "/api/summary")["processor"]["workers"] != 0:
                assert time.monotonic() < until_s, "the worker is not missed"
            assert ask(board, "/api/summary")["processor"]["no_worker_since_ms"] > END_MS
        finally:
            board.kill()
        log = (tmp_path / "board.log").read_text("utf-8")
        assert TOKEN not in log


def test_an_acknowledgement_is_written_and_topics_created_later_are_read(tmp_path: Path) -> None:
    low = alert("acme", "band:health:at-risk")
    with Deployment(tmp_path) as deployment:
        deployment.send(
            Message(record.topic, record.key, record.value, record.stamp) for record in (score("acme", 30.0), low)
        )
        board = board_of(deployment, tmp_path, time="live")
        try:
            deployment.until(lambda: is_ready(board), "the board has read everything")
            answer = ask(
                board, f"/api/accounts/acme/alerts/{quote('band:health:at-risk', safe='')}/acknowledge", "POST"
            )
            (control,) = latest(deployment, "controls").values()
            assert control == {
                "account_id": "acme",
                "time": answer["time"],
                "kind": "acknowledge",
                "rule": "band:health:at-risk",
                "by": "token",
                "id": answer["id"],
            }
            acknowledged = alert("acme", "band:health:at-risk", acknowledged_at=NOON + 1, acknowledged_by="token")
            deployment.send([Message(ALERTS, b"acme", acknowledged.value, NOON)])
            deployment.until(
                lambda: ask(board, "/api/alerts")["items"][0]["state"] == "acknowledged", "the alert is acknowledged"
            )
        finally:
            board.kill()


@pytest.mark.faults
def test_a_board_waits_for_its_broker(tmp_path: Path) -> None:
    with Deployment(tmp_path) as deployment:
        first, second = score("acme", 30.0), score("acme", 55.0, NOON + 1)
        deployment.send([Message(first.topic, first.key, first.value, NOON)])
        board = board_of(deployment, tmp_path)
        try:
            deployment.until(lambda: is_ready(board), "the board has read everything")
            deployment.kafka.kill()
            deployment.until(lambda: not is_ready(board), "the board reports that the broker is not available")
            assert ask(board, "/api/accounts")["items"][0]["scores"]["health"]["value"] == 30.0
            deployment.kafka.restart()
            deployment.send([Message(second.topic, second.key, second.value, NOON)])
            deployment.until(
                lambda: ask(board, "/api/accounts")["items"][0]["scores"]["health"]["value"] == 55.0, "the next score"
            )
            deployment.until(lambda: is_ready(board), "the board is healthy")
        finally:
            board.kill()


def test_without_a_broker_the_command_fails_and_names_it(tmp_path: Path) -> None:
    port = free_port()
    board = WorkerProcess(
        {"broker": f"kafka://127.0.0.1:{free_port()}", "board_port": port},
        web_port=port,
        log=tmp_path / "board.log",
        entry=BOARD,
    )
    try:
        assert board.wait(60) == 1
        assert "no Kafka broker (PLAINTEXT): 127.0.0.1" in board.last_words()
    finally:
        board.kill()

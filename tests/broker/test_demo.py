"""`vitals demo` as a process: counts add up on both brokers and after SIGKILL, and nothing is left running."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.broker.kafka_server import KafkaServer

ROOT = Path(__file__).parents[2]
PATIENCE_S = 180


@contextmanager
def demo(folder: Path, *options: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A running demo; its processes are recognised by their temporary folder, `folder`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "agents", "demo", "--json", *options],
        cwd=ROOT,
        env={**os.environ, **environment, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


OF_NEW_ACCOUNTS = 80_000
"""So many events come before the first accounts of the demo are no longer new; new accounts do not alert."""


def finish(process: subprocess.Popen[str]) -> tuple[dict[str, Any], str]:
    """Wait for exit code 0; returns the last line of stdout as an object, and all of stderr."""
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result, errors


def still_running(folder: Path) -> list[str]:
    """Command lines of live processes whose temporary files are within `folder`."""
    commands = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("TMPDIR", "").startswith(str(folder))
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                commands.append(" ".join(process.cmdline()))
        except psutil.Error:  # ended meanwhile, or owned by another user
            continue
    return commands


def assert_nothing_is_left(folder: Path) -> None:
    assert still_running(folder) == []
    assert list(folder.iterdir()) == []


def assert_adds_up(result: dict[str, Any]) -> None:
    assert result["events"] == result["applied"] == sum(result["settled"].values()) > 0
    assert result["accounts"] == sum(result["bands"].values()) > 0
    assert set(result["bands"]) <= {"healthy", "attention", "at-risk"}
    assert result["score_changes"] >= result["alerts"]
    assert result["alerts"] > 0 or result["events"] < OF_NEW_ACCOUNTS, "a slow machine comes to new accounts only"
    assert result["events_per_second"] > 0


def ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  our own board
        return json.load(answer)


def acknowledges_an_alert(board: str) -> bool:
    """Acknowledge an open alert of an account as the page does; False if there is none, or it has just ended."""
    for alert in ask(f"{board}/api/alerts")["items"][:1]:
        path = f"/api/accounts/{alert['account_id']}/alerts/{urllib.parse.quote(alert['rule'], safe='')}/acknowledge"
        same = {"Sec-Fetch-Site": "same-origin"}
        request = urllib.request.Request(f"{board}{path}", b"", same, method="POST")  # noqa: S310  our own board
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  as above
                return bool(answer.status == 202)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
    return False


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """Read stderr until a line contains `text`; returns that line."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return line
    raise AssertionError(f"the demo ended without {text!r}")


def test_every_event_is_applied_and_nothing_is_left(tmp_path: Path) -> None:
    with demo(tmp_path, "--seconds", "20") as process:
        result, errors = finish(process)
    assert_adds_up(result)
    assert "keeps nothing" in errors
    assert "every event counted once" in errors
    lines = errors.splitlines()
    assert lines.count("starting the worker") == 1
    assert len(lines) == len(set(lines))
    assert_nothing_is_left(tmp_path)


@pytest.mark.faults
@pytest.mark.timeout(PATIENCE_S + 60)
def test_counts_add_up_although_the_worker_is_killed(tmp_path: Path) -> None:
    with demo(tmp_path, "--seconds", "45", "--kill") as process:
        result, errors = finish(process)
    assert_adds_up(result)
    assert result["kills"] >= 1
    assert f"The worker was killed {result['kills']} times" in errors
    assert_nothing_is_left(tmp_path)


@pytest.mark.faults
@pytest.mark.broker
@pytest.mark.timeout(PATIENCE_S + 60)
def test_counts_add_up_on_a_real_kafka(tmp_path: Path) -> None:
    with KafkaServer() as server:
        with demo(tmp_path, "--seconds", "20", "--broker", f"kafka://{server.bootstrap}") as process:
            result, errors = finish(process)
        assert_adds_up(result)
        assert "Embedded broker" not in errors
        assert_nothing_is_left(tmp_path)


NOT_IN_CI = pytest.param("sending events", signal.SIGTERM, marks=pytest.mark.faults)


@pytest.mark.parametrize(
    ("moment", "number"),
    [("starting the worker", signal.SIGTERM), NOT_IN_CI, ("sending events", signal.SIGINT)],
)
def test_a_signal_ends_it_cleanly_at_any_time(tmp_path: Path, moment: str, number: signal.Signals) -> None:
    with demo(tmp_path) as process:
        wait_for(process, moment)
        assert len(still_running(tmp_path)) == 4  # the demo, its broker, its board, its worker
        process.send_signal(number)
        result, errors = finish(process)
    assert "nothing is left running" in errors
    assert result["events"] >= result["applied"]
    assert_nothing_is_left(tmp_path)


def test_the_board_answers_and_is_optional(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        port = re.search(r"http://127.0.0.1:(\d+)/", wait_for(process, "The board is at"))
        assert port
        wait_for(process, "sending events")
        with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/api/session", timeout=30) as answer:
            assert json.load(answer)["auth"] == "none"
    with demo(tmp_path, "--no-board") as process:
        wait_for(process, "sending events")
        assert len(still_running(tmp_path)) == 3
        process.send_signal(signal.SIGINT)
        _, errors = finish(process)
    assert "The board" not in errors


@pytest.mark.faults  # a busy machine comes to no alert within the time
def test_counts_add_up_after_a_click_on_the_board(tmp_path: Path) -> None:
    with demo(tmp_path, "--seconds", "30") as process:
        port = re.search(r"http://127.0.0.1:(\d+)/", wait_for(process, "The board is at"))
        assert port
        wait_for(process, "sending events")
        until = time.monotonic() + PATIENCE_S
        while not acknowledges_an_alert(f"http://127.0.0.1:{port[1]}"):
            assert time.monotonic() < until
        result, errors = finish(process)
    assert result["controls"] == 1
    assert_adds_up(result)
    assert "every event counted once" in errors


def test_sigkill_leaves_no_process(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        wait_for(process, "starting the worker")
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(children, timeout=10)
        assert [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []


def test_the_log_of_a_failed_worker_is_printed(tmp_path: Path) -> None:
    with demo(tmp_path, VITALS_POLICY="/nowhere/policy.toml") as process:
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "The worker ended with code 2" in errors
    assert "/nowhere/policy.toml" in errors
    assert_nothing_is_left(tmp_path)


def test_an_unreachable_broker_is_named(tmp_path: Path) -> None:
    with demo(tmp_path, "--broker", "kafka://127.0.0.1:1") as process:
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "127.0.0.1:1" in errors
    assert_nothing_is_left(tmp_path)

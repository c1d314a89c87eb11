"""`vitals status`: what is a problem, what a worker's endpoints say, and the screen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from prometheus_client import generate_latest
from typer.testing import CliRunner

from agents.cli.main import app
from agents.dlq.groups import Group as LetterGroup
from agents.kafka.client import BrokerError
from agents.status import report as reporting
from agents.status.broker import Group, Lag, Member, Output
from agents.status.workers import ask
from agents.worker.monitoring.metrics import Telemetry
from schemas.sources import BUILT_IN

NOW_MS = 1_800_000_000_000
STABLE = Group("account-vitals", "Stable", [Member("faust", "10.0.0.1", "one", {"billing": [0], "surveys": [0]})])


def lags(committed: int | None = 10, end: int = 10, partition: int = 0) -> list[Lag]:
    waiting = end - (committed or 0)
    return [
        Lag("billing", partition, committed, end, waiting, NOW_MS - 90_000),
        Lag("surveys", partition, 5, 5, 0, None),
    ]


class Broker:
    """A broker whose answers are given; of `inputs` the last is repeated."""

    def __init__(self, group: Group, inputs: list[list[Lag]]) -> None:
        self._group, self._inputs = group, list(inputs)

    def group(self) -> Group:
        return self._group

    def inputs(self) -> list[Lag]:
        return self._inputs.pop(0) if len(self._inputs) > 1 else self._inputs[0]

    def outputs(self) -> list[Output]:
        return [Output("health.scores", NOW_MS - 5_000)]

    def close(self) -> None:
        pass


@pytest.fixture
def status(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def run(group: Group, inputs: list[list[Lag]], *arguments: str, letters: int = 0) -> Any:
        open_letters = [LetterGroup("billing.dlq", "bad_utf8", letters, last=NOW_MS)] if letters else []
        monkeypatch.setattr(reporting, "Broker", lambda *_: Broker(group, inputs))
        monkeypatch.setattr(reporting, "NO_PROGRESS_S", 0.0)
        monkeypatch.setattr(reporting, "_PAUSE_S", 0.0)
        monkeypatch.setattr("agents.status.report.letters.groups_of", lambda *_: open_letters)
        monkeypatch.setattr("agents.status.report.time.time", lambda: NOW_MS / 1000)
        monkeypatch.setenv("VITALS_COMMIT_INTERVAL_S", "0.2")
        return CliRunner().invoke(app, ["status", *arguments])

    return run


SCREEN = """\
group account-vitals: stable, 1 worker
  one at 10.0.0.1: partitions 0

input    waiting  newest record  waiting by partition
billing  0        90 s ago       -
surveys  0        none           -

output         newest record
health.scores  5 s ago

no open dead letters

no problems
"""


def test_a_deployment_without_problems_is_shown_and_ends_with_0(status: Callable[..., Any]) -> None:
    shown = status(STABLE, [lags()])
    assert (shown.exit_code, shown.stdout) == (0, SCREEN)


def test_dead_letters_are_shown_and_no_problem(status: Callable[..., Any]) -> None:
    shown = status(STABLE, [lags()], letters=3)
    assert shown.exit_code == 0
    assert "billing.dlq        bad_utf8  3       0 s ago" in shown.stdout


@pytest.mark.parametrize(
    ("group", "inputs", "problem"),
    [
        (Group("g", "Empty", []), [lags()], "no worker runs in the group g (state Empty)"),
        (Group("g", "PreparingRebalance", STABLE.members), [lags()], "partitions are being assigned"),
        (STABLE, [lags(partition=1)], "no worker has the partition 1"),
        (STABLE, [lags(3)], "partition 0: 7 records wait, and none was committed"),
        (STABLE, [lags(None)], "partition 0: 10 records wait, and none was committed"),
    ],
)
def test_a_problem_is_named_and_ends_with_1(
    status: Callable[..., Any], group: Group, inputs: list[list[Lag]], problem: str
) -> None:
    shown = status(group, inputs)
    assert shown.exit_code == 1
    (line,) = [line for line in shown.stdout.splitlines() if line.startswith("problem: ")]
    assert problem in line


def test_records_that_wait_while_others_are_committed_are_no_problem(status: Callable[..., Any]) -> None:
    shown = status(STABLE, [lags(3), lags(3), lags(4)])
    assert shown.exit_code == 0, shown.stdout
    assert "0: 7" in shown.stdout


def test_a_partition_whose_other_topic_is_committed_makes_progress(status: Callable[..., Any]) -> None:
    moved = [lags(3)[0], Lag("surveys", 0, 6, 6, 0, None)]
    assert status(STABLE, [lags(3), moved]).exit_code == 0


class Handler(BaseHTTPRequestHandler):
    telemetry: Telemetry

    def do_GET(self) -> None:
        ready = b'{"ok":false,"problems":["state is being recovered"]}'
        self.send_response(503 if self.path == "/readyz" else 200)
        self.end_headers()
        self.wfile.write(ready if self.path == "/readyz" else generate_latest(self.telemetry.registry))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def worker() -> Iterator[str]:
    telemetry = Handler.telemetry = Telemetry(BUILT_IN)
    telemetry.describe("template@1")
    telemetry.state_rows.set(12)
    telemetry.restore_remaining.set(340)
    telemetry.watermark.labels("billing").set(NOW_MS / 1000 - 7200)
    telemetry.stalled.labels("surveys", "0").set(1)
    telemetry.stalled.labels("billing", "0").set(0)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_what_a_worker_says_is_shown(status: Callable[..., Any], worker: str) -> None:
    answer = ask(f"{worker}/")
    assert (answer.policy, answer.accounts, answer.restore_left) == ("template@1", 12, 340)
    assert answer.idle_sources == ["surveys"]
    shown = status(STABLE, [lags()], "--worker", worker)
    assert shown.exit_code == 1
    assert f"problem: {worker}: state is being recovered" in shown.stdout
    assert "billing  2 h ago" in shown.stdout


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "file:///etc/passwd", "nonsense"])
def test_a_worker_that_does_not_answer_is_a_problem(url: str) -> None:
    assert ask(url).problems[0].startswith("no answer from a worker: ")


def test_a_broker_that_does_not_answer_ends_the_command_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        msg = "no Kafka broker at 127.0.0.1:9"
        raise BrokerError(msg)

    monkeypatch.setattr(reporting, "Broker", refuse)
    ended = CliRunner().invoke(app, ["status"])
    assert ended.exit_code == 1
    assert "no Kafka broker" in ended.stderr

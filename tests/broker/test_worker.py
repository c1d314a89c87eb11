"""A real worker on a real Kafka: what an operator sees of it, and exact window boundaries whatever topics do."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from agents.worker.monitoring.watchdog import EXIT_STUCK
from tests.broker.jars import tool
from tests.faults import verdict
from tests.faults.deployment import GROUP, Deployment
from tests.faults.events import END_MS, HOUR_MS, USAGE, company, event
from tests.faults.worker_process import ROOT, WORKER, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.broker

STATIC_RETURN_S = 20
"""The session timeout of the test that kills and returns: whoever waits it out is not back before."""


def vitals(deployment: Deployment, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command against a deployment's broker."""
    return subprocess.run(
        [sys.executable, "-m", "agents", *arguments],
        env=clean_environment(deployment.settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Give a deployment whose topics the command has created and whose worker has applied a company's months."""
    with Deployment(tmp_path_factory.mktemp("worker"), topics=False) as deployment:
        asked = vitals(deployment, "topics", "--json")
        assert asked.returncode == 1
        assert all("missing" in row["problem"] for row in json.loads(asked.stdout))
        created = vitals(deployment, "topics", "--create", "--json")
        assert created.returncode == 0, created.stderr
        assert all(row["created"] and row["problem"] is None for row in json.loads(created.stdout))
        deployment.send(company(40, 30))
        deployment.start()
        deployment.until_done()
        yield deployment


def test_topics_are_shown_and_none_is_missing(settled: Deployment) -> None:
    shown = vitals(settled, "topics")
    assert shown.returncode == 0
    for topic in (*verdict.INPUTS, verdict.SCORES, verdict.ALERTS, f"{GROUP}-accounts-changelog"):
        assert topic in vitals(settled, "topics", "--json").stdout
    assert "missing" not in shown.stdout


def test_check_finds_no_problem_with_settings_policy_and_broker(settled: Deployment) -> None:
    checked = vitals(settled, "check", "--json")
    assert checked.returncode == 0, checked.stderr
    report = json.loads(checked.stdout)
    assert report["problems"] == []
    assert len(report["measures"]) == 5


def test_explain_agrees_with_the_last_score(settled: Deployment) -> None:
    account, message = min(settled.scores().items())
    answer = vitals(settled, "explain", account, "--json")
    assert answer.returncode == 0, answer.stderr
    explained = json.loads(answer.stdout)
    score = message["scores"]["health"]
    assert explained["value"] == score["value"]
    assert {factor["measure"]: factor["contribution"] for factor in explained["factors"]} == {
        factor["measure"]: factor["contribution"] for factor in score["factors"]
    }
    assert account in vitals(settled, "explain", account).stdout
    unknown = vitals(settled, "explain", "nobody")
    assert (unknown.returncode, "nobody" in unknown.stderr) == (1, True)


def test_the_worker_answers_for_its_health(settled: Deployment) -> None:
    (worker,) = settled.workers
    for path in ("/healthz", "/readyz"):
        answer = worker.ask(path)
        assert answer is not None
        assert answer[0] == 200, answer
        assert json.loads(answer[1]) == {"ok": True, "problems": []}
    assert (worker.ask("/else") or (0, ""))[0] == 404


def test_promtool_accepts_the_metrics(settled: Deployment) -> None:
    (worker,) = settled.workers
    answer = worker.ask("/metrics")
    assert answer is not None
    done = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=answer[1], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_metrics_count_what_was_done(settled: Deployment) -> None:
    (worker,) = settled.workers
    samples = worker.samples()
    figures = settled.judge()
    applied = sum(count for (outcome, _), count in samples["vitals_events_total"].items() if outcome == "applied")
    assert applied == figures["applied"]
    assert sum(samples["vitals_score_changes_total"].values()) == figures["changes"]
    assert sum(samples["vitals_alerts_total"].values()) == figures["alerts"]
    assert sum(samples["vitals_accounts"].values()) == figures["accounts"]
    accounts = {account for account in settled.scores() if account in (worker.ask("/metrics") or (0, ""))[1]}
    assert not accounts, "no account is named in a metric"


@pytest.mark.faults
def test_a_topic_that_lags_far_behind_leaves_every_boundary_exact(tmp_path: Path) -> None:
    """The tickets are written long after all other events and are read in small fetches; the others wait for them."""
    events = company(60, 60, seed=5)
    tickets = [message for message in events if message.topic == "support-tickets"]
    others = [message for message in events if message.topic != "support-tickets"]
    # A broker that answers with little at a time brings the topics in turn, not together.
    with Deployment(tmp_path, broker={"fetch.max.bytes": "8192"}, catch_up="exact", catch_up_lag=50) as deployment:
        deployment.send(others)
        deployment.send(tickets)
        deployment.start()
        deployment.until_done()
        assert deployment.judge(episodes=True)["replayed"] == 0


def test_a_worker_asked_to_end_ends_in_time_and_frees_its_partitions(tmp_path: Path) -> None:
    with Deployment(tmp_path, session_timeout_s=STATIC_RETURN_S) as deployment:
        deployment.send(company(40, 20))
        worker = deployment.start()
        deployment.until_settled(1)
        assert deployment.stop(worker) == 0
        assert '"event": "stopped"' in worker.log_text()
        deployment.start()
        deployment.until_done()
        assert deployment.judge()["replayed"] == 0


@pytest.mark.faults
def test_a_killed_worker_that_returns_does_not_wait_for_its_session_to_end(tmp_path: Path) -> None:
    events = company(40, 20)
    half = len(events) // 2
    with Deployment(tmp_path, session_timeout_s=300) as deployment:
        deployment.send(events[:half])
        worker = deployment.start()
        deployment.until_done()
        deployment.kill(worker)
        deployment.send(events[half:])
        deployment.start()
        # The session would last five minutes; the patience here is less.
        deployment.until_done(patience_s=120)
        deployment.judge()


@pytest.mark.faults
@pytest.mark.parametrize("end", ["signal", "death of one"])
def test_several_processes_share_the_work_and_end_together(tmp_path: Path, end: str) -> None:
    with Deployment(tmp_path) as deployment:
        sent = deployment.send(company(40, 20))
        worker = deployment.start(entry=[*WORKER, "--processes", "2"])
        deployment.until(lambda: not deployment.not_committed(), "all committed")
        second = copy.copy(worker)
        second.web_port += 1

        def shares() -> list[int]:
            return [process.settled().total() for process in (worker, second)]

        # The one that joined first may have done everything before the other came: its partitions move later.
        deployment.until(lambda: all(shares()), "both have partitions")
        # A partition that has just moved is counted by its new process once that has restored it.
        deployment.until(lambda: sum(shares()) == sent, "both have settled everything")
        children = psutil.Process(worker.pid).children()
        assert len(children) == 2
        if end == "signal":
            assert deployment.stop(worker) == 0
        else:
            children[0].kill()
            deployment.workers.remove(worker)
            assert worker.wait(60) not in (0, None)
        gone, alive = psutil.wait_procs(children, timeout=10)
        assert (len(gone), alive) == (2, [])


@pytest.mark.faults
def test_a_worker_whose_loop_stands_still_ends_itself(tmp_path: Path) -> None:
    """SIGSTOP on the broker leaves the loop turning; here an entry of the test blocks the loop itself."""
    entry = tmp_path / "standing_still.py"
    entry.write_text(
        f"import sys, time\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from agents.cli.main import app\nfrom agents.worker.tasks.processor import Processor\n"
        "async def take(self, fetched):\n    time.sleep(600)\n"
        "Processor.take = take\n"
        "app(['worker'], prog_name='vitals')\n",
        "utf-8",
    )
    with Deployment(tmp_path, watchdog_s=10) as deployment:
        deployment.send([event(USAGE, "1", "acct-1", END_MS - HOUR_MS)])
        worker = deployment.start(entry=[str(entry)])
        deployment.workers.remove(worker)
        assert worker.wait(60) == EXIT_STUCK
        assert '"event": "stuck"' in worker.log_text()
        deployment.start()
        deployment.until_done()
        assert deployment.judge()["applied"] == 1

"""Row 21: each role with exactly the rights of the table starts and works, and a right that is missing is named."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from agents.kafka.rights import ROLES, Right
from agents.kafka.rights_check import missing_rights
from schemas.sources import BUILT_IN
from schemas.topics import ALERTS, CHANGES, MAPPER_DLQ, WEBHOOK_DLQ
from tests.broker.authorized import Authorized
from tests.broker.kafka_server import free_port
from tests.broker.redis_server import RedisServer
from tests.driving.boards import TOKEN
from tests.faults import topic_log
from tests.faults.deployment import GROUP, PATIENCE_S
from tests.faults.events import END_MS, USAGE, company, event
from tests.faults.receivers import Receiver, start_sink
from tests.faults.worker_process import ROOT, WorkerProcess, clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faults.conftest import Figures

pytestmark = pytest.mark.broker

PREFIX = "acme."
WEBHOOK_KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BOARD = ("-m", "agents", "board")


@pytest.fixture(
    scope="module",
    params=[pytest.param("", id="no prefix"), pytest.param(PREFIX, id="prefix", marks=pytest.mark.faults)],
)
def authorized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authorized]:
    """A broker with scores, changes, alerts and a dead letter, written by a worker with the rights of the table.

    The topics have the prefix that the parameter names.
    """
    folder = tmp_path_factory.mktemp("authorized")
    with Authorized(folder, request.param) as started:
        deployment = started.deployment
        started.grant("worker")
        bad = event(USAGE, "bad", "acme", END_MS)._replace(value=b"no JSON")
        deployment.send([*company(10, 40, seed=5), bad])
        # The second start has something to read in the outputs of the first.
        for instance in ("first", "second"):
            worker = deployment.start(instance, **started.settings("worker"))
            deployment.until_done()
            assert deployment.stop(worker) == 0, worker.log_text()
            assert "denied" not in worker.log_text()
            assert started.password("worker") not in worker.log_text()
        assert deployment.documents(ALERTS)
        assert deployment.documents(CHANGES)
        yield started


def vitals(settings: dict[str, Any], *arguments: str, patience_s: float = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agents", *arguments]
    return subprocess.run(
        command,
        env=clean_environment(settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=patience_s,
        check=False,
    )


@pytest.mark.faults
@pytest.mark.parametrize("role", ROLES)
def test_each_right_that_is_missing_is_named_and_no_other(
    authorized: Authorized, fault: Callable[[str, Figures], None], role: str
) -> None:
    granted = authorized.grant(role)
    for right in granted:
        authorized.deny(role, right)
        authorized.until_missing(role, expected_without(granted, right))
        authorized.allow(role, [right])
    authorized.until_missing(role, [])
    where = " with a prefix" if authorized.deployment.prefix else ""
    fault(f"21 each right of {role} taken away{where}", {"rights": len(granted)})


def expected_without(rights: list[Right], right: Right) -> list[Right]:
    """What is missing without a right: nothing if another right includes it."""
    others = {other.operation for other in rights if other[:2] == right[:2] and other != right}
    included = right.operation == "DESCRIBE" and others & {"READ", "WRITE", "ALTER"}
    return [] if included else [right]


def test_check_prints_the_missing_right_and_fails(authorized: Authorized) -> None:
    settings = authorized.settings("worker")
    done = vitals(settings, "check")
    assert done.returncode == 0, done.stdout + done.stderr
    alerts = Right("topic", authorized.deployment.prefix + ALERTS, "READ")
    for right in (alerts, Right("transactional id", f"{GROUP}-*", "WRITE")):
        authorized.deny("worker", right)
        authorized.until_missing("worker", [right])
        done = vitals(settings, "check")
        authorized.allow("worker", [right])
        assert done.returncode == 1
        assert f"user worker is denied {right}" in done.stdout
    authorized.until_missing("worker", [])


def test_a_worker_without_a_right_ends_at_once_and_names_it(authorized: Authorized) -> None:
    right = Right("topic", authorized.deployment.prefix + ALERTS, "READ")
    authorized.deny("worker", right)
    authorized.until_missing("worker", [right])
    done = vitals({**authorized.settings("worker"), "web_port": 0}, "worker", patience_s=60)
    authorized.allow("worker", [right])
    authorized.until_missing("worker", [])
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"user worker is denied {right};")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("role", "arguments"),
    [
        ("rollup", ["rollup", "--once"]),
        ("rows", ["rows", "--once"]),
        ("explain", ["explain", "ACCOUNT"]),
        ("topics", ["topics", "--create"]),
        ("import", ["import", str(ROOT / "deploy/examples/events.jsonl"), "--dry-run"]),
    ],
)
def test_a_command_works_with_the_rights_of_the_table(authorized: Authorized, role: str, arguments: list[str]) -> None:
    account = next(iter(authorized.deployment.scores()))
    command = [account if argument == "ACCOUNT" else argument for argument in arguments]
    authorized.grant(role)
    done = vitals({**authorized.settings(role), "rollup_port": 0, "peers_port": 0}, *command)
    assert done.returncode == 0, done.stdout + done.stderr


def test_dead_letters_are_replayed_with_the_rights_of_the_table(authorized: Authorized) -> None:
    authorized.grant("dlq")
    topic = f"{authorized.deployment.prefix}{USAGE}.dlq"
    settings = authorized.settings("dlq")
    (group,) = json.loads(vitals(settings, "dlq", "list", "--json").stdout)
    assert (group["topic"], group["open"]) == (topic, 1)
    done = vitals(settings, "dlq", "replay")
    assert done.stdout == f"{topic} malformed_json: 1 replayed\n1 letters\n", done.stderr
    refused = vitals(settings, "dlq", "replay", "--topic", WEBHOOK_DLQ)
    assert f"Workers and all sinks read {authorized.deployment.prefix}{ALERTS}, so" in refused.stderr


def test_rights_on_all_topics_of_one_prefix_are_enough(authorized: Authorized) -> None:
    """Without a prefix: on all topics. The user of a role gets them that no other test uses."""
    user, deployment = "plugin", authorized.deployment
    operations = ("READ", "WRITE", "CREATE", "DESCRIBE_CONFIGS")
    on_topics = [Right("topic", f"{deployment.prefix}*", operation) for operation in operations]
    rights = [*on_topics, *(right for right in authorized.rights("worker") if right.kind != "topic")]
    authorized.allow(user, rights)
    deployment.until(lambda: not missing_rights(authorized.loaded(user), "worker"), "the rights are known")
    worker = deployment.start("third", **authorized.settings(user))
    deployment.until(worker.is_ready, "the worker is ready")
    assert deployment.stop(worker) == 0, worker.log_text()
    assert "denied" not in worker.log_text()
    assert "rights_missing" not in worker.log_text()
    for right in rights:
        authorized.deny(user, right)


def test_a_mapper_works_with_the_rights_of_the_table(authorized: Authorized, tmp_path: Path) -> None:
    """And with the right to read the topic of another system, whose name has no prefix."""
    mapping = tmp_path / "mapping.toml"
    fields = '{ account_id = "customer", user_id = "who", time = { path = "at", unit = "ms" } }'
    mapping.write_text(f'[[map]]\nname = "logins"\nto = "{USAGE}"\nfields = {fields}\n', "utf-8")
    deployment = authorized.deployment
    deployment.kafka.create_topics({"crm-export": {"partitions": topic_log.PARTITIONS}})
    values = [json.dumps({"customer": "acme", "who": "u", "at": END_MS}).encode(), b"no JSON"]
    messages = [topic_log.Message("crm-export", b"1", value, END_MS) for value in values]
    topic_log.send(deployment.kafka.bootstrap, messages)
    authorized.grant("mapper")
    authorized.allow("mapper", [Right("topic", "crm-export", "READ")])
    command = ("mapper", "crm-export", "--mapping", str(mapping), "--once")
    done = vitals({**authorized.settings("mapper"), "mapper_port": 0}, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    (letter,) = deployment.read([MAPPER_DLQ.name])[MAPPER_DLQ.name]
    assert letter.value == values[1]


def test_peers_works_with_the_rights_of_the_table(authorized: Authorized, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    compared = 'stat = "count"\nwindow = "30d"\ncompare = "peers"'
    policy.write_text(
        'name = "peers"\n[measures.usage]\nsource = "product-usage"\n' + compared + "\n"
        'normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }\nweight = 1\n'
        '[scores.health]\nmin_change = 1.0\nbands = [{ name = "all", from = 0 }]\n',
        encoding="utf-8",
    )
    authorized.grant("peers")
    done = vitals({**authorized.settings("peers"), "policy": policy}, "peers", "--once")
    assert done.returncode == 0, done.stderr


def test_the_shadow_is_compared_with_the_rights_of_the_table(authorized: Authorized) -> None:
    authorized.grant("shadow")
    done = vitals(authorized.settings("shadow"), "shadow")
    # It was read, and no worker has written to it.
    assert f"\n{authorized.deployment.prefix}health.shadow is empty" in done.stderr


def test_a_board_works_with_the_rights_of_the_table(authorized: Authorized, tmp_path: Path) -> None:
    authorized.grant("board")
    port = free_port()
    settings = {**authorized.settings("board"), "board_port": port, "board_token": TOKEN}
    board = WorkerProcess(settings, web_port=port, log=tmp_path / "board.log", entry=BOARD)
    try:
        authorized.deployment.until(lambda: (board.ask("/healthz") or (0, ""))[0] == 200, "the board is ready")
        letters = f"{authorized.deployment.prefix}{USAGE}.dlq"
        assert letters in [group["topic"] for group in asked(port, "/api/dead-letters")["items"]]
        asked(port, f"/api/dead-letters/{letters}/malformed_json/replay", b"{}")
        account = next(iter(authorized.deployment.scores()))
        timeline = asked(port, f"/api/accounts/{account}/timeline")
        assert "event" in {item["kind"] for item in timeline["items"]}
        assert timeline["problem"] is None
        assert "denied" not in board.log_text()
        assert "rights_missing" not in board.log_text()
    finally:
        board.kill()
    assert authorized.password("board") not in board.log_text()


def asked(port: int, path: str, body: bytes | None = None) -> Any:
    """What the board answers to a GET, or with a body to a POST; an error raises."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers)
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310  our own board
        return json.load(response)


@pytest.mark.parametrize("name", ["alertmanager", "webhook", "notify"])
def test_an_alert_sink_works_with_the_rights_of_the_table(authorized: Authorized, tmp_path: Path, name: str) -> None:
    authorized.grant(name)
    with Receiver(lambda *_: 422 if name == "webhook" else 200) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/x"
        settings = {
            **authorized.settings(name),
            "alertmanager_url": url,
            "webhook_url": url,
            "webhook_secret": WEBHOOK_KEY,
            "webhook_allow_private": "127.0.0.0/8",
            "notify_urls": f"json://127.0.0.1:{receiver.port}/x",
            "notify_allow_private": "127.0.0.0/8",
            **{f"{each}_port": 0 for each in ("alertmanager", "webhook", "notify")},
        }
        log = tmp_path / f"{name}.log"
        path = "/x/api/v2/alerts" if name == "alertmanager" else "/x"
        sink = start_sink(name, settings, log)
        try:
            # Rejected deliveries are dead letters, which need a right too.
            wanted = "dead_letter_written" if name == "webhook" else "sink_started"
            authorized.deployment.until(
                lambda: bool(receiver.got(path)) and wanted in log.read_text(encoding="utf-8"), "an alert is delivered"
            )
            assert sink.poll() is None
        finally:
            sink.terminate(60)
    assert "commit_failed" not in log.read_text(encoding="utf-8")


def test_a_redis_sink_works_with_the_rights_of_the_table(authorized: Authorized, tmp_path: Path) -> None:
    authorized.grant("redis")
    with RedisServer(tmp_path) as redis:
        settings = {**authorized.settings("redis"), "redis_url": redis.url, "redis_metrics_port": 0}
        done = vitals(settings, "sink", "redis", "--once")
        assert done.returncode == 0, done.stderr
        assert redis.client().scard("vitals:scores")


def test_a_demo_works_with_the_rights_of_the_table(authorized: Authorized) -> None:
    authorized.grant("demo")
    settings = {key: value for key, value in authorized.settings("demo").items() if key not in {"group", "policy"}}
    done = vitals(settings, "demo", "--json", "--seconds", "10", "--broker", settings["broker"], patience_s=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["events"]


def test_status_works_with_the_rights_of_the_table(authorized: Authorized) -> None:
    authorized.grant("status")
    done = vitals(authorized.settings("status"), "status")
    (problem,) = (line for line in done.stdout.splitlines() if line.startswith("problem:"))
    assert "no worker runs in the group" in problem
    right = Right("group", GROUP, "DESCRIBE")
    authorized.deny("status", right)
    authorized.until_missing("status", [right])
    done = vitals(authorized.settings("status"), "status")
    assert done.returncode == 1
    assert f"user status is denied {right};" in done.stderr


@pytest.mark.faults
@pytest.mark.parametrize("prefix", ["", PREFIX], ids=["no prefix", "prefix"])
def test_state_works_with_the_rights_of_the_table_and_changes_nothing_without_one(tmp_path: Path, prefix: str) -> None:
    """On a broker of its own: topics that have grown are of no use to the other roles."""
    with Authorized(tmp_path, prefix) as authorized:
        deployment, settings = authorized.deployment, authorized.settings("state")
        authorized.grant("worker")
        deployment.send(company(10, 20, seed=5))
        worker = deployment.start(**authorized.settings("worker"))
        deployment.until_done()
        assert deployment.stop(worker) == 0
        rights = authorized.grant("state")

        def run(*arguments: object) -> None:
            deadline = time.monotonic() + PATIENCE_S
            done = vitals(settings, "state", *map(str, arguments))
            while "stop all workers first" in done.stderr and time.monotonic() < deadline:  # until its session ends
                done = vitals(settings, "state", *map(str, arguments))
            assert done.returncode == 0, done.stdout + done.stderr

        run("export", tmp_path / "state.jsonl")
        run("import", tmp_path / "state.jsonl", "--replace")
        run("quarantine", min(deployment.scores()), "--to", tmp_path / "aside.jsonl")
        (right,) = (right for right in rights if (right.name, right.operation) == (prefix + ALERTS, "ALTER"))
        authorized.deny("state", right)
        authorized.until_missing("state", [right])
        grown = ("repartition", "--partitions", "8", str(tmp_path / "before.jsonl"))
        refused = vitals(settings, "state", *grown)
        assert refused.returncode == 1
        assert f"user state is denied {right} (no `repartition`)" in refused.stderr
        run("rebuild", "--dry-run")
        authorized.allow("state", [right])
        authorized.until_missing("state", [])
        with deployment.kafka.admin() as admin:
            admin.create_partitions(dict.fromkeys(BUILT_IN.under(prefix).of_topics, 8))
        run(*grown)
        settings["partitions"] = 8
        run("rebuild")

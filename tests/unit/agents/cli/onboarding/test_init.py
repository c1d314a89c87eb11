"""`vitals init`: from files to a first score and a board, what it asks, and that it overwrites nothing."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from agents.cli.main import app
from agents.cli.onboarding import init
from agents.proposal import directory
from agents.settings.settings import load_settings
from tests.broker.kafka_server import free_port
from tests.unit.agents.cli.invoke import EVENTS, ROOT, vitals

HOOKS = ROOT / "deploy/examples/exports/stripe.jsonl"
TEMPLATE = Path(directory.__file__).parent / "templates" / "compose.yml"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def commands(readme: Path) -> list[list[str]]:
    """The commands of a README, without the word `vitals`."""
    return [shlex.split(line) for line in re.findall(r"^vitals (.*)$", readme.read_text("utf-8"), re.MULTILINE)]


def served(port: int) -> Any:
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/accounts", timeout=5) as answer:
                return json.loads(answer.read())
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError("the board does not answer")


def test_from_files_to_scores_and_a_board_without_editing(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("exports").mkdir()
    Path("exports/events.jsonl").write_bytes(EVENTS.read_bytes())
    Path("exports/stripe.jsonl").write_bytes(HOOKS.read_bytes())
    done = vitals("init", "--from", "exports", "--into", "health")
    assert done.exit_code == 0, done.stderr
    monkeypatch.chdir("health")
    score, check, board, *_ = commands(Path("README.md"))
    assert [score[:2], board[:2]] == [["score", "../exports"], ["board", "../exports"]]
    scored = vitals(*score)
    assert scored.exit_code == 0, scored.stderr
    accounts = {json.loads(line)["account_id"] for line in scored.stdout.splitlines()}
    assert {"acme", "birch"} <= accounts
    checked = vitals(*check)
    assert checked.exit_code == 0, checked.stderr
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "agents", *board, "--port", str(port)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    try:
        assert {row["account_id"] for row in served(port)["items"]} == accounts
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def test_a_file_that_exists_is_named_and_nothing_is_written() -> None:
    Path(".env").write_text("mine", "utf-8")
    done = vitals("init", "--source", "surveys")
    assert (done.exit_code, done.stderr.split(":")[0]) == (2, ".env")
    assert [path.name for path in Path().iterdir()] == [".env"]
    assert vitals("init", "--source", "surveys", "--force").exit_code == 0
    assert "VITALS_BOARD_TOKEN=" in Path(".env").read_text("utf-8")


def test_settings_are_accepted_and_only_their_owner_reads_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    done = vitals("init", "--source", "billing", "--broker", "kafka://kafka-1.example:9092;kafka-2.example:9092")
    assert done.exit_code == 0, done.stderr
    assert stat.S_IMODE(Path(".env").stat().st_mode) == 0o600
    sourced = subprocess.run(
        ["sh", "-c", "set -a; . ./.env; set +a; env"], capture_output=True, text=True, check=True, timeout=60
    )
    for name, value in (line.split("=", 1) for line in sourced.stdout.splitlines() if line.startswith("VITALS_")):
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.bootstrap_servers() == ["kafka-1.example:9092", "kafka-2.example:9092"]
    assert settings.policy == Path("policy.toml")
    assert settings.board_token is not None
    assert ".env" in Path(".gitignore").read_text("utf-8").splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--source", "usage"), "--source usage: expected one or more of product-usage, "),
        (("--source", "billing", "--name", "a b"), "--name 'a b': letters, digits, - and _, at most 40"),
        (("x.jsonl",), "give event files after --from: vitals init --from FILES"),
        (("--from", "-"), "--from -: standard input can be read once only"),
        (("--from", "absent.jsonl"), "absent.jsonl: No such file or directory"),
        ((), "nobody can be asked here: give --from FILES, or --source with one of product-usage, "),
        (("--from", "desk.csv"), "desk.csv: its records are no events, and no preset makes events of them"),
        (("--from", "accounts.csv"), "the files have no event of product-usage, "),
    ],
)
def test_a_mistake_ends_the_command_and_writes_nothing(arguments: tuple[str, ...], message: str) -> None:
    Path("desk.csv").write_text("Ticket,Customer\n1,acme\n", "utf-8")
    Path("accounts.csv").write_text("account_id,time,name\nacme,1772000000000,Acme\n", "utf-8")
    done = vitals("init", *arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith(message)
    assert sorted(path.name for path in Path().iterdir()) == ["accounts.csv", "desk.csv"]


def test_a_person_is_asked_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "is_terminal", lambda: True)
    done = CliRunner().invoke(app, ["init"], input="\nn\ny\nn\nn\ny\n")
    assert done.exit_code == 0, done.stderr
    policy = Path("policy.toml").read_text("utf-8")
    assert set(re.findall(r'^source = "(.*)"$', policy, re.MULTILINE)) == {"support-tickets", "engagement"}
    done = CliRunner().invoke(app, ["init", "--force"], input=f"{EVENTS}\n")
    assert done.exit_code == 0, done.stderr
    assert "# 4 accounts: min " in Path("policy.toml").read_text("utf-8")


def test_where_nothing_tells_accounts_apart_it_says_so() -> None:
    Path("billing.csv").write_text("account_id,time,kind\na,2026-03-27,upgraded\nb,2026-03-27,upgraded\n", "utf-8")
    done = vitals("init", "--from", "billing.csv")
    assert done.exit_code == 0, done.stderr
    reason = "a guess, since billing has no event of kind invoice_overdue or payment_failed"
    assert done.stdout.splitlines()[:2] == [
        "2 accounts; nothing tells them apart, so the usual measures:",
        f"  payment_problems: 0 points at 3, 100 at 0: {reason}",
    ]


def test_a_mapping_that_is_named_is_used_and_not_written() -> None:
    exports = ROOT / "deploy/examples/exports"
    done = vitals("init", "--from", exports, "--mapping", "stripe", "--mapping", exports / "desk.toml")
    assert done.exit_code == 0, done.stderr
    assert not Path("mappings").exists()
    score, *_ = commands(Path("README.md"))
    assert score[-4:] == ["--mapping", "stripe", "--mapping", str(exports / "desk.toml")]
    assert vitals(*score).exit_code == 0


def test_the_compose_file_has_the_images_and_services_of_the_project() -> None:
    ours, project = (YAML(typ="safe").load(path.read_text("utf-8")) for path in (TEMPLATE, ROOT / "docker-compose.yml"))
    assert ours["services"]["kafka"] == project["services"]["kafka"]
    for name, model in (("topics", "topics"), ("worker", "worker-1"), ("board", "board")):
        service, like = dict(ours["services"][name]), dict(project["services"][model])
        environment, model_environment = service.pop("environment"), like.pop("environment")
        assert environment.pop("VITALS_POLICY") == "/etc/vitals/policy.toml"
        assert environment.items() <= model_environment.items()
        for key in ("build", "profiles"):
            like.pop(key, None)
        if name == "worker":
            like.pop("ports")
        assert service.pop("volumes") == ["./policy.toml:/etc/vitals/policy.toml:ro"]
        assert service == like
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", TEMPLATE],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert checked.returncode == 0 or "name" in checked.stdout, checked.stdout

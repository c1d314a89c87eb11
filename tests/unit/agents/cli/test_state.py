"""`vitals state` as people and scripts meet it: what it prints, its exit statuses and its files."""

from __future__ import annotations

import copy
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from agents.settings.settings import Settings
from agents.state import cluster as clusters
from schemas.sources import Sources
from schemas.topics import changelog
from tests.driving.deployment import MemoryCluster, MemoryWorkers
from tests.driving.engine import plan_of
from tests.faults.events import SHORT, USAGE, company
from tests.unit.agents.cli.invoke import vitals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GROUP = "account-vitals"


@pytest.fixture(scope="module")
def left_by_workers() -> MemoryCluster:
    """A broker in memory whose workers have applied a company's history by `SHORT`; no test changes it."""
    memory = MemoryCluster(GROUP, 4)
    memory.send(company(20, 5))
    MemoryWorkers(memory, Settings(group=GROUP, time="event"), plan_of(SHORT)).run()
    return memory


@pytest.fixture
def cluster(left_by_workers: MemoryCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MemoryCluster:
    """A copy of that broker, and `SHORT` is the policy that is set."""
    memory = copy.deepcopy(left_by_workers)

    @contextmanager
    def opened(_settings: Settings, _command: str, _sources: Sources) -> Iterator[MemoryCluster]:
        yield memory

    monkeypatch.setattr(clusters, "open_cluster", opened)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.toml").write_text(SHORT, "utf-8")
    monkeypatch.setenv("VITALS_POLICY", str(tmp_path / "policy.toml"))
    return memory


def test_export_and_import_say_what_they_did(cluster: MemoryCluster) -> None:
    done = vitals("state", "export", "state.jsonl.gz")
    assert done.exit_code == 0, done.stderr
    accounts = len(cluster.scores())
    assert done.stdout.startswith(f"{accounts} accounts (")
    assert done.stdout.splitlines()[-1] == f"policy {plan_of(SHORT).label}"
    refused = vitals("state", "import", "state.jsonl.gz")
    assert (refused.exit_code, "--replace" in refused.stderr) == (1, True)
    done = vitals("state", "import", "state.jsonl.gz", "--replace", "--json")
    assert json.loads(done.stdout)["accounts"] == accounts


def test_an_export_does_not_replace_a_file(cluster: MemoryCluster, tmp_path: Path) -> None:
    del cluster
    (tmp_path / "there").write_text("mine")
    done = vitals("state", "export", "there")
    assert (done.exit_code, done.stderr) == (2, "there: the file exists; give another name\n")
    assert (tmp_path / "there").read_text() == "mine"
    missing = vitals("state", "export", "nowhere/state.jsonl")
    assert (missing.exit_code, "nowhere" in missing.stderr) == (2, True)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda lines: lines[:-1], "it has no last line"),
        (lambda lines: [lines[0], *lines[2:]], "its checksum is another"),
        (lambda lines: [*lines, lines[-1]], "lines after the last one"),
        (lambda lines: [lines[0].replace(b'"format":1', b'"format":9'), *lines[1:]], "format 9, but this version"),
        (lambda _lines: [b"hello\n"], "not a complete file"),
        (lambda _lines: [], "it has no last line"),
    ],
)
def test_a_damaged_file_is_refused_before_anything_is_written(
    cluster: MemoryCluster, tmp_path: Path, damage: object, said: str
) -> None:
    assert callable(damage)
    assert vitals("state", "export", "good").exit_code == 0
    (tmp_path / "bad").write_bytes(b"".join(damage((tmp_path / "good").read_bytes().splitlines(keepends=True))))
    before = len(cluster.logs[changelog(GROUP).name, 0])
    done = vitals("state", "import", "bad", "--replace")
    assert (done.exit_code, done.stderr.startswith("bad: "), said in done.stderr) == (1, True, True), done.stderr
    assert len(cluster.logs[changelog(GROUP).name, 0]) == before


def test_a_cut_compressed_file_is_refused(cluster: MemoryCluster, tmp_path: Path) -> None:
    del cluster
    assert vitals("state", "export", "good.gz").exit_code == 0
    whole = (tmp_path / "good.gz").read_bytes()
    (tmp_path / "bad.gz").write_bytes(whole[: len(whole) // 2])
    done = vitals("state", "import", "bad.gz", "--replace")
    assert (done.exit_code, "not a complete file" in done.stderr) == (1, True)


def test_rebuild_says_what_is_missing_and_a_dry_run_that_nothing_was_done(cluster: MemoryCluster) -> None:
    cluster.removed[USAGE, 1] = 3
    done = vitals("state", "rebuild", "--dry-run")
    assert done.exit_code == 0, done.stderr
    assert "records of partitions 0, 1, 2, 3 would be deleted" in done.stdout
    assert "missing: product-usage partition 1 before offset 3; the first that is left is of 2025-06-" in done.stdout
    assert vitals("state", "rebuild", "--partition", "9").exit_code == 1
    wrong = vitals("state", "rebuild", "--partition", "1", "--topic", USAGE)
    assert wrong.exit_code == 2
    restarted = vitals("state", "rebuild", "--topic", USAGE, "--dry-run")
    assert "would be set to its first records (partition: offset 0: 0, 1: 3, 2: 0, 3: 0)" in restarted.stdout


def test_quarantine_says_where_the_records_are(cluster: MemoryCluster, tmp_path: Path) -> None:
    account = next(iter(cluster.scores()))
    done = vitals("state", "quarantine", account)
    assert done.exit_code == 0, done.stderr
    assert "written to vitals-quarantine.jsonl and deleted" in done.stdout
    line = json.loads((tmp_path / "vitals-quarantine.jsonl").read_text().splitlines()[0])
    assert (line["account"], line["topic"]) == (account, changelog(GROUP).name)


def test_quarantine_of_an_unknown_account_is_an_error(cluster: MemoryCluster, tmp_path: Path) -> None:
    del cluster
    done = vitals("state", "quarantine", "nobody")
    assert (done.exit_code, "has no record of account nobody" in done.stderr) == (1, True)
    assert not (tmp_path / "vitals-quarantine.jsonl").exists()


def test_repartition_needs_topics_that_have_grown_and_says_what_comes_next(cluster: MemoryCluster) -> None:
    refused = vitals("state", "repartition", "--partitions", "8")
    assert (refused.exit_code, "product-usage (4)" in refused.stderr) == (1, True)
    for topic in list(cluster.counts):
        if "." not in topic and not topic.startswith(("vitals", GROUP)):
            cluster.counts[topic] = 8
    done = vitals("state", "repartition", "--partitions", "8")
    assert done.exit_code == 0, done.stderr
    assert "account-vitals-state.jsonl.gz has the state before" in done.stdout
    assert done.stdout.splitlines()[-1] == "start all processes with VITALS_PARTITIONS=8"


def test_an_unreadable_record_is_named_with_the_way_out(cluster: MemoryCluster) -> None:
    name = changelog(GROUP).name
    account = next(iter(cluster.scores()))
    number = next(number for number in range(4) if b"r" + account.encode() in cluster.newest(number))
    cluster.append(name, number, b"r" + account.encode(), b"\x01cut")
    offset = len(cluster.logs[name, number]) - 1
    done = vitals("state", "export", "state")
    assert done.exit_code == 1
    assert f"{name} partition {number} offset {offset} key b'r{account}' (account {account})" in done.stderr
    assert f"`vitals state quarantine {account}`" in done.stderr


def test_a_wrong_start_is_bad_usage(cluster: MemoryCluster) -> None:
    del cluster
    done = vitals("state", "import", "f", "--start", "middle")
    assert (done.exit_code, done.stderr) == (2, "--start 'middle': expected beginning or end\n")
    absent = vitals("state", "import", "absent")
    assert (absent.exit_code, absent.stderr) == (2, "absent: No such file or directory\n")

"""Rivals must do the same work, and their progress must be read right, or their speed means nothing."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tests.bench import rules, workload
from tests.bench.engines import THROUGHPUT
from tests.bench.rivals import account as rival
from tests.bench.rivals.commands import last_count, recovery_offset
from tests.bench.workloads import expected_scores
from tests.broker.jars import REPOSITORY

ACCOUNTS = 50
RIVALS = Path(__file__).parent


def test_python_rivals_give_the_same_scores() -> None:
    events = workload.make_workload(4_000, ACCOUNTS)
    rows = {account: rival.new_row() for account in range(ACCOUNTS)}
    for account, time_ms, count in zip(events.account, events.time_ms, events.count, strict=True):
        rival.add(rows[int(account)], int(time_ms), int(count))
    last_day = int(events.time_ms[-1]) // rules.DAY_MS
    expected = workload.final_scores(events, np.zeros(ACCOUNTS, dtype=np.int64))
    current = [account for account, row in rows.items() if row["day"] == last_day]
    assert len(current) > ACCOUNTS / 3
    for account in current:
        assert rival.score(rows[account]) == pytest.approx(expected[workload.account_id(account)])


def test_last_change_of_a_rival_without_timers_is_within_a_point_of_the_expected_score() -> None:
    events = workload.make_workload(4_000, ACCOUNTS)
    rows: dict[str, rival.Row] = {}
    published: dict[str, float] = {}
    for account, time_ms, count in zip(events.account, events.time_ms, events.count, strict=True):
        account_id = workload.account_id(int(account))
        event = {"account_id": account_id, "time": int(time_ms), "count": int(count)}
        change = rival.change_after(rows.setdefault(account_id, rival.new_row()), event)
        if change is not None:
            assert change["from"] == published.get(account_id)
            published[account_id] = change["to"]
    expected = expected_scores(events, ACCOUNTS, timers=False)
    assert expected.keys() == published.keys()
    assert max(abs(published[account_id] - score) for account_id, score in expected.items()) < rules.MIN_CHANGE
    assert expected != expected_scores(events, ACCOUNTS, timers=True)


@pytest.mark.parametrize("project", ["kafka_streams", "flink"])
def test_java_rivals_have_the_constants_of_the_rules(project: str) -> None:
    sources = "".join(path.read_text("utf-8") for path in (RIVALS / project / "src").glob("*.java"))
    for name in ("WINDOW_DAYS", "EVENTS_HUNDRED_AT", "VOLUME_HUNDRED_AT", "MIN_CHANGE"):
        written = re.search(rf"{name} = ([\d.]+);", sources)
        assert written is not None
        assert float(written[1]) == getattr(rules, name)


def test_names_of_engines_are_unique() -> None:
    names = [engine.name for engine in THROUGHPUT]
    assert len(names) == len(set(names))


def test_bytewax_progress_is_the_oldest_snapshot_of_each_source_partition(tmp_path: Path) -> None:
    snapshots = {
        "part-0.sqlite3": [
            ("scores.usage", "0-in", 7, "80 04 95 04 00 00 00 00 00 00 00 4d 10 27 2e"),
            ("scores.usage", "0-in", 8, "80 04 95 04 00 00 00 00 00 00 00 4d f8 2a 2e"),
            ("scores.usage", "3-in", 8, "80 04 95 06 00 00 00 00 00 00 00 4a 40 42 0f 00 2e"),
        ],
        "part-1.sqlite3": [
            ("scores.usage", "1-in", 7, "80 04 4b 64 2e"),
            ("scores.usage", "2-in", 1, "80 04 95 06 00 00 00 00 00 00 00 4a fe ff ff ff 2e"),
            ("scores.count.stateful", "account-1", 3, "80 04 4b 09 2e"),
        ],
    }
    for name, rows in snapshots.items():
        with closing(sqlite3.connect(tmp_path / name)) as database, database:
            database.execute("CREATE TABLE snaps (step_id TEXT, state_key TEXT, snap_epoch INTEGER, ser_change BLOB)")
            written = [(step, key, epoch, bytes.fromhex(offset)) for step, key, epoch, offset in rows]
            database.executemany("INSERT INTO snaps VALUES (?, ?, ?, ?)", written)
    assert recovery_offset(tmp_path) == 10_000 + 1_000_000 + 100


def test_pathway_progress_is_the_last_whole_line(tmp_path: Path) -> None:
    file = tmp_path / "counts.jsonl"
    assert last_count(file) == 0
    file.write_bytes(b'{"events":10,"diff":1}\n{"events":25,"diff":1}\n{"events":30')
    assert last_count(file) == 25


def test_copies_get_numbers_and_end_with_the_first_one_that_fails() -> None:
    program = "import sys, time; time.sleep(60 * (sys.argv[1] == '0')); sys.exit(3)"
    command = [sys.executable, "-m", "tests.bench.rivals.copies", "2", sys.executable, "-c", program, "{copy}"]
    done = subprocess.run(command, cwd=REPOSITORY, timeout=50, check=False)
    assert done.returncode == 3

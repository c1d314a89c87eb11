"""`vitals rows` while its processes are killed: each change becomes all its rows, and what is written twice is equal.

Two processes share the partitions of a real Kafka; one after the other is killed while changes arrive.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pytest
from kafka.errors import UnknownTopicOrPartitionError

from schemas.topics import CHANGES, SCORE_ROWS
from tests.broker.child import ChildProcess
from tests.broker.kafka_server import free_port
from tests.faults import topic_log
from tests.faults.deployment import Deployment
from tests.faults.worker_process import ROOT, clean_environment
from tests.unit.stream.consumers.test_score_rows import CHANGE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.conftest import Figures

pytestmark = pytest.mark.broker

ACCOUNTS = [f"acct-{number}" for number in range(40)]
ERASED = ACCOUNTS[7]
SLICES = 3
IN_A_SLICE = 600

Rows = dict[bytes, dict[tuple[str, int], set[bytes]]]
"""By key, then by change and number of the factor: every content that was written."""


def rows_process(deployment: Deployment, folder: Path) -> ChildProcess:
    settings = {"broker": deployment.kafka.url, "partitions": topic_log.PARTITIONS, "rows_port": free_port()}
    command = [sys.executable, "-m", "agents", "rows"]
    return ChildProcess(command, log=folder / "rows.log", env=clean_environment(settings), cwd=ROOT)


def change(number: int) -> topic_log.Message:
    account = ACCOUNTS[number % len(ACCOUNTS)]
    value = msgspec.json.encode(msgspec.structs.replace(CHANGE, id=f"c{number}", account_id=account))
    return topic_log.Message(CHANGES, account.encode(), value, CHANGE.time + number)


def records_in(deployment: Deployment) -> int:
    """How many records the topic of rows has, repeated ones too; to read them all takes a second."""
    try:
        return sum(topic_log.ends(deployment.kafka.bootstrap, [SCORE_ROWS.name]).values())
    except UnknownTopicOrPartitionError:
        return 0


def written(deployment: Deployment) -> tuple[Rows, int, dict[bytes, bytes | None]]:
    """The rows, how many records they are, and the last value of each key."""
    rows: Rows = defaultdict(lambda: defaultdict(set))
    last: dict[bytes, bytes | None] = {}
    records = deployment.read([SCORE_ROWS.name])[SCORE_ROWS.name]
    for record in records:
        assert record.key is not None
        last[record.key] = record.value
        if record.value is not None:
            row = msgspec.json.decode(record.value)
            rows[record.key][row["change_id"], row["factor_number"]].add(record.value)
    return rows, len(records), last


def test_every_change_has_all_its_rows_whatever_is_killed(
    tmp_path: Path, fault: Callable[[str, Figures], None]
) -> None:
    expected = {
        (f"c{number}", factor) for number in range(SLICES * IN_A_SLICE) for factor in range(len(CHANGE.factors))
    }

    def has_written(least: int) -> bool:
        return records_in(deployment) >= least and sum(map(len, written(deployment)[0].values())) >= least

    with Deployment(tmp_path) as deployment:
        processes = [rows_process(deployment, tmp_path) for _ in range(2)]
        try:
            for number in range(SLICES):
                first = number * IN_A_SLICE
                deployment.send([change(first + more) for more in range(IN_A_SLICE)])
                deployment.until(partial(has_written, first), "what was sent before is written")
                victim = number % 2
                processes[victim].kill()
                processes[victim] = rows_process(deployment, tmp_path)
            deployment.send([topic_log.Message(CHANGES, ERASED.encode(), None, CHANGE.time)])
            deployment.until(
                lambda: has_written(len(expected)) and written(deployment)[2][ERASED.encode()] is None,
                "all is written",
            )
        finally:
            for process in processes:
                process.terminate(30)
        rows, records, last = written(deployment)
    assert {name for of_key in rows.values() for name in of_key} == expected
    assert all(len(contents) == 1 for of_key in rows.values() for contents in of_key.values())
    assert {key for key, value in last.items() if value is None} == {ERASED.encode()}
    fault("1 processes of vitals rows killed", {"kills": SLICES, "rows": len(expected), "records": records})

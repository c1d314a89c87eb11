"""An event in the wrong partition, forwarded while its own partition moves to another worker, on a real Kafka."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.deployment import Deployment
from tests.faults.events import END_MS, HOUR_MS, USAGE, accounts_of, event, misplaced
from tests.faults.topic_log import PARTITIONS

pytestmark = pytest.mark.broker

LATE = Path(__file__).with_name("worker_that_forwards_late.py")


def test_an_event_forwarded_while_its_partition_moves_is_applied_once(tmp_path: Path) -> None:
    accounts = [account for partition in range(PARTITIONS) for account in accounts_of(partition, 3)]
    events = [misplaced(event(USAGE, f"u-{account}", account, END_MS - HOUR_MS, user_id="u")) for account in accounts]
    with Deployment(tmp_path, merge_wait_s=0) as deployment:
        sent = deployment.send(events)
        worker = deployment.start("one", entry=[str(LATE)])
        deployment.until(
            lambda: f'"records": {sent},' in worker.log_text(), "all events are fetched and none is applied"
        )
        deployment.start("two")
        deployment.until_done()
        assert all(worker.settled().total() for worker in deployment.workers), "both have partitions"
        figures = deployment.judge()
        assert (figures["forwarded"], figures["applied"]) == (sent, sent)

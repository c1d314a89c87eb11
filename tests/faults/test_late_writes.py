"""Row 24: what a worker that was cut off has sent reaches the broker after another worker has taken over."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer

from tests.broker.kafka_server import free_port
from tests.faults import verdict
from tests.faults.deployment import GROUP, SLOWLY, Deployment
from tests.faults.events import company
from tests.faults.holding_proxy import HoldingProxy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.worker_process import WorkerProcess

pytestmark = [pytest.mark.broker, pytest.mark.timeout(900)]

SESSION_S = 6


@pytest.mark.faults
def test_records_that_arrive_after_a_takeover_change_nothing(tmp_path: Path, fault: Callable) -> None:
    """The last record of every account is the truth, changes are one chain, and no alert is published twice.

    The first worker is cut off in the middle of its work: what it sends is kept on the way until the other one has
    applied everything, and only then delivered.
    """
    target = free_port()
    with (
        HoldingProxy(target) as proxy,
        Deployment(
            tmp_path,
            broker=SLOWLY,
            listeners={"PROXIED": target},
            advertised={"PROXIED": proxy.port},
            session_timeout_s=SESSION_S,
            catch_up="exact",
            catch_up_lag=100,
        ) as deployment,
    ):
        sent = deployment.send(company(60, 60))
        first = deployment.start("one", broker=f"kafka://127.0.0.1:{proxy.port}")
        second = deployment.start("two")
        deployment.until(
            lambda: first.settled().total() > sent / 20 and second.settled().total() > 0, "both are at work"
        )
        proxy.hold()
        deployment.kills += 1  # to the one that takes over it is dead
        deployment.until(lambda: second.settled().total() == sent, "the other one has applied everything")
        deployment.until(lambda: not deployment.not_committed(), "and committed it")
        assert proxy.held_requests > 0, "there is something to arrive late"
        proxy.release()
        # The group gives it partitions again: until it has restored them, no count is complete.
        deployment.until(
            lambda: first.settled().total() > 0 and first.is_ready() and second.is_ready(), "both are back at work"
        )
        deployment.until_done()
        figures = deployment.judge()
        assert figures["applied"] == sent
        for topic in (verdict.CHANGES, verdict.ALERTS):
            twice = [name for name, count in ids(deployment, topic).items() if count > 1]
            assert not twice, f"published twice on {topic}: {twice[:10]}"
    fault("24 late writes of a worker that was cut off", {**figures, "held requests": proxy.held_requests})


def ids(deployment: Deployment, topic: str) -> Counter[str]:
    """How often each message of a topic was published."""
    return Counter(message["id"] for message in deployment.documents(topic))


@pytest.mark.faults
def test_a_worker_whose_producer_is_refused_restores_its_tasks(tmp_path: Path, fault: Callable) -> None:
    """Someone else takes the ids of its tasks, without the group: it closes them, and takes them over again."""
    with Deployment(tmp_path, broker=SLOWLY) as deployment:
        sent = deployment.send(company(60, 60))
        worker = deployment.start()
        for number in range(3):
            deployment.until_settled(sent * (number + 1) / 6)
            asyncio.run(steal(deployment.kafka.bootstrap, number))
            deployment.kills += 1  # what its tasks have not committed is applied again
            deployment.until(lambda: refused(worker) == deployment.kills, "its records are refused")
        deployment.until_done()
        figures = deployment.judge()
        assert figures["applied"] == sent
        assert deployment.workers == [worker]
    fault("24 a task's producer taken away x3", figures)


def refused(worker: WorkerProcess) -> int:
    """How often the broker has refused the producer of one of its tasks."""
    return worker.log_text().count('"event": "producer_refused"')


async def steal(bootstrap: str, task: int) -> None:
    """Use the transactional id of a task, and write its new epoch into the partition of the scores."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{GROUP}-{task}")
    await producer.start()
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(verdict.SCORES, b"{}", key=b"stolen", partition=task)
        await producer.abort_transaction()
    finally:
        await producer.stop()

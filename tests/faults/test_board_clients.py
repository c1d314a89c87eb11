"""Row 19: 200 clients of a board, some slow, some reconnecting: memory is bounded, each gets the last scores."""

from __future__ import annotations

import asyncio
import http.client
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.broker.kafka_server import free_port
from tests.driving.boards import NOON, score
from tests.faults.board_clients import Habit, Swarm
from tests.faults.deployment import Deployment
from tests.faults.topic_log import Message
from tests.faults.worker_process import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faults.conftest import Figures

pytestmark = [pytest.mark.broker, pytest.mark.timeout(600)]  # about 30 s on an idle machine

ACCOUNTS = [f"account-{number:03}" for number in range(200)]
ROUNDS = 100
HABITS: dict[Habit, int] = {"reads": 120, "stops": 40, "comes back": 40}
ROW_BYTES = 400
"""A row has more bytes: a queue for a client that does not read would hold more than `ROUNDS` rows an account."""
MOST_GROWTH = 60 * 1024 * 1024
BOARD = ("-m", "agents", "board")
PATIENCE_S = 240.0


def value_of(account: int, number: int) -> float:
    return float((account + number * 7) % 101)


def messages(number: int) -> Iterator[Message]:
    for index, account in enumerate(ACCOUNTS):
        record = score(account, value_of(index, number), NOON + number, revision=number)
        yield Message(record.topic, record.key, record.value, record.stamp)


async def watched(board: WorkerProcess, deployment: Deployment) -> tuple[Swarm, int, float]:
    """The clients after all rounds, the growth of the board's memory, and how long the last one took to catch up."""
    process, peak = psutil.Process(board.pid), 0
    before = process.memory_info().rss
    swarm = Swarm(board.web_port, HABITS)
    try:
        await swarm.start()
        for number in range(1, ROUNDS + 1, 20):
            batch = [message for round_number in range(number, number + 20) for message in messages(round_number)]
            await asyncio.to_thread(deployment.send, batch)
            peak = max(peak, process.memory_info().rss)
        swarm.read_on()
        truth = {account: value_of(index, ROUNDS) for index, account in enumerate(ACCOUNTS)}
        took_s = await swarm.until_known(truth, PATIENCE_S)
        peak = max(peak, process.memory_info().rss)
    finally:
        await swarm.stop()
    return swarm, peak - before, took_s


@pytest.mark.faults
def test_200_clients_some_slow_some_coming_back(tmp_path: Path, fault: Callable[[str, Figures], None]) -> None:
    with Deployment(tmp_path) as deployment:
        deployment.send(messages(0))
        port = free_port()
        board = WorkerProcess(
            {"broker": deployment.kafka.url, "board_port": port}, web_port=port, log=tmp_path / "board.log", entry=BOARD
        )
        try:
            deployment.until(lambda: (board.ask("/readyz") or (0, ""))[0] == http.client.OK, "the board is ready")
            swarm, growth, took_s = asyncio.run(watched(board, deployment))
            assert board.is_running, board.last_words()
        finally:
            board.kill()
    piled_up = HABITS["stops"] * ROUNDS * len(ACCOUNTS) * ROW_BYTES
    assert growth < MOST_GROWTH < piled_up / 4
    assert all(client.connections > 1 for client in swarm.clients if client.habit == "comes back")
    assert all(client.connections == 1 for client in swarm.clients if client.habit != "comes back")
    fault(
        "19 200 clients of a board, some slow, some coming back",
        {
            "records": ROUNDS * len(ACCOUNTS),
            "events": sum(client.events for client in swarm.clients),
            "connections": sum(client.connections for client in swarm.clients),
            "resets": sum(client.resets for client in swarm.clients),
            "board grew by KiB": growth // 1024,
            "last client knew after ms": round(took_s * 1000),
        },
    )

"""Taking a task over: what is asked of the transaction coordinator, in which order, and what its refusals mean."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from aiokafka import errors as kafka_errors
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest

from agents.worker.commit import fencing
from agents.worker.commit.fencing import ROTATE_FROM, FencingError, TaskProducers

if TYPE_CHECKING:
    from collections.abc import Coroutine

TOPICS = ("scores", "alerts")
LARGEST_EPOCH = 2**15 - 2


class Coordinator:
    """The transaction coordinator of a broker: one id with its epoch, and what it is to refuse."""

    def __init__(self, epoch: int = -1) -> None:
        self.producer_id, self.epoch = 7, epoch
        self.refusals: dict[str, list[int]] = {}
        """Error codes of the next answers, by kind of request."""
        self.asked: list[str] = []
        self.markers: set[tuple[int, int, str, int]] = set()
        """Producer id and epoch, topic and partition of every marker that was written."""
        self.knows = True
        self.opened: list[tuple[int, int]] = []
        self.abandoned: list[Any] = []
        self.rejoins = 0
        self._added: list[tuple[str, int]] = []

    def producer(self) -> Any:
        return "shared"

    async def ask_coordinator(self, transactional_id: str, request: Any) -> Any:
        kind = {InitProducerIdRequest: "init", AddPartitionsToTxnRequest: "add", EndTxnRequest: "end"}[type(request)]
        self.asked.append(f"{kind} {transactional_id}")
        refusals = self.refusals.get(kind, [])
        code = refusals.pop(0) if refusals else 0
        if kind == "add":
            if not code:
                self._added = [(topic, number) for topic, numbers in request._topics for number in numbers]
            return SimpleNamespace(errors=[("scores", [(2, 55 if code else 0)]), ("alerts", [(2, code)])])
        if kind == "end" and not code:
            assert request._transaction_result is False
            identity = (request._producer_id, request._producer_epoch)
            self.markers |= {(*identity, *partition) for partition in self._added}
        if kind == "init" and not code:
            self.producer_id, self.epoch = (
                (self.producer_id + 1, 0) if self.epoch >= LARGEST_EPOCH else (self.producer_id, self.epoch + 1)
            )
        return SimpleNamespace(error_code=code, producer_id=self.producer_id, producer_epoch=self.epoch)

    def knows_request(self, api_key: int) -> bool:
        del api_key
        return self.knows

    async def idempotent_producer(self, producer_id: int, epoch: int) -> Any:
        self.opened.append((producer_id, epoch))
        return SimpleNamespace(name=f"{producer_id}/{epoch}")

    async def abandon(self, producer: Any) -> None:
        self.abandoned.append(producer.name)

    async def rejoin(self) -> None:
        self.rejoins += 1


class Stage:
    """The producers of a worker that asks this coordinator."""

    def __init__(self, coordinator: Coordinator, renew_s: float = 3600) -> None:
        self.coordinator = coordinator
        self.errors: list[BaseException] = []
        self.holds = True
        self.producers = TaskProducers(
            coordinator,
            "group",
            TOPICS,
            may_write=lambda: self.holds,
            on_fatal=self.errors.append,
            renew_s=renew_s,
        )


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 30))


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fencing, "PAUSE_S", 0.001)


def test_a_takeover_marks_every_partition_of_the_task_and_writes_with_a_newer_epoch() -> None:
    async def scenario() -> None:
        stage = Stage(Coordinator(epoch=4))
        assert stage.producers.of(2) is None
        await stage.producers.take_over([2])
        assert stage.coordinator.asked == ["init group-2", "add group-2", "end group-2", "init group-2"]
        assert stage.coordinator.markers == {(7, 5, "scores", 2), (7, 5, "alerts", 2)}
        assert stage.coordinator.opened == [(7, 6)]
        producer = stage.producers.of(2)
        await stage.producers.take_over([2])
        assert stage.producers.of(2) is producer, "a task that has its producer keeps it"
        stage.producers.close(2)
        assert stage.producers.of(2) is None
        await stage.producers.stop()
        assert stage.coordinator.abandoned == ["7/6"]
        await stage.producers.take_over([2])
        assert stage.coordinator.opened == [(7, 6), (7, 8)]
        await stage.producers.stop()
        assert (stage.errors, stage.coordinator.rejoins) == ([], 0)

    run(scenario())


@pytest.mark.parametrize("kind", ["init", "add", "end"])
@pytest.mark.parametrize(
    "error",
    [
        kafka_errors.ConcurrentTransactions,
        kafka_errors.GroupCoordinatorNotAvailableError,
        kafka_errors.NotCoordinatorForGroupError,
        kafka_errors.GroupLoadInProgressError,
        kafka_errors.UnknownTopicOrPartitionError,
        kafka_errors.InvalidProducerEpoch,
        kafka_errors.UnknownError,
    ],
)
def test_a_refused_step_is_tried_again_from_the_beginning(
    kind: str, error: type[kafka_errors.BrokerResponseError]
) -> None:
    async def scenario() -> None:
        stage = Stage(Coordinator())
        stage.coordinator.refusals[kind] = [error.errno] * 3
        await stage.producers.take_over([2])
        (identity,) = stage.coordinator.opened
        assert identity == (stage.coordinator.producer_id, stage.coordinator.epoch)
        assert {(epoch, topic) for _, epoch, topic, _ in stage.coordinator.markers} >= {
            (identity[1] - 1, topic) for topic in TOPICS
        }
        await stage.producers.stop()
        assert stage.errors == []

    run(scenario())


def test_nothing_is_written_before_the_markers_are_in_every_partition() -> None:
    """While they are on their way the coordinator answers CONCURRENT_TRANSACTIONS."""

    async def scenario() -> None:
        stage = Stage(Coordinator())
        stage.coordinator.refusals["init"] = [0, *[kafka_errors.ConcurrentTransactions.errno] * 5]
        await stage.producers.take_over([2])
        assert stage.coordinator.asked == ["init group-2", "add group-2", "end group-2", *["init group-2"] * 6]
        assert stage.coordinator.opened == [(7, 1)]
        await stage.producers.stop()

    run(scenario())


def test_an_id_is_replaced_before_its_epochs_run_out_and_only_once_the_one_before_is_shut_out() -> None:
    """A takeover that began with another id would shut out nobody."""

    async def scenario() -> None:
        stage = Stage(Coordinator(epoch=ROTATE_FROM - 2))
        await stage.producers.take_over([2])
        assert stage.coordinator.markers == {(7, ROTATE_FROM - 1, topic, 2) for topic in TOPICS}
        assert stage.coordinator.opened == [(8, 0)]
        await stage.producers.stop()

    run(scenario())


def test_a_takeover_ends_with_the_lease_and_asks_for_another_assignment() -> None:
    async def scenario() -> None:
        stage = Stage(Coordinator())
        stage.coordinator.refusals["init"] = [kafka_errors.GroupCoordinatorNotAvailableError.errno] * 10_000
        taking = asyncio.ensure_future(stage.producers.take_over([1, 2]))
        await asyncio.sleep(0.05)
        assert not taking.done()
        stage.holds = False
        await taking
        assert (stage.coordinator.opened, stage.coordinator.rejoins) == ([], 1)
        assert stage.producers.of(1) is stage.producers.of(2) is None

    run(scenario())


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("init", kafka_errors.TransactionalIdAuthorizationFailed),
        ("add", kafka_errors.TopicAuthorizationFailedError),
        ("add", kafka_errors.TransactionalIdAuthorizationFailed),
    ],
)
def test_a_missing_permission_ends_the_worker_and_is_named(
    kind: str, error: type[kafka_errors.BrokerResponseError]
) -> None:
    async def scenario() -> None:
        stage = Stage(Coordinator())
        stage.coordinator.refusals[kind] = [error.errno]
        await stage.producers.take_over([2])
        (raised,) = stage.errors
        assert isinstance(raised, FencingError)
        assert "grant WRITE and DESCRIBE on TransactionalId group- (prefixed)" in str(raised)

    run(scenario())


def test_a_broker_that_cannot_fence_is_named_once_and_all_tasks_share_a_producer() -> None:
    async def scenario() -> None:
        stage = Stage(Coordinator())
        stage.coordinator.knows = False
        stage.coordinator.refusals["init"] = [kafka_errors.UnknownError.errno] * 3
        with structlog.testing.capture_logs() as logs:
            await stage.producers.take_over([0, 1, 2])
            await stage.producers.take_over([3])
        assert [entry["event"] for entry in logs] == ["broker_cannot_fence"]
        assert len(stage.coordinator.asked) == 3
        shared = stage.producers.of(0)
        assert shared is not None
        assert shared.client == "shared"
        assert shared is stage.producers.of(3)
        stage.producers.close(0)
        await stage.producers.stop()
        assert (stage.coordinator.abandoned, stage.errors) == ([], [])

    run(scenario())


def test_an_id_is_used_from_time_to_time_with_the_same_epoch_and_in_one_topic() -> None:
    async def scenario() -> None:
        stage = Stage(Coordinator(), renew_s=0.01)
        stage.coordinator.refusals["add"] = [0, kafka_errors.GroupLoadInProgressError.errno]
        await stage.producers.take_over([2])
        for _ in range(1000):
            if (7, 1, "scores", 2) in stage.coordinator.markers:
                break
            await asyncio.sleep(0.01)
        assert (7, 1, "scores", 2) in stage.coordinator.markers
        assert (7, 1, "alerts", 2) not in stage.coordinator.markers
        assert stage.coordinator.epoch == 1
        await stage.producers.stop()
        asked = len(stage.coordinator.asked)
        await asyncio.sleep(0.05)
        assert len(stage.coordinator.asked) == asked, "a producer that is closed is not renewed"

    run(scenario())


def test_a_task_whose_id_someone_else_has_taken_is_closed_when_it_is_used() -> None:
    async def scenario() -> None:
        stage = Stage(Coordinator(), renew_s=0.01)
        lost: list[tuple[int, BaseException]] = []

        def lose(task: int, error: BaseException) -> None:
            lost.append((task, error))
            stage.producers.close(task)

        stage.producers.on_lost = lose
        stage.coordinator.refusals["add"] = [0, kafka_errors.InvalidProducerEpoch.errno]
        await stage.producers.take_over([2])
        for _ in range(1000):
            if lost:
                break
            await asyncio.sleep(0.01)
        assert [(task, type(error)) for task, error in lost] == [(2, kafka_errors.InvalidProducerEpoch)]
        await stage.producers.stop()
        assert stage.coordinator.abandoned == ["7/1"]

    run(scenario())


@pytest.mark.parametrize("error", [kafka_errors.GroupCoordinatorNotAvailableError, kafka_errors.UnknownError])
def test_a_worker_waits_for_the_coordinator_and_uses_the_id_of_no_task(
    error: type[kafka_errors.BrokerResponseError],
) -> None:
    async def scenario() -> None:
        stage = Stage(Coordinator())
        stage.coordinator.refusals["init"] = [error.errno] * 3
        await stage.producers.prepare()
        tries = 4 if error.retriable else 1
        assert stage.coordinator.asked == ["init group-start"] * tries
        assert (stage.errors, stage.coordinator.opened) == ([], [])

    run(scenario())

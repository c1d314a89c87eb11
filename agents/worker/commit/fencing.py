"""Fencing: a producer for each partition task, and an epoch that shuts out whoever wrote for the partition before.

Owns the producers of a worker and their transactional ids, `{group}-{partition}`. Kafka raises the epoch of such an id
each time a producer asks for it, and a partition refuses records with an older epoch than the newest it has seen. So a
worker that takes a task over asks for the id and writes the new epoch into every partition that the task writes to, by
an empty transaction that it aborts: records of the worker before it that are still on their way are refused from then
on. What the task publishes goes out in plain batches, with that id and epoch and without a transaction. Decision 31
says why. Called by `agents.worker.client.consumer` at an assignment, and by `agents.worker.commit.outbox`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka import errors as kafka_errors
from aiokafka.errors import KafkaError
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest

from agents.kafka.client import ONLY_KAFKA

log = structlog.get_logger()

LOST = (
    kafka_errors.ProducerFenced,
    kafka_errors.InvalidProducerEpoch,
    kafka_errors.InvalidProducerIdMapping,
    kafka_errors.OutOfOrderSequenceNumber,
    kafka_errors.UnknownProducerId,
)
"""What a broker answers a producer that must not write any more, or of whose records it has lost some."""
_DENIED = (
    kafka_errors.TransactionalIdAuthorizationFailed,
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.ClusterAuthorizationFailedError,
)
TRANSACTION_MS = 60_000
RENEW_S = 6 * 3600.0
"""Kafka forgets a transactional id that was not used for `transactional.id.expiration.ms` (7 days), and its epoch."""
ROTATE_FROM = 2**15 - 128
"""Near the largest epoch Kafka gives the next producer another id, which does not shut out the one before it."""
PREPARE_S = 60.0
ANSWER_S = 5.0
"""The longest wait for one answer. A takeover is a dozen of them, one after another, so it has no limit of its own."""
PAUSE_S = 0.1
_LOG_AFTER_S = 5.0


class FencingError(RuntimeError):
    """The broker does not let this worker use its transactional ids; the message says what to do."""


class Clients(Protocol):
    """What fencing asks of the Kafka client."""

    def producer(self) -> AIOKafkaProducer:
        """The worker's own producer, which belongs to no task."""

    async def ask_coordinator(self, transactional_id: str, request: Any) -> Any:
        """Send a request to the coordinator of a transactional id; return its answer."""

    def knows_request(self, api_key: int) -> bool:
        """Whether all brokers that we are connected to list a kind of request."""

    async def idempotent_producer(self, producer_id: int, epoch: int) -> AIOKafkaProducer:
        """Start a producer that writes with this id and epoch."""

    async def abandon(self, producer: AIOKafkaProducer) -> None:
        """Stop a producer without sending what waits in it."""

    async def rejoin(self) -> None:
        """Ask the group for a new assignment."""


class TaskProducer:
    """The producer of one task; without an id and epoch where the broker cannot fence."""

    def __init__(self, client: AIOKafkaProducer) -> None:
        """Use a started client."""
        self.client = client

    @property
    def ended(self) -> bool:
        """Whether the client has given up and will never send anything again."""
        task: asyncio.Task[None] | None = self.client._sender.sender_task
        return task is not None and task.done()

    def sequence(self, topic: str, partition: int) -> int | None:
        """The sequence number of the next record to a partition; None without an id and epoch."""
        manager = self.client._txn_manager
        return None if manager is None else int(manager.sequence_number(TopicPartition(topic, partition)))

    def rewind(self, topic: str, partition: int, sequence: int | None) -> None:
        """Go back to a sequence number: the records from there on were refused, or are sent once more as they were."""
        if sequence is not None:
            self.client._txn_manager._sequence_numbers[TopicPartition(topic, partition)] = sequence


class TaskProducers:
    """The producers of all tasks of a worker."""

    def __init__(
        self,
        clients: Clients,
        group: str,
        topics: Sequence[str],
        *,
        may_write: Callable[[], bool],
        on_fatal: Callable[[BaseException], None],
        renew_s: float = RENEW_S,
    ) -> None:
        """`topics` are those that a task writes to in the partition of its own number."""
        self.on_lost: Callable[[int, BaseException], None]
        """Called with a task whose id someone else has taken; it closes the task. Set by `agents.worker.wiring`."""
        self._clients = clients
        self._group = group
        self._topics = topics
        self._may_write = may_write
        self._on_fatal = on_fatal
        self._renew_s = renew_s
        self._producers: dict[int, TaskProducer] = {}
        self._renewals: dict[int, asyncio.Task[None]] = {}
        self._shared: TaskProducer | None = None
        """The one producer of all tasks, where the broker cannot fence."""
        self._leaving: set[asyncio.Task[None]] = set()

    def of(self, task: int) -> TaskProducer | None:
        """The producer of a task; None while it has none."""
        return self._shared or self._producers.get(task)

    async def prepare(self) -> None:
        """Wait until the broker's transaction coordinator answers; called before the worker joins the group.

        The first to ask in a cluster has Kafka create a topic, which can take longer than a session, and no heartbeat
        is sent while partitions are assigned. What else the broker answers is dealt with when a task is taken over.
        """
        deadline = time.monotonic() + PREPARE_S
        while time.monotonic() < deadline:
            try:
                await self._ask_for_id(f"{self._group}-start")
            except (KafkaError, OSError) as error:
                if isinstance(error, KafkaError) and not error.retriable:
                    return
                await asyncio.sleep(PAUSE_S)
            else:
                return

    async def take_over(self, tasks: Iterable[int]) -> None:
        """Open the producers of tasks that have none: when this returns, nobody else can write for these tasks.

        If that takes longer than the group counts on us, the group is asked for a new assignment.
        """
        if self._shared is None:
            opened = await asyncio.gather(*(self._open(task) for task in tasks if task not in self._producers))
            if not all(opened):
                await self._clients.rejoin()

    def close(self, task: int) -> None:
        """Stop the producer of a task, if it has one; what waits in it is not sent."""
        if (renewal := self._renewals.pop(task, None)) is not None:
            renewal.cancel()
        if (producer := self._producers.pop(task, None)) is not None:
            leaving = asyncio.get_running_loop().create_task(self._clients.abandon(producer.client))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    async def stop(self) -> None:
        """Stop all producers; called when the worker ends."""
        for task in list(self._producers):
            self.close(task)
        await asyncio.gather(*self._leaving)

    async def _open(self, task: int) -> bool:
        """Try until the producer of a task is open, or the group no longer counts on us; return whether it is open."""
        began = logged = time.monotonic()
        while self._may_write():
            try:
                producer_id, epoch = await self._shut_out(task)
                async with asyncio.timeout(3 * ANSWER_S):  # it connects, and asks for versions and metadata
                    client = await self._clients.idempotent_producer(producer_id, epoch)
            except _DENIED as error:
                self._on_fatal(self._denied(error))
                return True
            except kafka_errors.IncompatibleBrokerVersion:
                return self._share()
            except (KafkaError, OSError) as error:
                if isinstance(error, kafka_errors.UnknownError) and not self._is_kafka():
                    return self._share()
                if time.monotonic() - logged > _LOG_AFTER_S:
                    logged = time.monotonic()
                    log.warning("fencing_waits", partition=task, error=repr(error), for_s=round(logged - began))
                await asyncio.sleep(PAUSE_S)
            else:
                self._producers[task] = TaskProducer(client)
                self._renewals[task] = asyncio.get_running_loop().create_task(self._renew(task, producer_id, epoch))
                return True
        return False

    async def _shut_out(self, task: int) -> tuple[int, int]:
        """Write a new epoch of the task's id into all its partitions; return producer id and epoch to write with."""
        transactional_id = self._id(task)
        producer_id, epoch = await self._ask_for_id(transactional_id)
        await self._abort_empty(transactional_id, producer_id, epoch, task, self._topics)
        while True:
            # Until the epoch is in every partition, this is answered with CONCURRENT_TRANSACTIONS.
            producer_id, epoch = await self._ask_until_done(transactional_id)
            if epoch < ROTATE_FROM:
                return producer_id, epoch

    async def _ask_until_done(self, transactional_id: str) -> tuple[int, int]:
        while True:
            try:
                return await self._ask_for_id(transactional_id)
            except kafka_errors.ConcurrentTransactions:
                if not self._may_write():
                    raise
                await asyncio.sleep(PAUSE_S / 10)

    async def _ask_for_id(self, transactional_id: str) -> tuple[int, int]:
        request = InitProducerIdRequest(transactional_id, TRANSACTION_MS)
        answer = await self._ask(transactional_id, request)
        _check(answer.error_code)
        return answer.producer_id, answer.producer_epoch

    async def _abort_empty(
        self, transactional_id: str, producer_id: int, epoch: int, partition: int, topics: Sequence[str]
    ) -> None:
        """Begin a transaction over this partition of these topics, and abort it."""
        named = [(topic, [partition]) for topic in topics]
        request = AddPartitionsToTxnRequest(transactional_id, producer_id, epoch, named)
        answer = await self._ask(transactional_id, request)
        codes = [code for _, partitions in answer.errors for _, code in partitions]
        # One that was not tried stands beside the one that is the reason.
        for code in sorted(codes, key=lambda code: code == kafka_errors.OperationNotAttempted.errno):
            _check(code)
        ended = EndTxnRequest(transactional_id, producer_id, epoch, transaction_result=False)
        _check((await self._ask(transactional_id, ended)).error_code)

    async def _ask(self, transactional_id: str, request: Any) -> Any:
        """Ask the coordinator of an id; raises `TimeoutError` if it does not answer."""
        async with asyncio.timeout(ANSWER_S):
            return await self._clients.ask_coordinator(transactional_id, request)

    async def _renew(self, task: int, producer_id: int, epoch: int) -> None:
        """Use the id of a task from time to time, so that the broker does not forget it and its epoch."""
        while True:
            await asyncio.sleep(self._renew_s)
            try:
                # Of all the topics the one in which a marker counts for nothing: nobody computes with its offsets.
                await self._abort_empty(self._id(task), producer_id, epoch, task, self._topics[:1])
            except LOST as error:
                self.on_lost(task, error)
                return
            except (KafkaError, OSError) as error:
                log.warning("fencing_not_renewed", partition=task, error=repr(error), again_s=self._renew_s)

    def _share(self) -> bool:
        """Let all tasks write with one producer that nobody can shut out, and log it once."""
        if self._shared is None:
            self._shared = TaskProducer(self._clients.producer())
            log.warning(
                "broker_cannot_fence",
                means="records of a worker that was cut off can arrive late and overwrite newer ones",
                then="use Apache Kafka where scores must be right after a network fault",
            )
        return True

    def _is_kafka(self) -> bool:
        return self._clients.knows_request(ONLY_KAFKA)

    def _denied(self, error: BaseException) -> FencingError:
        return FencingError(
            f"the broker does not allow the transactional ids {self._group}-<partition> ({error!r}): grant WRITE and "
            f"DESCRIBE on TransactionalId {self._group}- (prefixed), and WRITE on the topics that the worker writes to"
        )

    def _id(self, task: int) -> str:
        return f"{self._group}-{task}"


def _check(code: int) -> None:
    """Raise the error of a broker's answer, if it is one."""
    if code:
        raise kafka_errors.for_code(code)

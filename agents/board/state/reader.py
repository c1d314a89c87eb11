"""Read the output topics from their beginning into a board, with a consumer without a group.

Owns two threads: one polls the consumer, one asks the broker for dead letters and the lag of the workers. The event
loop applies one batch at a time and the consumer waits for it, so memory is bounded. If the broker is unavailable, the
reader waits for it; any other error of a thread ends the board. Called by `agents.board.web.serve`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import wait
from typing import Any

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from agents.board.state.board import Board, Record
from agents.board.state.freshness import BrokerChecks
from agents.board.state.state import TOPICS
from agents.kafka.client import consumer_of
from agents.kafka.rights_check import require_rights
from agents.process.errors import error_text
from agents.settings.settings import Settings

_log = structlog.get_logger(__name__)

POLL_MS = 200
AT_ONCE = 500
REFRESH_S = 10.0
"""The reader looks for new topics and partitions this often."""
CHECK_S = 2.0


class Reader:
    """Reads topics into one board. `run` runs in its event loop until it is cancelled."""

    def __init__(self, settings: Settings, board: Board) -> None:
        """Create a reader that is not connected."""
        self._settings, self._board = settings, board
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._ended: asyncio.Future[None]

    def connect(self) -> KafkaConsumer:
        """A consumer without a group. Raises `BrokerError`, also for a right that a board cannot do without."""
        require_rights(self._settings, "board", sources=self._board.sources)
        return consumer_of(self._settings, max_poll_records=AT_ONCE)

    async def run(self, consumer: KafkaConsumer) -> None:
        """Read until cancelled, then close the consumer. Raises the error that ended one of the threads."""
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        threads: dict[str, Callable[[], None]] = {
            "board-reader": lambda: self._read(consumer),
            "board-checks": self._check,
        }
        for name, work in threads.items():
            threading.Thread(target=self._watched, args=(work,), name=name, daemon=True).start()
        try:
            await self._ended
        finally:
            self._stopping.set()

    def _watched(self, work: Callable[[], None]) -> None:
        """Run a thread's work; its error ends `run`."""
        try:
            work()
        except Exception as error:  # noqa: BLE001  `run` raises it, whatever it is
            with contextlib.suppress(RuntimeError):  # the loop is closed: the board has ended
                self._loop.call_soon_threadsafe(self._fail, error)

    def _fail(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)

    def _call_in_loop(self, call: Callable[..., None], *arguments: object) -> None:
        """Call a function in the event loop and wait until it has returned. Raises what it raises."""

        async def act() -> None:
            call(*arguments)

        acting = act()
        try:
            done = asyncio.run_coroutine_threadsafe(acting, self._loop)
        except RuntimeError:  # the loop is closed: the board ends
            acting.close()
            self._stopping.set()
            return
        while not self._stopping.is_set():
            if wait([done], 1.0).done:
                done.result()
                return

    def _read(self, consumer: KafkaConsumer) -> None:
        sources = self._board.sources
        profiles = sources.profiles
        names = {profiles.topic if topic == profiles.name else sources.own(topic): topic for topic in TOPICS}
        assignment = _Assignment(consumer, names)
        records: list[Record] = []
        try:
            while not self._stopping.is_set():
                try:
                    assignment.refresh()
                    records += _records_of(consumer.poll(timeout_ms=POLL_MS), names)
                    behind = assignment.behind()
                except (KafkaError, OSError) as error:
                    _log.warning("read_failed", error=error_text(error), will="retry")
                    self._stopping.wait(1.0)
                    continue
                self._call_in_loop(self._apply, records, behind)
                records = []
        finally:
            consumer.close()

    def _apply(self, records: list[Record], behind: dict[str, int | None]) -> None:
        board = self._board
        board.apply(records)
        if records:
            board.read_at_ms = round(time.time() * 1000)
        for topic, count in behind.items():
            board.progress[topic].exists = count is not None
            board.progress[topic].behind = count or 0
        if not board.ready and not any(behind.values()):
            _log.info("read_to_the_end", accounts=len(board.state.accounts))
            board.finish_loading()

    def _check(self) -> None:
        """Ask the broker for dead letters and lag, every `CHECK_S`."""
        broker = BrokerChecks(self._settings, self._board.sources)
        while not self._stopping.is_set():
            checked = broker.ask(self._board.checked, round(time.time() * 1000))
            self._call_in_loop(self._board.update_checks, checked)
            self._stopping.wait(CHECK_S)
        broker.close()


def _records_of(polled: Mapping[TopicPartition, Iterable[Any]], names: Mapping[str, str]) -> Iterator[Record]:
    for partition, records in polled.items():
        for record in records:
            yield Record(names[partition.topic], record.key, record.value, record.timestamp, partition.partition)


class _Assignment:
    """The partitions that a consumer reads, and how far it is behind."""

    def __init__(self, consumer: KafkaConsumer, names: Mapping[str, str]) -> None:
        """Read the topics `names`, given with what the board calls them."""
        self._consumer, self._names = consumer, names
        self._partitions: set[TopicPartition] = set()
        self._ends: dict[TopicPartition, int] = {}
        self._refreshed_s = -REFRESH_S

    def refresh(self) -> None:
        """Assign new topics and partitions, and continue the others where they were."""
        if time.monotonic() - self._refreshed_s < REFRESH_S:
            return
        existing = self._consumer.topics()
        partitions = {
            TopicPartition(topic, number)
            for topic in self._names
            if topic in existing
            for number in self._consumer.partitions_for_topic(topic) or ()
        }
        new = partitions - self._partitions
        if new:
            positions = {partition: self._consumer.position(partition) for partition in self._partitions}
            self._consumer.assign(sorted(partitions | self._partitions))
            for partition, offset in positions.items():
                self._consumer.seek(partition, offset)
            self._consumer.seek_to_beginning(*sorted(new))
            self._ends.update(self._consumer.end_offsets(sorted(new)))
            self._partitions |= new
        self._refreshed_s = time.monotonic()

    def behind(self) -> dict[str, int | None]:
        """Records not read yet, by topic as the board calls it; None if the topic does not exist."""
        counts: dict[str, int | None] = dict.fromkeys(self._names.values())
        for partition in self._partitions:
            end = self._consumer.highwater(partition)
            if end is None:
                end = self._ends[partition]
            position = self._consumer.position(partition, timeout_ms=1_000)
            left = end if position is None else max(end - position, 0)
            name = self._names[partition.topic]
            counts[name] = (counts[name] or 0) + left
        return counts

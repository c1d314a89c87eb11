"""Reads the output topics into a board, from their beginning, without a group: workers do not notice.

Owns the consumer, in a thread of its own, and the questions to the broker's admin (dead letters, the workers' lag), in
another. Records are handed to the event loop batch by batch, and the next batch waits until it is taken in, so nothing
piles up. A broker that is away is waited for; any other error of a thread ends the board. Called by
`agents.board.web.serve`.
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
from agents.settings.settings import Settings

_log = structlog.get_logger(__name__)

POLL_MS = 200
AT_ONCE = 500
LOOK_S = 10.0
"""Topics and partitions that have come since are looked for this often."""
CHECK_S = 2.0


class Reader:
    """Feeds one board; `run` in its event loop, until cancelled."""

    def __init__(self, settings: Settings, board: Board) -> None:
        """Bind. Nothing is connected yet."""
        self._settings, self._board = settings, board
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._ended: asyncio.Future[None]

    def connect(self) -> KafkaConsumer:
        """A consumer without a group. Raises `BrokerError`."""
        return consumer_of(self._settings, max_poll_records=AT_ONCE)

    async def run(self, consumer: KafkaConsumer) -> None:
        """Read for ever; closes the consumer. Raises what ends one of the threads: nothing is read any more then."""
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        works: dict[str, Callable[[], None]] = {
            "board-reader": lambda: self._read(consumer),
            "board-checks": self._check,
        }
        for name, work in works.items():
            threading.Thread(target=self._watched, args=(work,), name=name, daemon=True).start()
        try:
            await self._ended
        finally:
            self._stopping.set()

    def _watched(self, work: Callable[[], None]) -> None:
        """What a thread does; its error ends `run`."""
        try:
            work()
        except Exception as error:  # noqa: BLE001  whatever it is, it is told by the one who waits
            with contextlib.suppress(RuntimeError):  # the loop is closed: the board has ended
                self._loop.call_soon_threadsafe(self._fail, error)

    def _fail(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)

    def _call_in_loop(self, call: Callable[..., None], *arguments: object) -> None:
        """Run something in the event loop and wait until it is done. Raises what it raises."""

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
        following = _Assignment(consumer)
        records: list[Record] = []
        try:
            while not self._stopping.is_set():
                try:
                    following.look()
                    records += _records_of(consumer.poll(timeout_ms=POLL_MS))
                    behind = following.behind()
                except (KafkaError, OSError) as error:
                    _log.warning("read_failed", error=f"{type(error).__name__} {error}", will="retry")
                    self._stopping.wait(1.0)
                    continue
                self._call_in_loop(self._take, records, behind)
                records = []
        finally:
            consumer.close()

    def _take(self, records: list[Record], behind: dict[str, int | None]) -> None:
        board = self._board
        board.apply(records)
        if records:
            board.read_at_ms = round(time.time() * 1000)
        for topic, count in behind.items():
            board.progress[topic].there = count is not None
            board.progress[topic].behind = count or 0
        if not board.ready and not any(behind.values()):
            _log.info("read_to_the_end", accounts=len(board.state.accounts))
            board.finish_loading()

    def _check(self) -> None:
        """Ask the broker what the topics do not say."""
        broker = BrokerChecks(self._settings)
        while not self._stopping.is_set():
            checked = broker.ask(self._board.checked, round(time.time() * 1000))
            self._call_in_loop(self._board.update_checks, checked)
            self._stopping.wait(CHECK_S)
        broker.close()


def _records_of(polled: Mapping[TopicPartition, Iterable[Any]]) -> Iterator[Record]:
    for place, found in polled.items():
        for record in found:
            yield Record(place.topic, record.key, record.value, record.timestamp)


class _Assignment:
    """Which partitions a consumer reads, and how far it is behind."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer
        self._places: set[TopicPartition] = set()
        self._ends: dict[TopicPartition, int] = {}
        self._looked_s = -LOOK_S

    def look(self) -> None:
        """Take up topics and partitions that are new."""
        if time.monotonic() - self._looked_s < LOOK_S:
            return
        there = self._consumer.topics()
        places = {
            TopicPartition(topic, number)
            for topic in TOPICS
            if topic in there
            for number in self._consumer.partitions_for_topic(topic) or ()
        }
        new = places - self._places
        if new:
            at = {place: self._consumer.position(place) for place in self._places}
            self._consumer.assign(sorted(places | self._places))
            for place, offset in at.items():
                self._consumer.seek(place, offset)
            self._consumer.seek_to_beginning(*sorted(new))
            self._ends.update(self._consumer.end_offsets(sorted(new)))
            self._places |= new
        self._looked_s = time.monotonic()

    def behind(self) -> dict[str, int | None]:
        """Records not read yet, by topic; None: the topic is not there."""
        found: dict[str, int | None] = dict.fromkeys(TOPICS)
        for place in self._places:
            end = self._consumer.highwater(place)
            if end is None:
                end = self._ends[place]
            position = self._consumer.position(place, timeout_ms=1_000)
            left = end if position is None else max(end - position, 0)
            found[place.topic] = (found[place.topic] or 0) + left
        return found

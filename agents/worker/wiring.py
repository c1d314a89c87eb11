"""Wiring: settings to a Faust app with everything in its place.

Owns who knows whom, and the timers. The only place where the parts of a worker meet. Called by `agents.cli.main
worker`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faust
import structlog
from faust.types import TP

from agents.settings.settings import Settings
from agents.worker.checkpoint import Checkpointer
from agents.worker.clock import BrokerClock
from agents.worker.consumer import BatchConsumer, BatchTransport, Records
from agents.worker.gauges import measure
from agents.worker.metrics import Telemetry
from agents.worker.outbox import Outbox
from agents.worker.processor import Processor
from agents.worker.published import read_told
from agents.worker.records import TOPICS
from agents.worker.store import EngineStore, EngineTable
from agents.worker.watchdog import Watchdog
from agents.worker.web import WebServer
from schemas.topics import LARGEST_RECORD, changelog
from stream.plan.plan import Plan

log = structlog.get_logger()

TABLE = "accounts"
BATCH_BYTES = 512 * 1024
EXIT_FATAL = 71
LAST_COMMIT_S = 20.0
SWITCH_S = 0.0005
CATCH_UP_COMMITS = 5
"""While catching up, every fifth periodic commit is made."""


class Worker:
    """One worker: a Faust app and the parts it drives."""

    def __init__(self, settings: Settings, plan: Plan, candidate: Plan | None = None) -> None:
        """Wire everything; nothing starts yet."""
        self.settings = settings
        self.telemetry = Telemetry()
        self.telemetry.describe(plan.label)
        self.clock = BrokerClock()
        self.outbox = Outbox(
            self._producer,
            self.telemetry,
            on_append_ms=self.clock.learn,
            may_write=lambda: self._consumer().holds(),
            on_fatal=self.fatal,
        )
        self.processor = Processor(plan, settings, self.outbox, self.telemetry, self.clock, candidate=candidate)
        self.changelog = changelog(settings.group).name
        self.checkpointer = Checkpointer(
            self.processor,
            self.outbox,
            self.telemetry,
            changelog_topic=self.changelog,
            commit_offsets=lambda at: self._consumer().commit_offsets(at),
            on_fatal=self.fatal,
            rarely_s=settings.commit_interval_s * CATCH_UP_COMMITS,
        )
        self.watchdog = Watchdog(settings.watchdog_s)
        self.web = WebServer(
            settings.web_host,
            settings.web_port,
            self.telemetry.registry,
            refresh=self._refresh,
            health=self.health_problems,
            ready=self.ready_problems,
        )
        self.app = self._app()
        self.processor.highwater = self._highwater
        self.processor.source = self
        self.processor.on_caught_up = self._commit_soon
        self._beat = time.monotonic()
        self._soon: asyncio.Task[bool] | None = None

    # -- what the parts ask for ---------------------------------------------------------------------------------------

    def _producer(self) -> Any:
        producer: Any = self.app.producer
        return producer._ensure_producer()

    def _consumer(self) -> BatchConsumer:
        consumer = self.app.consumer
        assert isinstance(consumer, BatchConsumer)
        return consumer

    def _highwater(self, tp: TP) -> int | None:
        try:
            return self._consumer().highwater(tp)
        except Exception:  # noqa: BLE001 -- aiokafka raises its own kinds while a partition is being taken away
            return None

    def _commit_soon(self) -> None:
        if self._consumer().holds():
            self._soon = asyncio.get_running_loop().create_task(self.checkpointer.commit(periodic=False))

    # Source, for the processor

    async def rewind(self, tp: TP, offset: int) -> None:
        """Fetch from this offset on."""
        await self._consumer().rewind(tp, offset)

    async def earliest(self, tp: TP) -> int:
        """The first offset that the broker still has."""
        return await self._consumer().earliest(tp)

    # Handover, for the consumer

    sources: Sequence[str] = TOPICS

    def full(self) -> set[TP]:
        """Partitions of which enough waits."""
        return self.processor.full()

    async def commit(self, *, periodic: bool) -> bool:
        """Secure all progress; at the end within bounds, since what is not committed is only done again."""
        if not self._consumer().holds():
            if not periodic:
                # The group has given us up: what is not committed is another worker's work now.
                log.warning("session_lost", then="partitions are dropped, state is read again when they come back")
                for partition in list(self.processor.tasks):
                    self.processor.close(partition)
            return False
        if not self.app.should_stop:
            return await self.checkpointer.commit(periodic=periodic)
        try:
            return await asyncio.wait_for(self.checkpointer.commit(periodic=False), LAST_COMMIT_S)
        except TimeoutError:
            log.critical(
                "last_commit_failed", within_s=LAST_COMMIT_S, then="the next worker replays from the last commit"
            )
            return False

    # -- the app ------------------------------------------------------------------------------------------------------

    def _app(self) -> faust.App:
        settings = self.settings
        heartbeat = settings.session_timeout_s / 4
        app = faust.App(
            settings.group,
            broker=[f"kafka://{server}" for server in settings.bootstrap_servers()],
            broker_credentials=settings.faust_credentials(),
            store="memory://",
            Table=EngineTable,
            autodiscover=False,
            datadir=str(Path(tempfile.gettempdir()) / f"vitals-{settings.group}"),
            web_enabled=False,
            consumer_auto_offset_reset="earliest",
            consumer_group_instance_id=settings.instance,
            broker_commit_interval=settings.commit_interval_s,
            broker_session_timeout=settings.session_timeout_s,
            broker_heartbeat_interval=heartbeat,
            broker_request_timeout=max(30.0, settings.session_timeout_s + 10),
            broker_rebalance_timeout=max(30.0, settings.session_timeout_s * 3),
            broker_max_poll_interval=600.0,
            table_standby_replicas=0,
            topic_partitions=settings.partitions,
            topic_allow_declare=False,
            topic_disable_leader=True,
            producer_acks=-1,
            producer_linger=0,
            producer_max_batch_size=BATCH_BYTES,
            producer_max_request_size=2 * LARGEST_RECORD,
            producer_request_timeout=30.0,
            stream_wait_empty=True,
            stream_recovery_delay=0.0,
            stream_buffer_maxsize=64,
        )
        transport = BatchTransport(app.conf.broker_consumer, app)
        app.transport = transport
        BatchTransport.Consumer.handover = self
        # Fetches are taken in while the next ones are on their way. Not 1: that means something else to Faust.
        table = app.Table(
            TABLE, key_type=bytes, value_type=bytes, partitions=settings.partitions, recovery_buffer_size=2
        )
        EngineStore.processor = self.processor
        EngineStore.on_fatal = staticmethod(self.fatal)
        EngineStore.introduce = staticmethod(self._introduce)
        EngineStore.changelog = self.changelog
        self.table = table
        app.agent(app.topic(*TOPICS, key_serializer="raw", value_serializer="raw"), name="sources")(self._sources)
        app.task()(self._started)
        app.timer(1.0)(self._tick)
        return app

    async def _introduce(self) -> None:
        """Before the first event of new lanes: learn what was told, and the broker's clock."""
        new = [task for task in self.processor.tasks.values() if not task.ready]
        since = {task.partition: dict(task.namespaces.told) for task in new}
        told = await asyncio.to_thread(read_told, self.settings, since) if since else {}
        # Some may have gone to others meanwhile, or have been introduced by a recovery that came after this one.
        new = [task for task in new if self.processor.tasks.get(task.partition) is task and not task.ready]
        for task in new:
            task.hear(told[task.partition].alerts, told[task.partition].changes)
        await self.checkpointer.introduce(new)

    async def _sources(self, stream: Any) -> None:
        """The agent: every event is a batch of one partition of one source."""
        async for event in stream.events():
            fetched = event.message.value
            try:
                if isinstance(fetched, Records):
                    await self.processor.take(fetched)
                await asyncio.sleep(0)  # what came with it, of other partitions and sources, goes into the same step
                if stream.channel.empty() or self.processor.full():
                    await self.processor.work()
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 -- Faust would acknowledge the batch and lose it
                self.fatal(error)

    async def _started(self) -> None:
        await self.web.start()
        self.watchdog.start()
        # The many long-lived objects of start-up make every collection costly; new garbage is found without them.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 100)
        # The thread that fetches must not wait 5 ms for the interpreter at each of its small steps.
        sys.setswitchinterval(SWITCH_S)

    async def _tick(self) -> None:
        self.watchdog.alive()
        self._beat = time.monotonic()
        processor = self.processor
        tasks = processor.tasks.values()
        applied = max((task.applied_at for task in tasks), default=self._beat)
        waits = any(task.merge or any(processor.lag(task).values()) for task in tasks)
        if not waits or self._beat - applied < 1 or self.outbox.failing:
            self.watchdog.progress()
        try:
            await processor.tick()
        except Exception as error:  # noqa: BLE001 -- a timer's exception is only logged by Faust
            self.fatal(error)

    def fatal(self, error: BaseException) -> None:
        """End at once: going on could lose or double events, and what is committed is safe."""
        log.critical(
            "fatal", error=f"{type(error).__name__}: {error}", exc_info=error, then="exit, nothing was committed"
        )
        sys.stderr.flush()
        os._exit(EXIT_FATAL)

    # -- what people ask for ------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        measure(self.processor, self.telemetry)
        self.telemetry.ready.set(0 if self.ready_problems() else 1)
        tables: Any = self.app.tables
        with contextlib.suppress(Exception):
            self.telemetry.restore_remaining.set(max(0, tables.recovery.active_remaining_total()))

    def health_problems(self) -> list[str]:
        """Why the process should be restarted."""
        stuck = self.watchdog.stuck(time.monotonic())
        return [stuck] if stuck else []

    def ready_problems(self) -> list[str]:
        """Why the worker is not at work."""
        problems = self.health_problems()
        if not self.app.tables.actives_ready:
            problems.append("state is being recovered, or partitions are being assigned")
        if self.outbox.failing:
            problems.append("the broker refuses writes")
        limit = max(10.0, self.settings.commit_interval_s * 5)
        if not problems and time.monotonic() - self.checkpointer.last_commit > limit:
            problems.append("no commit went through lately")
        return problems

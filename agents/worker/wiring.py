"""Wiring: from settings to a Faust app with all its parts.

Owns which part gets which other parts, and nothing that they do. Nothing is shared with another worker of the same
process. Called by `agents.worker.run`.
"""

from __future__ import annotations

from functools import partial

from agents.kafka.source_records import TOPICS
from agents.settings.settings import Settings
from agents.worker.client.app import faust_app, tune_interpreter
from agents.worker.client.broker import Broker
from agents.worker.client.consumer import BatchTransport
from agents.worker.client.store import EngineTable
from agents.worker.commit.checkpoint import Checkpointer
from agents.worker.commit.handover import Handover
from agents.worker.commit.lease import Lease
from agents.worker.commit.outbox import Outbox
from agents.worker.fatal import fatal
from agents.worker.monitoring.health import Health
from agents.worker.monitoring.metrics import Telemetry
from agents.worker.monitoring.watchdog import Watchdog
from agents.worker.monitoring.web import WebServer
from agents.worker.tasks.clock import BrokerClock
from agents.worker.tasks.loop import TICK_S, WorkLoop
from agents.worker.tasks.processor import Processor
from agents.worker.tasks.published import read_published
from agents.worker.tasks.restorer import Restorer
from schemas.topics import changelog
from stream.plan.plan import Plan

TABLE = "accounts"
CATCH_UP_COMMITS = 5
"""While catching up, every fifth periodic commit is made."""


class Worker:
    """One worker: a Faust app and its parts."""

    def __init__(self, settings: Settings, plan: Plan, candidate: Plan | None = None) -> None:
        """Make and connect all parts; nothing starts yet."""
        self.app = faust_app(settings)
        self.telemetry = Telemetry()
        self.telemetry.describe(plan.label)
        self.watchdog = Watchdog(settings.watchdog_s)
        broker, lease, clock = Broker(self.app), Lease(settings.session_timeout_s), BrokerClock()
        changelog_topic = changelog(settings.group).name
        self.outbox = Outbox(
            broker.producer, self.telemetry, on_append_ms=clock.learn, may_write=lease.holds, on_fatal=fatal
        )
        self.processor = Processor(plan, settings, self.outbox, self.telemetry, clock, candidate=candidate)
        self.checkpointer = Checkpointer(
            self.processor,
            self.outbox,
            self.telemetry,
            changelog_topic=changelog_topic,
            commit_offsets=broker.commit_offsets,
            on_fatal=fatal,
            rarely_s=settings.commit_interval_s * CATCH_UP_COMMITS,
        )
        handover = Handover(self.processor, self.checkpointer, lease)
        self.processor.source = broker
        self.processor.highwater = broker.highwater
        self.processor.on_caught_up = handover.commit_soon
        self.app.transport = BatchTransport(self.app, handover=handover, lease=lease)
        restorer = Restorer(
            self.processor,
            self.checkpointer,
            changelog_topic=changelog_topic,
            read_published=partial(read_published, settings),
            on_fatal=fatal,
        )
        self.table = self._add_table(restorer, settings.partitions)
        self._add_work(WorkLoop(self.processor, self.outbox, self.watchdog, on_fatal=fatal))
        self.web = self._web(settings)
        self.app.task()(self._start)

    def _add_table(self, restorer: Restorer, partitions: int) -> EngineTable:
        # Fetches are restored while the next ones are on their way. Not 1: that has another meaning in Faust.
        table = EngineTable(
            self.app,
            restorer=restorer,
            name=TABLE,
            key_type=bytes,
            value_type=bytes,
            partitions=partitions,
            recovery_buffer_size=2,
            beacon=self.app.tables.beacon,
        )
        self.app.tables.add(table)
        return table

    def _add_work(self, loop: WorkLoop) -> None:
        topics = self.app.topic(*TOPICS, key_serializer="raw", value_serializer="raw")
        self.app.agent(topics, name="sources")(loop.consume)
        self.app.timer(TICK_S)(loop.tick)

    def _web(self, settings: Settings) -> WebServer:
        health = Health(
            self.app,
            self.processor,
            self.outbox,
            checkpointer=self.checkpointer,
            watchdog=self.watchdog,
            telemetry=self.telemetry,
            commit_interval_s=settings.commit_interval_s,
        )
        return WebServer(
            settings.web_host,
            settings.web_port,
            self.telemetry.registry,
            refresh=health.refresh,
            health=health.problems,
            ready=health.ready_problems,
        )

    async def _start(self) -> None:
        await self.web.start()
        self.watchdog.start()
        tune_interpreter()

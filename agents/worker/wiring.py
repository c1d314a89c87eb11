"""Wiring: from settings to a Faust app with all its parts.

Owns which part gets which other parts, and nothing that they do. Nothing is shared with another worker of the same
process. Called by `agents.worker.run`.
"""

from __future__ import annotations

import asyncio
from functools import partial

from agents.settings.settings import Settings
from agents.worker.client.app import SourceTopics, faust_app, tune_interpreter
from agents.worker.client.broker import Broker
from agents.worker.client.consumer import BatchTransport
from agents.worker.client.probe import broker_answers
from agents.worker.client.store import EngineTable
from agents.worker.commit.checkpoint import Checkpointer
from agents.worker.commit.fencing import TaskProducers
from agents.worker.commit.handover import Handover
from agents.worker.commit.lease import Lease
from agents.worker.commit.outbox import Outbox
from agents.worker.fatal import fatal
from agents.worker.identity import client_here, writer_of
from agents.worker.membership import LISTED_S, Membership
from agents.worker.monitoring.gauges import measure_standbys
from agents.worker.monitoring.health import Health
from agents.worker.monitoring.metrics import Telemetry
from agents.worker.monitoring.progress import Progress
from agents.worker.monitoring.session import SessionWatch
from agents.worker.monitoring.topic_watch import TopicWatch, read_shapes
from agents.worker.monitoring.watchdog import Watchdog
from agents.worker.monitoring.web import WebServer
from agents.worker.tasks.broker_facts import find_record, read_facts
from agents.worker.tasks.clock import BrokerClock
from agents.worker.tasks.loop import TICK_S, WorkLoop
from agents.worker.tasks.processor import Processor
from agents.worker.tasks.published import read_published
from agents.worker.tasks.records import outputs_of
from agents.worker.tasks.restorer import Restorer
from agents.worker.tasks.takeover import Takeover
from schemas.sources import Sources
from schemas.topics import changelog
from stream.plan.plan import Plan

TABLE = "accounts"
CATCH_UP_COMMITS = 5
"""While catching up, every fifth periodic commit is made."""


class Worker:
    """One worker: a Faust app and its parts."""

    def __init__(self, settings: Settings, plan: Plan, candidate: Plan | None = None) -> None:
        """Make and connect all parts; nothing starts yet."""
        writer = writer_of(settings, plan)
        client = client_here(writer)
        self.app = faust_app(settings, client.client_id())
        self.telemetry = Telemetry(plan.sources)
        self.telemetry.describe(plan.label)
        # A rebalance may wait three session timeouts for a member that is gone.
        self.watchdog = Watchdog(max(settings.watchdog_s, 4 * settings.session_timeout_s))
        broker, lease, clock = Broker(self.app), Lease(settings.session_timeout_s), BrokerClock()
        changelog_topic = changelog(settings.group, settings.topic_prefix).name
        self.producers = TaskProducers(
            broker, settings.group, (*outputs_of(plan.sources), changelog_topic), may_write=lease.holds, on_fatal=fatal
        )
        self.outbox = self._outbox(lease, clock)
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
        self.handover = Handover(self.processor, self.checkpointer, lease, plan.sources.topics, changelog_topic)
        self.topics = (*plan.sources.topics, changelog_topic)
        membership = Membership(settings, client, topics=lambda: {*self.topics, *self.other_topics()}, on_fatal=fatal)
        self.processor.source, self.processor.highwater = broker, broker.highwater
        self.processor.on_commit_due = self.handover.commit_soon
        self.processor.on_many_unsaved = self.handover.commit_next
        self.app.transport = BatchTransport(
            self.app, handover=self.handover, lease=lease, membership=membership, fence=self.producers
        )
        takeover = Takeover(
            writer,
            changelog_topic,
            read_facts=partial(read_facts, settings, changelog_topic, client, plan.sources),
            rival_wait_s=settings.session_timeout_s + LISTED_S,
        )
        restorer = self._restorer(settings, changelog_topic, broker, takeover)
        self.producers.on_lost = self.outbox.on_lost = restorer.lose
        self.topic_watch = self._topic_watch(settings)
        self.table = self._add_table(restorer, changelog_topic, settings.partitions)
        self._add_work(WorkLoop(self.processor, on_fatal=fatal), plan.sources)
        self.session = self._session(settings, lease, broker)
        self.progress = self._progress(restorer, lease)
        self.health = self._health(settings.commit_interval_s)
        self.web = self._web(settings, restorer)
        self.app.task()(tune_interpreter_once)

    def _topic_watch(self, settings: Settings) -> TopicWatch:
        read = partial(read_shapes, settings, list(self.topics))
        return TopicWatch(read, settings.partitions, on_fatal=fatal)

    def _outbox(self, lease: Lease, clock: BrokerClock) -> Outbox:
        return Outbox(
            self.producers,
            self.telemetry,
            now_ms=clock.now_ms,
            on_append_ms=clock.learn,
            may_write=lease.holds,
            on_fatal=fatal,
        )

    def _restorer(self, settings: Settings, changelog_topic: str, broker: Broker, takeover: Takeover) -> Restorer:
        restorer = Restorer(
            self.processor,
            self.checkpointer,
            changelog_topic=changelog_topic,
            read_published=partial(read_published, settings),
            bounds=broker.bounds,
            takeover=takeover,
            find_record=partial(find_record, settings, changelog_topic),
            on_fatal=fatal,
        )
        restorer.rejoin = broker.rejoin
        return restorer

    def _add_table(self, restorer: Restorer, changelog_topic: str, partitions: int) -> EngineTable:
        # Fetches are restored while the next ones are on their way. Not 1: that has another meaning in Faust. A standby
        # has none on their way for most of the time: it takes each as it comes.
        table = EngineTable(
            self.app,
            restorer=restorer,
            name=TABLE,
            changelog_name=changelog_topic,
            help="The state of all accounts",
            key_type=bytes,
            value_type=bytes,
            partitions=partitions,
            recovery_buffer_size=2,
            standby_buffer_size=1,
            beacon=self.app.tables.beacon,
        )
        self.app.tables.add(table)
        return table

    def _add_work(self, loop: WorkLoop, sources: Sources) -> None:
        topics = SourceTopics(self.app, topics=sources.topics, key_serializer="raw", value_serializer="raw")
        self.agent = self.app.agent(topics, name="sources")(loop.consume)
        self.app.timer(TICK_S)(loop.tick)

    def _session(self, settings: Settings, lease: Lease, broker: Broker) -> SessionWatch:
        return SessionWatch(
            lease,
            session_lost=self.handover.session_lost,
            answers=partial(broker_answers, settings),
            reconnect=broker.reconnect,
        )

    def _progress(self, restorer: Restorer, lease: Lease) -> Progress:
        return Progress(
            self.processor,
            self.checkpointer,
            restorer,
            self.outbox,
            self.watchdog,
            away=lambda: self.session.away,
            at_work=lambda: self.app.tables.actives_ready and lease.holds(),
        )

    def _health(self, commit_interval_s: float) -> Health:
        return Health(
            self.app,
            self.processor,
            self.outbox,
            checkpointer=self.checkpointer,
            watchdog=self.watchdog,
            session=self.session,
            telemetry=self.telemetry,
            commit_interval_s=commit_interval_s,
        )

    def _web(self, settings: Settings, restorer: Restorer) -> WebServer:
        def refresh() -> None:
            self.health.refresh()
            measure_standbys(restorer.standbys, restorer.end_of, self.telemetry)

        return WebServer(
            settings.web_host,
            settings.web_port,
            self.telemetry.registry,
            refresh=refresh,
            health=self.health.problems,
            ready=self.health.ready_problems,
        )

    def other_agents(self) -> dict[str, set[str]]:
        """The agents of the app that are not ours, each with the topics that it reads."""
        return {
            name: set(getattr(agent.channel, "topics", ()))
            for name, agent in self.app.agents.items()
            if agent is not self.agent
        }

    def other_topics(self) -> set[str]:
        """The topics that agents read which are not ours."""
        return {topic for topics in self.other_agents().values() for topic in topics}

    async def watch(self) -> None:
        """Watch the session and the progress for ever, once the app is about to start."""
        self.health.starting = None
        self.watchdog.start()
        self.topic_watch.start()
        try:
            await asyncio.gather(self.session.run(), self.progress.run())
        except Exception as error:  # noqa: BLE001 -- without the watch a lost session would go unnoticed
            fatal(error)


async def tune_interpreter_once() -> None:
    """Tune the interpreter when the app has started."""
    tune_interpreter()

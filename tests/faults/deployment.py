"""Runs a complete deployment for one test: a Kafka that holds nothing else, workers that come and go, the comparison.

Owns starting, killing, waiting and the final comparison. Must not know which fault is injected: that is for the tests.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING, Self

from kafka.errors import KafkaError

from agents.kafka.topics import create_topics
from tests.broker import lent
from tests.broker.kafka_server import KafkaServer, free_port
from tests.faults import topic_log, verdict
from tests.faults.events import TEMPLATE
from tests.faults.worker_process import LAG, ROOT, WORKER, WorkerProcess
from tests.oracle import alerts as oracle_alerts
from tests.oracle import engine as oracle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from tests.faults.topic_log import Codec, Message

GROUP = "faults"
SLICE = 200
"""Records that are written at once to a worker that runs: those of a day or two."""
PATIENCE_S = 240.0  # for a machine whose cores are all busy
_PAUSE_S = 0.05
_LONG_PAUSE_S = 0.2  # where the moment does not matter: each question costs test and worker 7 ms of CPU
# Records are as old as their events, older than the topics keep them: the broker must not get round to cleaning.
_BROKER = {"log.initial.task.delay.ms": "86400000"}
SLOWLY = {"fetch.max.bytes": "65536"}
"""A broker that hands out a few hundred records at a time, so that a kill finds the worker half way."""


class Deployment:
    """One broker with the product's topics, and workers of one group. Leaving it ends them all."""

    def __init__(
        self,
        folder: Path,
        *,
        policy: str = TEMPLATE,
        broker: Mapping[str, str] | None = None,
        listeners: Mapping[str, int] | None = None,
        advertised: Mapping[str, int] | None = None,
        topics: bool = True,
        disk: Path | None = None,
        added: tuple[str, ...] = (),
        prefix: str = "",
        **settings: object,
    ) -> None:
        """`folder` keeps logs and policy, `disk` the broker's data; `settings` are the workers', beside fixed ones.

        `added` are the topics of sources that the policy adds. All topics have the `prefix`, here without it.
        """
        self.folder = folder
        self.policy = policy
        self.prefix = prefix
        self.inputs = tuple(prefix + topic for topic in (*verdict.INPUTS, *added))
        self._broker = {**_BROKER, **(broker or {})}
        # A broker with more listeners knows passwords, rights or proxies of its test.
        self._own: KafkaServer | None = None
        if disk is not None or listeners is not None:
            self._own = KafkaServer(disk, settings=self._broker, listeners=listeners, advertised=advertised)
        self.kafka: KafkaServer
        self.workers: list[WorkerProcess] = []
        self.kills = 0
        self._topics = topics
        self._settings = {
            "group": GROUP,
            "time": "event",
            "partitions": topic_log.PARTITIONS,
            "commit_interval_s": 0.2,
            "session_timeout_s": 6,
            # All records are there before a worker starts: waiting for one is always worth it.
            "merge_wait_s": 60,
            **({"topic_prefix": prefix} if prefix else {}),
            **settings,
        }

    def __enter__(self) -> Self:
        """Start the broker, or borrow one, and create the topics."""
        self.kafka = lent.borrow(self._broker) if self._own is None else self._own.start()
        policy = self.folder / "policy.toml"
        policy.write_text(self.policy, "utf-8")
        self._settings |= {"broker": self.kafka.url, "policy": policy}
        if self._topics:
            create_topics(self.kafka.bootstrap, topic_log.PARTITIONS, GROUP, prefix=self.prefix)
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers, then the broker, unless it was borrowed."""
        for worker in self.workers:
            worker.kill()
        if self._own is None:
            lent.give_back(self.kafka, self._broker)
        else:
            self._own.kill()
            self._own.stop()

    @property
    def settings(self) -> dict[str, object]:
        """Settings that a worker gets."""
        return dict(self._settings)

    def send(self, messages: Iterable[Message], codec: Codec | None = None, *, at_once: bool = False) -> int:
        """Write messages and return how many; every one is acknowledged.

        A worker that runs gets them in slices. If all were written at once, it could read weeks of one source before
        the first record of another, which then counts as idle, so that measures hold values that the oracle does not.
        Messages that are not in order of time are sent `at_once`: slices could make some of them late.
        """
        prefixed = [message._replace(topic=self.prefix + message.topic) for message in messages]
        step = SLICE if self.workers and not at_once else max(1, len(prefixed))
        slices = (prefixed[first : first + step] for first in range(0, len(prefixed), step))
        return sum(topic_log.send(self.kafka.bootstrap, messages, codec) for messages in slices)

    def read(self, topics: Sequence[str]) -> dict[str, list[topic_log.Stored]]:
        """Read whole topics; they and their records have no prefix."""
        stored = topic_log.read(self.kafka.bootstrap, [self.prefix + topic for topic in topics])
        return {topic: [record._replace(topic=topic) for record in stored[self.prefix + topic]] for topic in topics}

    def input_records(self) -> dict[str, list[topic_log.Stored]]:
        """Read the topics that others write."""
        return self.read(verdict.SOURCES)

    def start(
        self,
        instance: str = "one",
        *,
        entry: Sequence[str] = WORKER,
        variables: Mapping[str, str] | None = None,
        code: Path = ROOT,
        **settings: object,
    ) -> WorkerProcess:
        """Start a worker, of the version in `code`. Under the same `instance` it keeps its membership."""
        worker = WorkerProcess(
            {**self._settings, "instance": instance, **settings},
            web_port=free_port(),
            log=self.folder / f"{instance}.log",
            entry=entry,
            variables=variables,
            code=code,
        )
        self.workers.append(worker)
        return worker

    def kill(self, worker: WorkerProcess) -> None:
        """SIGKILL."""
        assert worker.is_running, f"it ended before it could be killed:\n{worker.last_words()}"
        worker.kill()
        self.workers.remove(worker)
        self.kills += 1

    def stop(self, worker: WorkerProcess) -> int:
        """SIGTERM; returns the exit status."""
        self.workers.remove(worker)
        return worker.stop()

    def until(self, holds: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> float:
        """Wait until something holds; returns the seconds it took. Fails when a worker ends meanwhile."""
        return self._until(holds, what, patience_s, _PAUSE_S)

    def _until(self, holds: Callable[[], bool], what: str, patience_s: float, pause_s: float) -> float:
        started = time.monotonic()
        while not holds():
            waited = time.monotonic() - started
            assert waited < patience_s, f"not within {patience_s:.0f} s: {what}\n{self._last_words()}"
            if not self.workers:
                time.sleep(pause_s)
            for worker in self.workers:
                status = worker.wait(pause_s)
                assert status is None, f"a worker ended with {status} before: {what}\n{worker.last_words()}"
        return time.monotonic() - started

    def _last_words(self) -> str:
        texts = []
        for worker in self.workers:
            lag = {partition: int(count) for partition, count in worker.samples().get(LAG, {}).items() if count}
            texts.append(f"{worker.last_words()}\nsettled {dict(worker.settled())}\nlag {lag}")
        with contextlib.suppress(KafkaError, OSError):
            records = sum(topic_log.ends(self.kafka.bootstrap, self.inputs).values())
            texts.append(f"{records} records, {self.settled().total()} settled, not committed {self.not_committed()}")
        return "\n".join(texts)

    def settled(self) -> Counter[tuple[str, str]]:
        """Return records settled by (topic, outcome), over the workers that run."""
        return sum((worker.settled() for worker in self.workers), Counter[tuple[str, str]]())

    def until_settled(self, records: float) -> None:
        """Wait until the workers have settled so many records."""
        self.until(lambda: self.settled().total() >= records, f"{records:.0f} records settled")

    def until_done(self, patience_s: float = PATIENCE_S) -> float:
        """Wait until all records are applied and committed; returns the seconds it took.

        Asks the workers' metrics first (no lag, every record settled), and the group's offsets last.
        """
        return self._until(self._is_done, "all records applied and committed", patience_s, _LONG_PAUSE_S)

    def _is_done(self) -> bool:
        lags = [value for worker in self.workers for value in worker.samples().get(LAG, {}).values()]
        if not lags or any(lags):
            return False
        with contextlib.suppress(KafkaError, OSError):
            ends = topic_log.ends(self.kafka.bootstrap, self.inputs)
            return self.settled().total() == sum(ends.values()) and not self.not_committed()
        return False

    def not_committed(self) -> dict[tuple[str, int], int]:
        """Return how many records of the input the group has not committed, by topic and partition."""
        ends = topic_log.ends(self.kafka.bootstrap, self.inputs)
        with self.kafka.admin() as admin:
            (offsets,) = admin.list_group_offsets({GROUP: None}).values()
        committed = {(partition.topic, partition.partition): meta.offset for partition, meta in offsets.items()}
        lags = {partition: end - max(0, committed.get(partition, 0)) for partition, end in ends.items()}
        return {partition: lag for partition, lag in lags.items() if lag}

    def input_log(self, now_ms: int = verdict.FAR_FUTURE_MS) -> verdict.InputLog:
        """Read the whole input."""
        return verdict.InputLog(self.read(verdict.INPUTS), now_ms)

    def scores(self) -> dict[str, dict]:
        """Read the last score message of each account."""
        records = self.read([verdict.SCORES])[verdict.SCORES]
        return verdict.latest_scores(records)

    def documents(self, topic: str) -> list[dict]:
        """Read a topic of JSON messages."""
        return verdict.documents(self.read([topic])[topic])

    def judge(
        self,
        log: verdict.InputLog | None = None,
        *,
        as_of_ms: int | None = None,
        episodes: bool = False,
        patience_s: float = PATIENCE_S,
    ) -> dict[str, int]:
        """Fail unless everything is as the oracle says; returns the counts of the run.

        `as_of_ms` is the moment of scores where the clock has moved it on; `episodes` asks for every alert transition
        at boundaries, which holds when nothing was conflated. A partition may still move from one worker to another:
        counts get `patience_s` to become equal. Counts that are wrong stay wrong.
        """
        log = log or self.input_log()
        counts = self._judge_counts(log, patience_s)
        expected = log.scores(self.policy, as_of_ms)
        published = self.scores()
        differences = verdict.score_differences(expected, published)
        assert not differences, _few(differences)
        changes = self.documents(verdict.CHANGES)
        differences = verdict.change_differences(changes, expected, self._min_change())
        assert not differences, _few(differences)
        letters = self.read(verdict.LETTERS)
        rejected = [record._replace(topic=self.prefix + record.topic) for record in log.rejected]
        differences = verdict.letter_differences(
            rejected, [letter for topic in letters.values() for letter in topic], once=not self.kills
        )
        assert not differences, _few(differences)
        alerts = self._judge_alerts(expected)
        if episodes:
            counts["episodes"] = self._judge_episodes(log, alerts)
        replayed = sum(
            int(count)
            for worker in self.workers
            for (outcome, _), count in worker.samples().get("vitals_events_total", {}).items()
            if outcome == "replayed"
        )
        return counts | {
            "replayed": replayed,
            "kills": self.kills,
            "accounts": len(expected),
            "changes": len(changes),
            "alerts": len(alerts),
        }

    def judge_counts(self) -> dict[str, int]:
        """Fail unless every record was settled once and as the oracle says; scores and what follows are not judged."""
        return self._judge_counts(self.input_log(), PATIENCE_S)

    def _outcomes(self) -> Counter[str]:
        outcomes = Counter[str]()
        for (_, outcome), count in self.settled().items():
            outcomes[outcome] += count
        return +outcomes

    def _judge_counts(self, log: verdict.InputLog, patience_s: float) -> dict[str, int]:
        expected = log.outcomes(self.policy)
        self.until(lambda: self._outcomes() == expected, f"settled as the oracle says: {dict(expected)}", patience_s)
        assert expected.total() == log.sent + log.inbox
        # A worker killed between forwarding and its commit forwards twice: the second one is a duplicate.
        assert log.inbox >= expected["forwarded"]
        assert self.kills or log.inbox == expected["forwarded"]
        outcomes = ("applied", "late", "rejected", "duplicate", "forwarded")
        return {"sent": log.sent, **{outcome: expected[outcome] for outcome in outcomes}}

    def _judge_alerts(self, expected: Mapping[str, oracle.AccountScore]) -> list[dict]:
        alerts = self.documents(verdict.ALERTS)
        differences = verdict.twice_named(alerts)
        assert not differences, _few(differences)
        firing = {(account, f"band:health:{score.band}") for account, score in expected.items() if score.alert}
        published = {(account, rule) for account, rule in verdict.open_alerts(alerts) if rule.startswith("band:")}
        missed, stale = firing - published, published - firing
        assert not missed, f"never fired: {missed}"
        assert not stale, f"fired and never resolved: {stale}"
        return alerts

    def _judge_episodes(self, log: verdict.InputLog, alerts: Sequence[Mapping]) -> int:
        boundaries = oracle.boundary_scores(log.records, self.policy, log.now_ms)
        open_at = oracle_alerts.alerts_at_boundaries(log.records, self.policy, log.now_ms)
        transitions = [*oracle.band_episodes(boundaries), *verdict.rule_transitions(open_at)]
        assert transitions, "the input has to make alerts fire"
        unit_ms = oracle.boundary_unit_ms(oracle.read_policy(self.policy))
        missing = verdict.missing_episodes(alerts, transitions, unit_ms)
        assert not missing, _few(missing)
        return len(transitions)

    def _min_change(self) -> float:
        (line,) = (line for line in self.policy.splitlines() if line.startswith("min_change"))
        return float(line.partition("=")[2])


def _few(differences: Sequence[str]) -> str:
    more = f"\n… {len(differences)} in all" if len(differences) > 10 else ""
    return "\n".join(differences[:10]) + more

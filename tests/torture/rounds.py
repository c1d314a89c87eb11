"""A round: carries a plan out on real parts, heals everything, and asks the oracle.

Owns the broker, proxies, workers and feeder of one round, what happened when, and what is kept after a failure. Must
not know how a plan is drawn. Called by the command line and by the tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError as AioKafkaError
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from schemas.topics import LARGEST_RECORD, changelog
from tests.broker.kafka_server import KafkaServerError, free_port
from tests.faults import topic_log, verdict
from tests.faults.broker_lost.tcp_proxy import FROM_BROKER, TO_BROKER, TcpProxy
from tests.faults.deployment import GROUP, PATIENCE_S, Deployment
from tests.faults.worker_process import WORKER
from tests.torture.closing import closing_records, open_rule_differences
from tests.torture.feeder import Feeder
from tests.torture.plan import SESSION_S, Fault, Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.faults.worker_process import WorkerProcess

UNCOMMITTED = 72
_TINY = 100
_STOPS_WITHIN_S = 30.0
_STARTS_WITHIN_S = 10.0
"""A process that gets SIGTERM before Python has begun to handle signals ends by it."""
_PAUSE_S = 0.05
# A segment whose records span more than a week is closed, and a closed one of `accounts` is compacted: the oracle would
# miss records that workers have counted.
_BROKER = {"log.roll.ms": str(10 * 365 * 86_400_000)}
_FAILURES = (AssertionError, KafkaError, AioKafkaError, KafkaServerError, OSError)
_OUTPUTS = (verdict.SCORES, verdict.CHANGES, verdict.ALERTS, *verdict.LETTERS)


@dataclass
class Result:
    """What came of a round: figures if everything is as the oracle says, else problems."""

    plan: Plan
    folder: Path
    figures: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    seconds: float = 0.0


def run_round(
    plan: Plan,
    folder: Path,
    *,
    entry: Sequence[str] = WORKER,
    patience_s: float = PATIENCE_S,
    watch: Callable[[str], None] | None = None,
) -> Result:
    """Carry a plan out. `folder` is made anew; it keeps logs and topics when something is wrong, else it is removed.

    `entry` is what the interpreter of a worker runs. `watch` gets a line for everything that happens.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    result = Result(plan, folder)
    began_s = time.monotonic()
    with contextlib.ExitStack() as stack:
        playing = _Round(result, stack, entry=entry, patience_s=patience_s, watch=watch)
        try:
            playing.play()
        except _FAILURES as failure:
            result.problems.append(f"{type(failure).__name__}: {failure}")
            playing.keep()
    result.seconds = time.monotonic() - began_s
    if result.problems:
        text = "\n".join([*plan.lines(), *result.story, *result.problems])
        (folder / "report.txt").write_text(text + "\n", "utf-8")
    else:
        shutil.rmtree(folder)
    return result


class _Round:
    """One round on its way."""

    def __init__(
        self,
        result: Result,
        stack: contextlib.ExitStack,
        *,
        entry: Sequence[str],
        patience_s: float,
        watch: Callable[[str], None] | None,
    ) -> None:
        """Start proxies and broker, and send what is there before the workers; `stack` ends what is started."""
        self._plan, self._result, self._entry, self._patience_s, self._watch = (
            result.plan,
            result,
            entry,
            patience_s,
            watch,
        )
        plan = self._plan
        ports = {name: free_port() for name in plan.workers}
        self._proxies = {name: stack.enter_context(TcpProxy(port)) for name, port in ports.items()}
        self._deployment = stack.enter_context(
            Deployment(
                result.folder,
                policy=plan.policy.text,
                broker=_BROKER | ({} if plan.fetch_bytes is None else {"fetch.max.bytes": str(plan.fetch_bytes)}),
                listeners={name.upper(): port for name, port in ports.items()},
                advertised={name.upper(): proxy.port for name, proxy in self._proxies.items()},
                session_timeout_s=SESSION_S,
                merge_wait_s=600,
                **dict(plan.settings),
            )
        )
        self._sent = self._deployment.send(plan.input.history)
        self._feeder = Feeder(self._deployment, plan.input.live)
        self._feeder.hold()
        stack.enter_context(self._feeder)
        self._beside = stack.enter_context(ThreadPoolExecutor(1))
        self._restart: Future[None] | None = None
        self._workers: dict[str, WorkerProcess] = {}
        self._started_s: dict[str, float] = {}
        self._asked_s: dict[str, float] = {}
        self._began_s = time.monotonic()

    def play(self) -> None:
        """Do everything, and fail unless the oracle agrees in the end."""
        for name in self._plan.workers:
            self._start(name)
        if self._plan.waits:
            self._deployment.until(
                lambda: all(worker.settled().total() for worker in self._workers.values()), "all workers are at work"
            )
        self._began_s = time.monotonic()
        self._feeder.release()
        moments = [(fault.at_s, 1, self._begin, fault) for fault in self._plan.faults]
        moments += [(fault.end_s, 0, self._end, fault) for fault in self._plan.faults]
        for at_s, _, act, fault in sorted(moments, key=lambda moment: moment[:2]):
            self._until(at_s)
            act(fault)
        self._until(self._plan.seconds)
        self._wait_for_broker()
        self._judge()

    def _until(self, at_s: float) -> None:
        """Wait for a moment of the plan; no worker may end by itself meanwhile."""
        while True:
            for name, worker in self._workers.items():
                ended = worker in self._deployment.workers and not worker.is_running
                assert not ended, f"{name} ended by itself with {worker.wait(0)}:\n{worker.last_words()}"
            left_s = self._began_s + at_s - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(left_s, _PAUSE_S))

    def _note(self, text: str) -> None:
        line = f"{time.monotonic() - self._began_s:6.1f} s  {text}"
        self._result.story.append(line)
        if self._watch is not None:
            self._watch(line)

    def _start(self, name: str) -> None:
        self._workers[name] = self._deployment.start(
            name, entry=self._entry, broker=f"kafka://127.0.0.1:{self._proxies[name].port}"
        )
        self._started_s[name] = time.monotonic()

    # -- faults -------------------------------------------------------------------------------------------------------

    def _begin(self, fault: Fault) -> None:
        self._note(f"{fault.kind} {fault.worker or ''}".rstrip())
        if fault.worker is None:
            self._begin_at_broker(fault)
        elif fault.resource[0] == "network":
            self._begin_on_network(fault, self._proxies[fault.worker])
        else:
            self._begin_at_process(fault, self._workers[fault.worker], fault.worker)

    def _begin_at_process(self, fault: Fault, worker: WorkerProcess, name: str) -> None:
        if fault.kind == "SIGKILL":
            self._deployment.kill(worker)
        elif fault.kind == "freeze":
            os.kill(worker.pid, signal.SIGSTOP)
        else:
            self._deployment.workers.remove(worker)
            worker.interrupt()
            self._asked_s[name] = time.monotonic()

    @staticmethod
    def _begin_on_network(fault: Fault, proxy: TcpProxy) -> None:
        if fault.kind == "reset":
            proxy.reset()
        elif fault.kind == "slow":
            proxy.slow(0.3, 100_000)
        elif fault.kind == "lose both":
            proxy.lose(TO_BROKER, FROM_BROKER)
        else:
            how, _, direction = fault.kind.partition(" ")
            proxy.lose(TO_BROKER if direction == TO_BROKER else FROM_BROKER, goes_on=how == "gap")

    def _begin_at_broker(self, fault: Fault) -> None:
        self._wait_for_broker()
        if fault.kind == "changelog refuses":
            self._accept(_TINY)
            return
        self._feeder.hold()
        if fault.kind == "broker freeze":
            self._deployment.kafka.suspend()
        else:
            self._deployment.kafka.kill()

    def _end(self, fault: Fault) -> None:
        if fault.kind == "changelog refuses":
            self._accept(LARGEST_RECORD)
        elif fault.worker is None:
            if fault.kind == "broker freeze":
                self._deployment.kafka.resume()
                self._feeder.release()
            else:
                self._restart = self._beside.submit(self._restart_broker)
        elif fault.resource[0] == "network":
            self._proxies[fault.worker].heal()
        elif fault.kind == "freeze":
            os.kill(self._workers[fault.worker].pid, signal.SIGCONT)
        else:
            if fault.kind == "SIGTERM":
                self._wait_for_end(fault.worker)
            self._start(fault.worker)
        self._note(f"end of {fault.kind} {fault.worker or ''}".rstrip())

    def _restart_broker(self) -> None:
        """Start the broker again, in a thread of its own: other faults go on meanwhile."""
        self._deployment.kafka.restart()
        self._note("the broker serves again")
        self._feeder.release()

    def _wait_for_broker(self) -> None:
        """Wait until a broker that starts again serves."""
        if self._restart is not None:
            self._restart.result()
            self._restart = None

    def _wait_for_end(self, name: str) -> None:
        """Wait for a worker that was asked to end: it has 30 s, and ends with status 0, or 72 without its commit."""
        worker, asked_s = self._workers[name], self._asked_s[name]
        status = worker.wait(max(0.0, asked_s + _STOPS_WITHIN_S - time.monotonic()))
        if status is None:
            worker.kill()
        allowed = {0, UNCOMMITTED}
        if asked_s - self._started_s[name] < _STARTS_WITHIN_S:
            allowed.add(-signal.SIGTERM)
        assert status in allowed, f"{name}: SIGTERM, status {status} within 30 s:\n{worker.last_words()}"

    def _accept(self, largest: int) -> None:
        """Let the changelog take batches of so many bytes."""
        limit = {"max.message.bytes": str(largest)}
        with self._deployment.kafka.admin() as admin:
            admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, changelog(GROUP).name, limit)])

    # -- the end ------------------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        """Wait until everything is applied and committed, and compare; then let time pass, and compare again."""
        deployment, plan = self._deployment, self._plan
        self._feeder.finish()
        sent = self._sent + self._feeder.sent
        self._note(f"all faults are over, {sent} records are sent")
        deployment.kills += len(plan.faults)
        self._until_done()
        figures = self._agree(sent)
        if plan.policy.name == "rules":
            sent += deployment.send(closing_records())
            self._until_done()
            figures = self._agree(sent)
            log = deployment.input_log(_now_ms())
            differences = open_rule_differences(log, plan.policy.text, deployment.documents(verdict.ALERTS))
            assert not differences, "\n".join(differences[:10])
        assert {*deployment.workers} == {*self._workers.values()}, "a worker is missing"
        self._result.figures = figures

    def _until_done(self) -> None:
        try:
            seconds = self._deployment.until_done(self._patience_s)
        except AssertionError as failure:
            # What is wrong tells more than that it is not done.
            log = self._deployment.input_log(_now_ms())
            settled = sum(self._deployment.settled().values())
            self._result.problems.append(
                f"{settled} settled; the oracle says {dict(log.outcomes(self._plan.policy.text))}"
            )
            wrong = verdict.score_differences(log.scores(self._plan.policy.text), self._deployment.scores())
            self._result.problems += wrong[:10]
            raise failure from None
        self._note(f"all is applied and committed, {seconds:.1f} s after that")

    def _agree(self, sent: int) -> dict[str, int]:
        figures = self._deployment.judge(self._deployment.input_log(_now_ms()))
        assert figures["sent"] == sent, f"{sent} records were sent, {figures['sent']} are in the topics"
        repeated = verdict.repeated_alerts(self._deployment.documents(verdict.ALERTS))
        assert not repeated, "\n".join(repeated[:10])
        return figures

    def keep(self) -> None:
        """Write the topics and the broker's log into the folder, as far as the broker answers."""
        with contextlib.suppress(*_FAILURES):
            shutil.copy(self._deployment.kafka.home / "server.log", self._result.folder / "server.log")
            topics = self._result.folder / "topics"
            topics.mkdir()
            for topic, records in topic_log.read(
                self._deployment.kafka.bootstrap, [*verdict.INPUTS, *_OUTPUTS]
            ).items():
                rows = (json.dumps(record._asdict(), default=_text, ensure_ascii=False) for record in records)
                (topics / f"{topic}.jsonl").write_text("\n".join(rows), "utf-8")


def _text(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else repr(value)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

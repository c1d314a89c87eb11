"""One simulated run: random events, random faults, and the verdict of the oracle in the end; all from one seed.

Owns what happens when. Called by `tests.simulation.test_simulation` and `tests.simulation.__main__`.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, ClassVar

from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy
from tests.faults import verdict
from tests.faults.events import DAY_MS, HOUR_MS, RULES, SURVEYS, TICKETS, USAGE, accounts_of, event, misplaced
from tests.faults.topic_log import PARTITIONS, Message, partition_of
from tests.simulation.broker import Broker, Unsent
from tests.simulation.network import Network
from tests.simulation.virtual_loop import STARTED_MS, run
from tests.simulation.worker import SESSION_S, Worker, task_of_owner

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream.plan.plan import Plan

PLAN = compile_plan(parse_policy(RULES))
ACCOUNTS = [account for partition in range(2) for account in accounts_of(partition, 2)]
RUN_S = 30.0
"""Simulated seconds in which events come and faults happen."""
PATIENCE_S = 300.0
"""Simulated seconds after which a run that is not done hangs."""


class Simulation:
    """One run."""

    plan: ClassVar[Plan] = PLAN

    def __init__(self, seed: int) -> None:
        """Everything follows from the seed."""
        self.random = random.Random(seed)
        self._with_standbys = seed % 3 == 1
        self.broker = Broker(PARTITIONS, session_s=SESSION_S, rebalance_s=3 * SESSION_S)
        self.workers: list[Worker] = []
        self.story: list[str] = []
        """What was done, for the message of a failure."""
        self.errors: list[BaseException] = []
        self._count = 0

    # -- events -------------------------------------------------------------------------------------------------------

    def _events(self) -> list[tuple[float, Message]]:
        count = self.random.randint(15, 45)
        moments = sorted(self.random.uniform(0, RUN_S * 0.9) for _ in range(count))
        base_ms = STARTED_MS - 4 * DAY_MS
        stamps = sorted(self.random.randint(0, 30 * HOUR_MS) for _ in range(count))
        messages: list[Message] = []
        for number, stamp in enumerate(stamps):
            if messages and self.random.random() < 0.15:
                messages.append(self.random.choice(messages)._replace(timestamp_ms=base_ms + stamp))
            else:
                messages.append(self._event(number, base_ms + stamp))
        return list(zip(moments, messages, strict=True))

    def _event(self, number: int, stamp_ms: int) -> Message:
        draw, account = self.random.random(), self.random.choice(ACCOUNTS)
        time_ms = stamp_ms - self.random.randint(0, 3 * HOUR_MS)
        name = f"e{number}"
        if draw < 0.05:
            return Message(USAGE, account.encode(), b"{not json", stamp_ms)
        if draw < 0.6:
            user = f"u{self.random.randint(0, 6)}"
            message = event(USAGE, name, account, time_ms, timestamp_ms=stamp_ms, user_id=user)
        elif draw < 0.8:
            fields = {"ticket_id": name, "status": "opened", "priority": "high"}
            message = event(TICKETS, name, account, time_ms, timestamp_ms=stamp_ms, **fields)
        else:
            score = self.random.randint(0, 10)
            message = event(SURVEYS, name, account, time_ms, timestamp_ms=stamp_ms, kind="nps", score=score)
        return misplaced(message) if self.random.random() < 0.1 else message

    def _produce(self, message: Message) -> None:
        partition = message.partition
        if partition is None:
            partition = partition_of(message.key or b"")
        record = Unsent(message.key, message.value, message.headers, message.timestamp_ms)
        self.broker.append((message.topic, partition), [record])

    # -- faults -------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._count += 1
        network = Network(self.random, self.random.choice((0.005, 0.2, 0.5)))
        worker = Worker(
            f"w{self._count}", self.plan, self.broker, network, self.random, with_standbys=self._with_standbys
        )
        self.workers.append(worker)
        worker.start()
        self._note(f"start {worker.name}")

    def _end_one(self, *, kill: bool) -> None:
        running = [worker for worker in self.workers if worker.is_running]
        if not running:
            return
        worker = self.random.choice(running)
        (worker.kill if kill else worker.stop)()
        fails = kill and self.random.random() < 0.5
        if fails:
            worker.network.lose()
        self._note(f"{'its machine fails:' if fails else 'kill' if kill else 'stop'} {worker.name}")

    def _cut(self) -> None:
        running = [worker for worker in self.workers if worker.is_running]
        if not running:
            return
        worker = self.random.choice(running)
        up, down = self.random.choice(((True, False), (True, False), (False, True), (True, True)))
        seconds = self.random.choice((2.0, 7.0, 12.0, RUN_S, RUN_S))
        worker.network.cut(up=up, down=down)
        asyncio.get_running_loop().call_later(seconds, worker.network.heal)
        self._note(f"cut {worker.name} up={up} down={down} for {seconds:.0f} s")

    def _fault(self) -> None:
        draw = self.random.random()
        running = sum(worker.is_running for worker in self.workers)
        if running == 0 or (draw < 0.25 and running < 3):
            self._start()
        elif draw < 0.45:
            self._end_one(kill=True)
        elif draw < 0.5:
            self._end_one(kill=False)
        else:
            self._cut()

    def _note(self, text: str) -> None:
        self.story.append(f"{(time.time_ns() // 1_000_000 - STARTED_MS) / 1000:7.2f} {text}")

    # -- the run ------------------------------------------------------------------------------------------------------

    async def main(self) -> None:
        """Let everything happen, then wait until all is applied, published and committed."""
        loop = asyncio.get_running_loop()
        loop.set_task_factory(task_of_owner)
        started = loop.time()
        group = loop.create_task(self._turn_group())
        events = self._events()
        steps: list[tuple[float, Callable[[], None]]] = [
            (moment, lambda message=message: self._produce(message))  # type: ignore[misc]
            for moment, message in events
        ]
        # Most faults come soon after an event, when its effects are on their way.
        moments = [self.random.choice(events)[0] + self.random.uniform(0, 1) for _ in range(self.random.randint(1, 7))]
        steps += [(moment, self._fault) for moment in moments]
        for _ in range(self.random.randint(1, 2)):
            self._start()
        for moment, step in sorted(steps, key=lambda pair: pair[0]):
            await asyncio.sleep(started + moment - loop.time())
            step()
        self._note("heal")
        for worker in self.workers:
            worker.network.heal()
        if not any(worker.is_running for worker in self.workers):
            self._start()
        deadline = loop.time() + PATIENCE_S
        while not self._done():
            if loop.time() > deadline:
                message = f"hangs: not done {PATIENCE_S:.0f} s after everything was healed"
                raise AssertionError(message)
            await asyncio.sleep(1.0)
            self.errors += [error for worker in self.workers for error in worker.errors]
            if self.errors:
                raise AssertionError(f"a worker ended: {self.errors[0]!r}") from self.errors[0]
        group.cancel()

    async def _turn_group(self) -> None:
        while True:
            await asyncio.sleep(0.25)
            self.broker.group.turn(asyncio.get_running_loop().time())

    def _done(self) -> bool:
        if not any(worker.is_running for worker in self.workers):
            self._start()
        offsets = self.broker.group.offsets
        behind = any(
            offsets.get((topic, number), 0) < self.broker.logs[topic, number].end
            for topic in verdict.INPUTS
            for number in range(PARTITIONS)
        )
        done = set[int]().union(*(worker.done() for worker in self.workers if worker.is_running))
        return not behind and len(done) == PARTITIONS

    def differences(self) -> list[str]:
        """Return in words what is not as the oracle says."""
        log = verdict.InputLog({topic: self.broker.read(topic) for topic in verdict.INPUTS})
        expected = log.scores(RULES)
        changes = verdict.documents(self.broker.read(verdict.CHANGES))
        alerts = verdict.documents(self.broker.read(verdict.ALERTS))
        letters = [letter for topic in verdict.LETTERS for letter in self.broker.read(topic)]
        wrong = verdict.score_differences(expected, verdict.latest_scores(self.broker.read(verdict.SCORES)))
        wrong += verdict.change_differences(changes, expected, 1.0)
        wrong += verdict.twice_named(alerts)
        wrong += verdict.letter_differences(log.rejected, letters, once=False)
        firing = {(account, f"band:health:{score.band}") for account, score in expected.items() if score.alert}
        published = {pair for pair in verdict.open_alerts(alerts) if pair[1].startswith("band:")}
        wrong += [f"never fired: {pair}" for pair in sorted(firing - published)]
        wrong += [f"fired and never resolved: {pair}" for pair in sorted(published - firing)]
        return wrong


def simulate(seed: int, kind: type[Simulation] = Simulation) -> list[str]:
    """Run one seed; return what is wrong, with what was done before it."""
    simulation = kind(seed)
    try:
        run(simulation.main())
    except AssertionError as error:
        wrong = [str(error)]
    else:
        wrong = simulation.differences()
    return [f"seed {seed}", *simulation.story, *wrong] if wrong else []

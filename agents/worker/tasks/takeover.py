"""Taking a partition over: whether a restored task may go on from the state it has, and what it writes about itself.

Owns the order of the checks and the log of what they find; the rules are in `stream.recovery.continuity` and
`stream.recovery.writer`. A worker that finds state lost, older than the committed offsets, or of other topics or
another configuration ends with `RefusedError`, before it has published or written anything. Called by
`agents.worker.tasks.restorer`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import structlog
from kafka.errors import KafkaError

from agents.kafka.client import BrokerError
from agents.process.errors import error_text
from agents.worker.fatal import RefusedError
from agents.worker.tasks.broker_facts import Facts
from agents.worker.tasks.task import PartitionTask
from agents.worker.tasks.task_state import TaskState
from schemas.sources import Sources
from stream.recovery.continuity import judge_source, judge_start, judge_state
from stream.recovery.writer import WRITER_KEY, Refusal, Writer, WriterError, decode_writer, refusal, succeed

log = structlog.get_logger()

PAUSE_S = 1.0
ReadFacts = Callable[[Sequence[int]], Facts]
"""Ask the broker about partitions. Blocks."""


class RivalError(RefusedError):
    """Another member of the group runs another configuration, if it is alive: the group lists dead ones for a while."""


class Takeover:
    """What a worker asks and writes when it takes partitions over."""

    def __init__(self, writer: Writer, changelog: str, *, read_facts: ReadFacts, rival_wait_s: float) -> None:
        """`writer` is what this worker writes about itself; after `rival_wait_s` a rival that is listed is alive."""
        self._writer = writer
        self._changelog = changelog
        self._read_facts = read_facts
        self._rival_wait_s = rival_wait_s

    async def admit(self, tasks: list[PartitionTask]) -> list[PartitionTask]:
        """The tasks that are still RESTORING and may go on from their state. Raises `RefusedError`."""
        deadline = time.monotonic() + self._rival_wait_s
        while tasks:
            try:
                facts = await asyncio.to_thread(self._read_facts, [task.partition for task in tasks])
                tasks = [task for task in tasks if task.state is TaskState.RESTORING]
                for task in tasks:
                    take_over(task, facts, self._writer, self._changelog)
            except (BrokerError, KafkaError, OSError) as error:
                log.warning("takeover_waits", error=error_text(error), will="retry")
            except RivalError:
                if time.monotonic() > deadline:
                    raise
            else:
                break
            await asyncio.sleep(PAUSE_S)
            tasks = [task for task in tasks if task.state is TaskState.RESTORING]
        return tasks

    async def missing_start(self, partition: int, records: Mapping[bytes, bytes]) -> RefusedError | None:
        """The refusal of a changelog that cannot be restored because its beginning was deleted; None otherwise."""
        try:
            known_first = decode_writer(records[WRITER_KEY]).first if WRITER_KEY in records else 0
            facts = await asyncio.to_thread(self._read_facts, [partition])
        except (WriterError, BrokerError, KafkaError, OSError):
            return None
        first, logs = facts.first[partition], facts.logs[partition]
        verdict = judge_start(first, known_first, partition=partition, changelog=self._changelog, logs=logs)
        return None if verdict is None else _refused(verdict, self._changelog, partition)


def take_over(task: PartitionTask, facts: Facts, this: Writer, changelog: str) -> None:
    """Let a RESTORING task go on from its state, as `this` worker's. Raises `RefusedError`; may be called again."""
    namespaces, partition = task.namespaces, task.partition
    logs, first = facts.logs[partition], facts.first[partition]
    before, position = namespaces.writer, _by_topic(namespaces.saved_position, task.engine.sources)
    fresh = position is None and not len(task.engine.accounts)
    if before is not None:
        verdict = refusal(before, this, facts.members)
        if verdict is not None:
            reason = f"changelog {changelog} partition {partition}: {verdict.reason}"
            error = RivalError if verdict.rival else RefusedError
            raise error(reason, verdict.way_out, topic=changelog, partition=partition)
    known_first = first if fresh else 0 if before is None else before.first
    for verdict in (
        judge_state(position, logs, partition=partition, changelog=changelog),
        judge_start(first, known_first, partition=partition, changelog=changelog, logs=logs),
    ):
        if verdict is not None:
            raise _refused(verdict, changelog, partition)
    known_ids = {} if before is None else before.topics
    known_topics = {} if before is None else before.inputs
    for source in logs:
        verdict = judge_source(
            source,
            (position or {}).get(source.topic, 0),
            known_ids.get(source.topic),
            partition=partition,
            known_topic=known_topics.get(task.engine.sources.input_of[source.topic]),
        )
        if verdict is not None:
            raise _refused(verdict, source.topic, partition)
        if fresh and source.first:
            then = "the state begins with the records after them"
            log.warning(
                "history_is_missing", topic=source.topic, partition=partition, removed_records=source.first, then=then
            )
    begins = {source.topic: source.first if source.committed is None else source.committed for source in logs}
    task.begins = {index: begins[topic] for index, topic in enumerate(task.engine.sources.topics) if topic in begins}
    ids = {source.topic: source.topic_id for source in logs if source.topic_id is not None}
    namespaces.writer = succeed(before, this, ids, first=first if fresh else known_first)


def _by_topic(position: Mapping[str, int] | None, sources: Sources) -> dict[str, int] | None:
    """A saved position by topic instead of by source."""
    if position is None:
        return None
    return {topic: position.get(name, 0) for name, topic in sources.topic_of.items()}


def _refused(verdict: Refusal, topic: str, partition: int) -> RefusedError:
    return RefusedError(verdict.reason, verdict.way_out, topic=topic, partition=partition)

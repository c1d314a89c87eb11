"""The carrier: puts what an engine publishes in the outbox, and counts it.

Owns which effect becomes a record of which topic. Called by `agents.worker.tasks.processor`.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.kafka.partitions import partition_of
from agents.worker.commit.outbox import Outbox
from agents.worker.monitoring.metrics import Telemetry
from agents.worker.tasks.gone_accounts import publish_erased, send_by_key
from agents.worker.tasks.records import dead_letter, forwarded
from agents.worker.tasks.task import PartitionTask
from agents.worker.tasks.task_state import TaskState
from schemas.topics import ALERTS, CHANGES, POSITION_HEADER, REPARTITION, SCORES, SHADOW
from stream.ingest.batch import Batch
from stream.publishing.effects import Effects
from stream.recovery.published_alerts import position_of


class Carrier:
    """Carries out the effects of all tasks of one worker."""

    def __init__(self, outbox: Outbox, telemetry: Telemetry, partitions: int) -> None:
        """Nothing is carried out yet."""
        self._outbox, self._telemetry, self._partitions = outbox, telemetry, partitions

    def carry_out(self, task: PartitionTask, effects: Effects, batches: Sequence[Batch] = ()) -> None:
        """Put what an engine publishes in the outbox. Raises `TaskStateError` unless the task is RUNNING."""
        task.require(TaskState.RUNNING)
        telemetry, partition, sources = self._telemetry, task.partition, task.sources
        publish_erased(task, effects.erased, self._outbox, self._partitions)
        self._outbox.put(sources.own(SCORES), partition, effects.scores)
        self._outbox.put(sources.own(CHANGES), partition, effects.changes)
        task.reconciler.hold_back(effects)
        if effects.alerts:
            head = ((POSITION_HEADER, position_of(task.engine)),)
            self._outbox.put(sources.own(ALERTS), partition, [alert._replace(headers=head) for alert in effects.alerts])
        self._outbox.put(sources.own(SHADOW), partition, effects.shadow)
        for letter in effects.dead_letters:
            batch = batches[letter.batch]
            topic, record = sources.topic_of[batch.source], dead_letter(sources, batch, partition, letter)
            self._outbox.put(sources.letters_of(topic), partition, [record])
            telemetry.dead_letters.labels(topic, letter.reason).inc()
        for forward in effects.forwards:
            target = partition_of(forward.account.encode(), self._partitions)
            record = forwarded(batches[forward.batch], partition, forward)
            self._outbox.put(sources.own(REPARTITION), target, [record], owner=partition)
        send_by_key(task, effects.claims, self._outbox, self._partitions)
        for (source, outcome), count in effects.outcomes.items():
            if count:
                telemetry.events.labels(sources.topic_of[source], outcome).inc(count)
        for (score, cause), count in effects.causes.items():
            telemetry.changes.labels(score, cause).inc(count)
        for (rule, status), count in effects.alerted.items():
            telemetry.alerts.labels(rule, status).inc(count)
        for rule, count in effects.flaps.items():
            telemetry.flaps.labels(rule).inc(count)

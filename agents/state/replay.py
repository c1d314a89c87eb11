"""Applies the records of one partition again, up to a saved position: how one account is rebuilt.

Owns reading the sources of a partition merged by record time, as a worker does that is behind. Called by
`agents.state.quarantine`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from agents.kafka.source_records import read
from agents.process.progress import Progress
from agents.state.cluster import Cluster
from schemas.plausible_times import FUTURE_TOLERANCE_MS
from stream.engine.engine import Engine, Mode
from stream.ingest.merge import Merge
from stream.publishing.effects import Effects

_RECORDS_AT_ONCE = 5_000


class _Source:
    """The records of one source that are left to read."""

    def __init__(self, records: Iterator[Any], end: int) -> None:
        self._records = records
        self.end = end
        self.exhausted = False

    def take(self) -> list[Any]:
        records = list(islice(self._records, _RECORDS_AT_ONCE))
        self.exhausted = len(records) < _RECORDS_AT_ONCE
        return records


def replay(
    cluster: Cluster,
    engine: Engine,
    partition: int,
    state: Mapping[str, Any],
    *,
    take: Callable[[Effects], None],
    progress: Progress,
) -> None:
    """Apply what a partition had settled when `state` was saved; `take` gets the effects of each step.

    An event that lies after the saved stream time, and after its record, is refused, as the worker refused it.
    """
    saved_ms = (state["as_of"] or 0) - FUTURE_TOLERANCE_MS
    sources, total = [], 0
    for name, topic in cluster.sources.topic_of.items():
        end = state["position"].get(name, 0)
        begin = min(cluster.begins(topic).get(partition, 0), end)
        sources.append(_Source(cluster.read(topic, partition, begin, end), end))
        total += end - begin
    merge, done = Merge(cluster.sources), 0
    while True:
        for index, source in enumerate(sources):
            if source.exhausted or merge.waiting[index]:
                continue
            records = source.take()
            done += len(records)
            if records:
                topic = cluster.sources.topics[index]
                merge.add(read(cluster.sources, topic, records, records[-1].offset + 1, engine.plan.properties))
        batches = merge.release(lambda index: not sources[index].exhausted)
        if batches:
            stamps = [int(batch.stamps.max()) for batch in batches if len(batch.stamps)]
            take(engine.step(batches, Mode.EXACT, max([saved_ms, *stamps])))
        progress(f"applying partition {partition}", min(done, total), total)
        if not batches and all(source.exhausted for source in sources) and not merge:
            return

"""Merge the sources of one partition: records are released in record-time order across topics.

Owns the queues of fetched records and the rule of release (Kafka Streams' rule, KIP-695): wait for a source with an
empty queue only while its lag says that the broker has more of it, and not for ever. Pure: which sources lag and are
still waited for is an argument. Called by `agents.worker.tasks.processor`.

Order within a partition number: by record time (the running maximum within a source, so that offsets keep their
order), then by input in the order of `Sources.inputs`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.sources import Sources
from stream.ingest.batch import Batch


@dataclass(slots=True)
class Fetch:
    """Records fetched together from one source partition: decoded batches, all offsets, all record times (ms)."""

    source_index: int
    batches: list[Batch]
    offsets: NDArray[np.int64]
    stamps: NDArray[np.int64]
    end: int

    def __len__(self) -> int:
        """Number of records, refused ones too."""
        return len(self.offsets)


class Merge:
    """The queues of one partition number, one an input."""

    def __init__(self, sources: Sources) -> None:
        """All queues are empty."""
        count = len(sources.inputs)
        self._queues: list[deque[Fetch]] = [deque() for _ in range(count)]
        self._reached = [np.iinfo(np.int64).min] * count
        self.waiting = [0] * count
        """Number of queued records by input, in the order of `Sources.inputs`."""

    def add(self, fetch: Fetch) -> None:
        """Append a fetch to the queue of its source."""
        if not len(fetch):
            return
        stamps = np.maximum.accumulate(np.maximum(fetch.stamps, self._reached[fetch.source_index]))
        for batch in fetch.batches:
            batch.stamps = stamps[np.searchsorted(fetch.offsets, batch.offsets)]
        fetch.stamps = stamps
        self._reached[fetch.source_index] = int(stamps[-1])
        self._queues[fetch.source_index].append(fetch)
        self.waiting[fetch.source_index] += len(fetch)

    def __bool__(self) -> bool:
        """Whether any record is queued."""
        return any(self.waiting)

    def release(self, lags: Callable[[int], bool]) -> list[Batch]:
        """Batches that no later record can precede, to be applied together.

        `lags(source_index)` says whether the broker has more records of that source, and they are to be waited for.
        """
        bounds = [
            (self._reached[source_index], source_index)
            for source_index in range(len(self._queues))
            if lags(source_index)
        ]
        bound = min(bounds, default=None)
        released: list[Batch] = []
        for source_index, queue in enumerate(self._queues):
            while queue:
                fetch = queue[0]
                if bound is None:
                    count = len(fetch)
                else:
                    side = "right" if source_index <= bound[1] else "left"
                    count = int(np.searchsorted(fetch.stamps, bound[0], side=side))  # type: ignore[call-overload]
                if count == len(fetch):
                    released.extend(fetch.batches)
                    queue.popleft()
                elif count:
                    released.extend(self._cut(fetch, count))
                self.waiting[source_index] -= count
                if count == 0 or (queue and queue[0] is fetch):
                    break
        return released

    @staticmethod
    def _cut(fetch: Fetch, count: int) -> list[Batch]:
        """Remove the first `count` records of a fetch and return them."""
        offset = int(fetch.offsets[count])
        released = [batch.before(offset) for batch in fetch.batches]
        fetch.batches = [batch.since(offset) for batch in fetch.batches]
        fetch.offsets, fetch.stamps = fetch.offsets[count:], fetch.stamps[count:]
        return released

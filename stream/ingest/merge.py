"""Sources of one partition advance together: records are released in record-time order across topics.

Owns the waiting line of fetched records and the rule of release (Kafka Streams' rule, KIP-695): wait for a source
that has nothing here only while its lag says that more is there, and not for ever. Pure: what lags and what is not
waited for any more are arguments. Called by `agents.worker.processor`.

Order within a partition number: by record time (the running maximum within a source, so that offsets keep their
order), then by source in the order of `INPUT_SOURCES`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.ingest.batch import INPUT_SOURCES, Batch


@dataclass(slots=True)
class Fetch:
    """Records fetched together from one source partition: decoded batches, all offsets, all stamps."""

    source_index: int
    batches: list[Batch]
    offsets: NDArray[np.int64]
    stamps: NDArray[np.int64]
    end: int

    def __len__(self) -> int:
        """How many records, refused ones too."""
        return len(self.offsets)


class Merge:
    """The waiting line of one partition number."""

    def __init__(self) -> None:
        """Nothing waits."""
        self._lines: list[deque[Fetch]] = [deque() for _ in INPUT_SOURCES]
        self._reached = [np.iinfo(np.int64).min] * len(INPUT_SOURCES)
        self.waiting = [0] * len(INPUT_SOURCES)
        """Records that wait, by fence."""

    def add(self, fetch: Fetch) -> None:
        """Put a fetch behind those of its source."""
        if not len(fetch):
            return
        stamps = np.maximum.accumulate(np.maximum(fetch.stamps, self._reached[fetch.source_index]))
        for batch in fetch.batches:
            batch.stamps = stamps[np.searchsorted(fetch.offsets, batch.offsets)]
        fetch.stamps = stamps
        self._reached[fetch.source_index] = int(stamps[-1])
        self._lines[fetch.source_index].append(fetch)
        self.waiting[fetch.source_index] += len(fetch)

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return any(self.waiting)

    def release(self, lags: Callable[[int], bool]) -> list[Batch]:
        """Batches that no later record can precede, to be applied together.

        `lags(fence)` tells whether more records of that source are known to be on the broker and are to be waited for.
        """
        bounds = [
            (self._reached[source_index], source_index)
            for source_index in range(len(INPUT_SOURCES))
            if lags(source_index)
        ]
        bound = min(bounds, default=None)
        released: list[Batch] = []
        for source_index, line in enumerate(self._lines):
            while line:
                fetch = line[0]
                if bound is None:
                    count = len(fetch)
                else:
                    side = "right" if source_index <= bound[1] else "left"
                    count = int(np.searchsorted(fetch.stamps, bound[0], side=side))  # type: ignore[call-overload]
                if count == len(fetch):
                    released.extend(fetch.batches)
                    line.popleft()
                elif count:
                    released.extend(self._cut(fetch, count))
                self.waiting[source_index] -= count
                if count == 0 or (line and line[0] is fetch):
                    break
        return released

    @staticmethod
    def _cut(fetch: Fetch, count: int) -> list[Batch]:
        """Take the first `count` records out of a fetch."""
        offset = int(fetch.offsets[count])
        taken = [batch.before(offset) for batch in fetch.batches]
        fetch.batches = [batch.since(offset) for batch in fetch.batches]
        fetch.offsets, fetch.stamps = fetch.offsets[count:], fetch.stamps[count:]
        return taken

"""A step taken apart: its events and profiles in merged order, and what is to be folded of each.

Owns the order of records that were read together: by the newest record time of their source partition so far, then by
source, then by offset (docs/ARCHITECTURE.md). Called by `stream.engine`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.batch import Candidates
from stream.panes import UNIT_MS, Unit, pane_of
from stream.plan import Taken


@dataclass(slots=True)
class Learning:
    """Profiles of a step and the segments they are read in."""

    profiles: Candidates
    segments: NDArray[np.int64]
    done: int = 0

    def until(self, number: int) -> slice:
        """The next of them, up to segment `number`."""
        piece = slice(self.done, int(np.searchsorted(self.segments, number, side="right")))
        self.done = piece.stop
        return piece


@dataclass(slots=True)
class Fold:
    """What one part of a step adds: its events that count, their segments, what columns take of them."""

    part: Candidates
    timely: NDArray[np.bool_]
    segments: NDArray[np.int64]
    taken: list[Taken]
    done: int = 0


def merge_order(parts: list[Candidates]) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
    """Merged order of all candidates (None: as they are), and their times in that order."""
    if len(parts) == 1:
        return None, parts[0].times
    times = np.concatenate([part.times for part in parts])
    stamps = np.concatenate([np.maximum.accumulate(part.stamps) for part in parts])
    ranks = np.concatenate([np.full(len(part.rows), part.batch.fence) for part in parts])
    offsets = np.concatenate([part.offsets for part in parts])
    order = np.lexsort((offsets, ranks, stamps))
    return order, times[order]


def places(parts: list[Candidates], order: NDArray[np.int64] | None) -> list[Any]:
    """Where the candidates of each part, in its own order, lie in the merged order."""
    if order is None:
        return [slice(None)]
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    return np.split(inverse, np.cumsum([len(part.rows) for part in parts])[:-1])


def too_late(longest: Mapping[Unit, int], times: NDArray[np.int64], running: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which events lie before every window, judged by the largest time up to them."""
    earliest, latest = int(times.min()), int(running[-1])
    late = np.ones(len(times), dtype=bool)
    for unit, panes in longest.items():
        if pane_of(earliest, unit) > pane_of(latest, unit) - panes:
            return np.zeros(len(times), dtype=bool)
        late &= times // UNIT_MS[unit] <= running // UNIT_MS[unit] - panes
    return late

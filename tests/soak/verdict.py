"""Whether a process grows: the slope of its samples after a warm-up, in percent an hour.

Owns arithmetic only. Called by `tests.soak.__main__`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

HOUR_S = 3600.0
LIMIT_PERCENT = 1.0
"""How much of its memory a worker may gain in an hour."""


class Sample(NamedTuple):
    """What a process has at a moment: memory in bytes, open descriptors."""

    at_s: float
    rss: int
    descriptors: int


class Growth(NamedTuple):
    """What samples say."""

    rss: float
    """The mean, in bytes."""
    percent_an_hour: float
    error: float
    """Standard error of the slope, in percent an hour."""
    descriptors: int
    """How many more are open at most in the last third than in the first."""

    @property
    def problems(self) -> list[str]:
        """Why the soak has failed."""
        problems = []
        if self.percent_an_hour > LIMIT_PERCENT:
            problems.append(f"memory grows by {self.percent_an_hour:.2f} % an hour, more than {LIMIT_PERCENT:g} %")
        if self.descriptors > 0:
            problems.append(f"{self.descriptors} more descriptors are open at the end")
        return problems


def growth(samples: Sequence[Sample]) -> Growth:
    """Return the growth by least squares. Raises ValueError with fewer than three samples."""
    if len(samples) < 3:
        message = f"{len(samples)} samples are too few: run for longer"
        raise ValueError(message)
    count = len(samples)
    middle, mean = sum(sample.at_s for sample in samples) / count, sum(sample.rss for sample in samples) / count
    spread = sum((sample.at_s - middle) ** 2 for sample in samples)
    slope = sum((sample.at_s - middle) * (sample.rss - mean) for sample in samples) / spread
    residues = sum((sample.rss - mean - slope * (sample.at_s - middle)) ** 2 for sample in samples)
    error = math.sqrt(residues / (count - 2) / spread)
    third = count // 3
    first = max(sample.descriptors for sample in samples[:third])
    last = max(sample.descriptors for sample in samples[-third:])
    return Growth(mean, slope * HOUR_S / mean * 100, error * HOUR_S / mean * 100, last - first)

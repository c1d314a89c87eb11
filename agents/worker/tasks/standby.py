"""Standbys: partitions that another worker has, whose changelogs this worker reads continually.

Owns what was read of each, and whether a task may begin with it. A standby applies, publishes and writes nothing: it
collects records, as a task does that is CREATED. What it has read of a changelog is right for ever, as long as the
broker has every record after it: else it is read from the beginning again. Called by `agents.worker.tasks.restorer`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import structlog

from agents.kafka.record_index import keys_and_values, since
from stream.recovery.collected import Collected

log = structlog.get_logger()

SILENT_S = 12 * 3600.0
"""A standby that was given no record for so long reads its changelog again: Kafka removes the deletion of a key after
a day (`delete.retention.ms`), and the key would stay. A partition that has a worker is committed every second or so.
"""


class Standby:
    """One partition of the changelog, read up to an offset."""

    def __init__(self, partition: int, *, now: Callable[[], float] = time.monotonic) -> None:
        """Nothing is read yet."""
        self.partition = partition
        self._now = now
        self.collected = Collected()
        """The newest record of each key."""
        self.read_from: int | None = None
        """Offset from which records were collected without a gap."""
        self.read_up_to: int | None = None
        """Offset after the last record collected."""
        self._read_at = now()
        self.is_ready = False
        """Whether it has come to the end of the changelog once."""

    def collect(self, records: Sequence[Any], start: int, end: int) -> bool:
        """Add the records from offset `start` up to before `end`; return False where some before them are missing."""
        if self.is_silent:
            self.forget()
            return False
        if self.read_from is not None and start < self.read_from:
            self.forget()  # it had begun with a fetch of before the assignment
        if self.read_up_to is None:
            self.read_from = self.read_up_to = start
        if start > self.read_up_to:
            return False
        if end > self.read_up_to:
            up_to = self.read_up_to
            self.collected.add(*keys_and_values(since(records, up_to)))
            self.read_up_to = end
        self._read_at = self._now()
        return True

    @property
    def is_silent(self) -> bool:
        """Whether deletions may have been removed from the changelog since it was read last."""
        return self._now() - self._read_at > SILENT_S

    def fits(self, first: int, end: int) -> bool:
        """Whether the changelog goes on from here; the broker has its offsets from `first` to before `end`."""
        return self.read_up_to is None or first <= self.read_up_to <= end

    def follow(self, end: int | None) -> None:
        """Take note of where the changelog ends now."""
        if not self.is_ready and end is not None and (self.read_up_to or 0) >= end:
            self.is_ready = True
            log.info("standby_ready", partition=self.partition, read_up_to=self.read_up_to, keys=len(self.collected))

    def forget(self) -> None:
        """Forget what was read: the changelog is read from its beginning."""
        if self.read_up_to is not None:
            log.warning("standby_begins_again", partition=self.partition, read_up_to=self.read_up_to)
        self.collected, self.read_from, self.read_up_to, self.is_ready = Collected(), None, None, False
        self._read_at = self._now()


class Standbys(dict[int, Standby]):
    """The standbys of a worker, by partition."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        """None yet."""
        super().__init__()
        self._now = now

    def keep_only(self, partitions: Collection[int]) -> list[int]:
        """Have standbys of exactly these partitions; return those of which nothing is read yet."""
        for partition in [partition for partition in self if partition not in partitions]:
            del self[partition]
        for partition in partitions:
            if partition not in self:
                self[partition] = Standby(partition, now=self._now)
        return [partition for partition in sorted(partitions) if self[partition].read_up_to is None]

    def take(self, partition: int) -> Standby | None:
        """Hand over what was read of a partition that is assigned now; None where nothing of it can be used."""
        standby = self.pop(partition, None)
        if standby is None or standby.read_up_to is None or standby.is_silent:
            return None
        return standby

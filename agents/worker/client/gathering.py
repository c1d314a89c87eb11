"""How long the broker gathers records before it answers a fetch: not at all while the worker has time to spare.

Owns the rule, and the measure of how busy a worker is. Must not know the client that fetches. Used by
`agents.worker.client.thread`.

A fetch costs a turn of two threads, and a step a millisecond, whatever its size. A worker with time to spare answers
each event at once; one that is busy, or has to wait for a core, has fewer and larger steps:

| busy | the broker gathers |
|---|---|
| over `BUSY` | half as long again, at least `SHORTEST_MS`, at most `LONGEST_MS` |
| from `SPARE` to `BUSY` | as long as before |
| under `SPARE` | two thirds as long; below `SHORTEST_MS` not at all |
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

BUSY = 0.6
SPARE = 0.45
SHORTEST_MS = 2.0
LONGEST_MS = 25.0
PERIOD_S = 0.25


def next_wait_ms(wait_ms: float, busy: float) -> float:
    """How long the broker gathers from now on, ms; 0 where it answers at once.

    `wait_ms` is how long it gathered until now. `busy` is the share of that time in which the worker ran or waited for
    a core; of two threads that ran all the time, 2.
    """
    if busy > BUSY:
        return min(LONGEST_MS, max(SHORTEST_MS, wait_ms * 1.5))
    if busy < SPARE:
        shorter = wait_ms / 1.5
        return shorter if shorter >= SHORTEST_MS else 0.0
    return wait_ms


class BusyTime:
    """How busy some threads of this process are: the share of time in which they ran, or waited for a core."""

    def __init__(self, *threads: int) -> None:
        """Begin now. `threads` are native identifiers; where the system does not tell of them, the process counts."""
        self._threads = threads
        self._read_s, self._at_s = self._seconds(), time.monotonic()

    @classmethod
    def of_engine_and_this_thread(cls) -> BusyTime:
        """Of the thread that applies records, which is the main one, and of the caller's."""
        main = threading.main_thread().native_id
        return cls(*{each for each in (main, threading.get_native_id()) if each is not None})

    def share(self) -> float:
        """Seconds that the threads ran or waited for a core, a second since the last call."""
        seconds, now_s = self._seconds(), time.monotonic()
        share = (seconds - self._read_s) / max(now_s - self._at_s, 1e-9)
        self._read_s, self._at_s = seconds, now_s
        return share

    def _seconds(self) -> float:
        try:
            return sum(_ran_and_waited_ns(thread) for thread in self._threads) / 1e9
        except (OSError, ValueError):
            return time.process_time()


def _ran_and_waited_ns(thread: int) -> int:
    """What Linux counts of a thread: nanoseconds on a core, and nanoseconds in a queue for one."""
    ran, waited, _ = Path(f"/proc/self/task/{thread}/schedstat").read_text("ascii").split()
    if ran == "0":
        msg = "this system counts no time of threads"
        raise ValueError(msg)
    return int(ran) + int(waited)

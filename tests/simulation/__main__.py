"""Run simulated schedules for some time: `python -m tests.simulation --seconds 60 --seed 1`.

Owns the command line of `make simulate`. Prints the first failing seeds, what was done and what was wrong; exit 1 then.
A seed that failed runs again, alone, with `--seed N --count 1`.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import count

import structlog

from tests.simulation.schedule import simulate

_AT_ONCE = 20
_SHOWN = 3


def main() -> int:
    """Run until the time is over; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to go on")
    parser.add_argument("--seed", type=int, default=1_000_000, help="the first seed")
    parser.add_argument("--count", type=int, help="how many seeds, at most")
    options = parser.parse_args()
    started = time.monotonic()
    done, failures = 0, []
    with ProcessPoolExecutor(initializer=quiet) as pool:
        for first in count(options.seed, _AT_ONCE):
            seeds = range(first, first + _AT_ONCE)
            if options.count is not None:
                seeds = seeds[: options.count - done]
            for wrong in pool.map(simulate, seeds):
                done += 1
                if wrong:
                    failures.append(wrong)
            if len(failures) >= _SHOWN or time.monotonic() - started > options.seconds or done == options.count:
                break
    for wrong in failures[:_SHOWN]:
        sys.stdout.write("\n".join(wrong[:40]) + "\n\n")
    minutes = (time.monotonic() - started) / 60
    sys.stdout.write(f"{done} schedules, {len(failures)} failed, {done / minutes:.0f} a minute\n")
    return 1 if failures else 0


def quiet() -> None:
    """Log nothing: what a worker would log of a fault is not news here."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


if __name__ == "__main__":
    sys.exit(main())

"""Fixed work for the engine, and what it costs in figures that do not depend on the machine.

Owns the inputs and the counting. Must not know which figures are allowed. Called by `python -m tests.perf_gate`.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream.engine.engine import Engine, Mode
from stream.recovery import changelog
from tests.bench.workload import account_id, first_events, make_workload, values
from tests.driving.engine import fetches_of, plan_of
from tests.faults.events import TEMPLATE, company
from tests.oracle.events import Record

if TYPE_CHECKING:
    from stream.ingest.batch import Batch
    from stream.publishing.effects import Effects

_BENCH = Path(__file__).parents[1] / "bench"
_LATEST_MS = 4_000_000_000_000
_ACCOUNTS = 1_000


@dataclass(frozen=True)
class Work:
    """Records under a policy, a fetch of `fetch` records a step and a commit after every `commit` steps."""

    name: str
    what: str
    policy: str
    make: Callable[[], list[Record]] = field(repr=False)
    fetch: int
    commit: int

    @cached_property
    def records(self) -> list[Record]:
        """The records, in the order in which they are applied."""
        return self.make()


@dataclass(frozen=True)
class Cost:
    """What the work cost: Python and C functions called, bytes written, and memory at the peak."""

    calls: float
    """An event."""
    output_bytes: float
    """An event: of keys and values of scores, changes and alerts."""
    changelog_bytes: float
    """An event: of keys and values of snapshots."""
    peak_kib: float
    """Of all that was allocated meanwhile."""


def _usage(workload: Any) -> list[Record]:
    return [
        Record("product-usage", 0, offset, int(time_ms), account_id(account).encode(), value)
        for offset, (account, time_ms, value) in enumerate(
            zip(workload.account.tolist(), workload.time_ms.tolist(), values(workload), strict=True)
        )
    ]


def _company() -> list[Record]:
    offsets = Counter[str]()
    records = []
    for message in company(40, 40):
        records.append(
            Record(message.topic, 0, offsets[message.topic], message.timestamp_ms, message.key, message.value)
        )
        offsets[message.topic] += 1
    return records


WORKS = (
    Work(
        "usage",
        "10,000 usage events of 1,000 accounts, two measures",
        (_BENCH / "policy.toml").read_text("utf-8"),
        lambda: _usage(make_workload(10_000, _ACCOUNTS)),
        fetch=500,
        commit=8,
    ),
    Work(
        "wide",
        "10,000 usage events, each of another account than the 4,999 before, two measures",
        (_BENCH / "policy.toml").read_text("utf-8"),
        lambda: _usage(first_events(5_000, each=2)),
        fetch=500,
        commit=2,
    ),
    Work("template", "five topics of 40 accounts over 40 days, the template policy", TEMPLATE, _company, 200, 8),
    Work(
        "everything",
        "the same five topics, a policy that uses every feature",
        (_BENCH / "everything.toml").read_text("utf-8"),
        _company,
        fetch=200,
        commit=8,
    ),
)


def steps_of(work: Work) -> Iterator[list[Batch]]:
    """Batches that are applied together, decoded as a worker does."""
    sources = plan_of(work.policy).sources
    for begin in range(0, len(work.records), work.fetch):
        fetches = fetches_of(work.records[begin : begin + work.fetch], sources)
        yield [batch for fetch in fetches for batch in fetch.batches]


def run(work: Work, make: Callable[..., Engine] = Engine) -> tuple[float, float]:
    """Do the work; returns bytes of outputs and of the changelog, an event."""
    engine = make(plan_of(work.policy), dedup_ids=200_000)
    written = saved = 0
    for number, batches in enumerate(steps_of(work), 1):
        written += _bytes_of(engine.step(batches, Mode.HEAD, _LATEST_MS))
        if number % work.commit == 0:
            written += _bytes_of(engine.flush(Mode.HEAD))
            saved += sum(len(key) + len(value or b"") for key, value in changelog.snapshot(engine))
    return written / len(work.records), saved / len(work.records)


def _bytes_of(effects: Effects) -> int:
    sent: Sequence[Any] = (*effects.scores, *effects.changes, *effects.alerts)
    return sum(len(record.key or b"") + len(record.value or b"") for record in sent)


def measure(work: Work, make: Callable[..., Engine] = Engine) -> Cost:
    """Do the work three times: to fill caches, to count calls, and to follow memory."""
    written, saved = run(work, make)
    calls = _calls(lambda: run(work, make))
    gc.collect()
    tracemalloc.start()
    try:
        run(work, make)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return Cost(calls / len(work.records), written, saved, peak / 1024)


def _calls(work: Callable[[], object]) -> int:
    """How many functions of Python and C are called."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    gc.collect()
    gc.disable()  # when it runs depends on what ran before
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
        gc.enable()
    return calls

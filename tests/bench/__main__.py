"""`python -m tests.bench`: account-vitals beside what else a user could pick, on one machine and one real Kafka.

Owns the options and the order. Throughput, latency and restart each get a broker of their own. The last line of stdout
is JSON. Exit code 1 when an engine fails or its result is wrong: no figure is shown for it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tests.bench.board import measure_board
from tests.bench.engines import LATENCY, MANY_ACCOUNTS_TEMPLATE_POLICY, RESTORE, THROUGHPUT
from tests.bench.everything_new import measure_everything_new
from tests.bench.files import measure_files
from tests.bench.latency import RATES, measure_latency
from tests.bench.mapping import measure_mapping
from tests.bench.page import measure_page
from tests.bench.progress import EngineError
from tests.bench.report import Results, as_json, show
from tests.bench.restore import measure_after_kill, measure_restore
from tests.bench.throughput import measure_throughput
from tests.bench.workloads import KINDS, Kind
from tests.broker.jars import FetchError, MissingToolError, tool
from tests.broker.kafka_server import KafkaServer, KafkaServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ALONE = ("board", "page", "files", "mapping", "everything_new")
_NAMES = (*(engine.name for engine in THROUGHPUT), "latency", "restore", "after_kill", *_ALONE)
_HEAP_MB = 4096
_COLUMNS = 120  # of tables that go to no terminal
# Records carry event times, months ago: they must not be deleted for their age. Changelogs must not be compacted before
# their bytes are counted.
_SETTINGS = {
    "log.retention.ms": "-1",
    "log.cleaner.min.compaction.lag.ms": str(10 * 365 * 86_400_000),
    # As Kafka does by default, but shorter: members that start together share the partitions from the beginning.
    "group.initial.rebalance.delay.ms": "1000",
}


def run(
    events: Annotated[int, typer.Option(min=1000, help="Events that the fastest engines read.")] = 60_000_000,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of every engine; the median counts.")] = 3,
    workload: Annotated[str, typer.Option(help=f"Events of the throughput runs: {', '.join(KINDS)}.")] = "uniform",
    only: Annotated[str, typer.Option(help=f"Comma-separated: {', '.join(_NAMES)}.")] = ",".join(_NAMES),
) -> None:
    """Measure, show tables, and end with one JSON line."""
    if workload not in KINDS:
        message = f"--workload does not know {workload}; it knows {', '.join(KINDS)}"
        raise typer.BadParameter(message)
    kind = KINDS[workload]
    selected = only.split(",")
    unknown = set(selected) - set(_NAMES)
    if unknown:
        message = f"--only does not know {', '.join(sorted(unknown))}; it knows {', '.join(_NAMES)}"
        raise typer.BadParameter(message)
    if workload != "uniform":
        # Other workloads measure throughput alone.
        names = [engine.name for engine in kind.engines]
        selected = [name for name in names if name in selected]
        if not selected:
            message = f"--only names no engine of --workload {workload}, which has {', '.join(names)}"
            raise typer.BadParameter(message)
    progress = Console(stderr=True)
    try:
        with tempfile.TemporaryDirectory(prefix="vitals-bench-") as folder, progress.status("starting Kafka") as status:
            # Where nobody sees the status, each step is a line: what was measured is there if a later step fails.
            tell = status.update if progress.is_terminal else progress.print
            results, failures = _measure(selected, kind, events=events, repeats=repeats, folder=Path(folder), tell=tell)
    except (FetchError, KafkaServerError, MissingToolError) as error:
        _say(progress, str(error))
        raise typer.Exit(1) from error
    show(Console(width=None if sys.stdout.isatty() else _COLUMNS), results)
    sys.stdout.write(json.dumps(as_json(results)) + "\n")
    for failure in failures:
        _say(progress, failure)
    if failures:
        raise typer.Exit(1)


def _say(progress: Console, problem: str) -> None:
    progress.print(problem, style="red", markup=False, highlight=False)


def _measure(
    selected: list[str], kind: Kind, *, events: int, repeats: int, folder: Path, tell: Callable[[str], None]
) -> tuple[Results, list[str]]:
    """Everything that was measured, and why the rest has no figures."""
    results, failures = Results(title=kind.label), list[str]()
    if "page" in selected:
        tool("chromium-headless-shell")  # a missing tool is reported before an hour's work
    engines = [engine for engine in kind.engines if engine.name in selected]
    if engines:
        with _broker() as kafka:
            results.throughput = measure_throughput(
                kafka, engines, kind, events=events, repeats=repeats, folder=folder, tell=tell, failures=failures
            )
    if "latency" in selected:
        for rate, engine in product(RATES, LATENCY):
            with _broker() as kafka, _failing(failures):
                measured = measure_latency(kafka, engine, rate, folder=folder, tell=tell)
                results.latency[engine.name, rate] = measured
    if "restore" in selected:
        for engine in RESTORE:
            with _broker() as kafka, _failing(failures):
                results.restore[engine.name] = measure_restore(kafka, engine, folder=folder, tell=tell)
    if "after_kill" in selected:
        for engine in MANY_ACCOUNTS_TEMPLATE_POLICY:
            with _broker() as kafka, _failing(failures):
                results.after_kill = measure_after_kill(kafka, engine, folder=folder, tell=tell)
    with _failing(failures):
        _measure_without_broker(results, selected, folder, tell)
    return results, failures


@contextmanager
def _failing(failures: list[str]) -> Iterator[None]:
    """Go on with other measurements where one fails."""
    try:
        yield
    except EngineError as error:
        failures.append(str(error))


def _measure_without_broker(results: Results, selected: list[str], folder: Path, tell: Callable[[str], None]) -> None:
    if "board" in selected:
        results.board = measure_board(tell)
    if "files" in selected:
        results.files = measure_files(folder, tell)
    if "mapping" in selected:
        results.mapping = measure_mapping(tell)
    if "everything_new" in selected:
        results.policies = measure_everything_new(tell)
    if "page" in selected:
        results.page = measure_page(tell)


def _broker() -> KafkaServer:
    return KafkaServer(heap_mb=_HEAP_MB, lasting=True, settings=_SETTINGS)


if __name__ == "__main__":
    typer.run(run)

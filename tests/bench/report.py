"""Shows what was measured: tables for people, one JSON line for programs.

Owns the presentation. Must not measure. Called by `__main__`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tests.bench.restore import MANY

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from tests.bench.board import BoardFigures
    from tests.bench.everything_new import PolicyRun
    from tests.bench.files import FilesRun
    from tests.bench.latency import Latency, Percentiles
    from tests.bench.mapping import MappingRun
    from tests.bench.page import PageFigures
    from tests.bench.restore import AfterKill, Restored
    from tests.bench.throughput import Measured

OURS = "ours"
_BUSY = 0.1
# What is compared with what: the same work, as far as a rival can do it.
_RATIOS = (
    ("ours", "kafka_streams"),
    ("ours", "kafka_streams_exactly_once"),
    ("ours_dedup", "kafka_streams"),
    ("ours_dedup", "kafka_streams_exactly_once"),
    ("ours_one", "kafka_streams"),
    ("ours_exact", "kafka_streams_exact"),
    ("ours_exact", "flink"),
    ("ours", "flink"),
    ("ours", "quix"),
    ("ours", "bytewax"),
    ("ours", "pathway"),
    ("ours", "faust"),
    ("ours", "floor"),
)


@dataclass
class Results:
    """Everything that one call measured, by engine."""

    title: str = ""
    """The workload of the throughput runs."""
    throughput: dict[str, Measured] = field(default_factory=dict)
    latency: dict[tuple[str, int], Latency] = field(default_factory=dict)
    """By engine and rate, events a second."""
    restore: dict[str, Restored] = field(default_factory=dict)
    after_kill: AfterKill | None = None
    board: BoardFigures | None = None
    page: PageFigures | None = None
    files: list[FilesRun] = field(default_factory=list)
    mapping: MappingRun | None = None
    policies: list[PolicyRun] = field(default_factory=list)


def as_json(results: Results) -> dict[str, Any]:
    """The figures of the JSON line; a figure that was not measured is not there."""
    figures: dict[str, Any] = {}
    speeds = {name: measured.median for name, measured in results.throughput.items()}
    if speeds:
        figures["cpu_us_per_event"] = {
            name: round(median(measured.cpu_us_per_event), 2) for name, measured in results.throughput.items()
        }
        figures["broker_cpu_us_per_event"] = {
            name: round(median(measured.broker_us_per_event), 2) for name, measured in results.throughput.items()
        }
        figures["peak_mb"] = {name: round(median(measured.peak_mb)) for name, measured in results.throughput.items()}
        figures["events_per_s"] = {name: round(speed) for name, speed in speeds.items()}
        figures["ratio"] = {
            f"{ours}/{rival}": round(speeds[ours] / speeds[rival], 2)
            for ours, rival in _RATIOS
            if ours in speeds and rival in speeds
        }
    for (engine, rate), latency in results.latency.items():
        if engine == OURS:
            figures.setdefault("latency_ms", {})[rate] = _percentiles(latency.scores)
            if latency.alerts is not None:
                figures.setdefault("alert_ms", {})[rate] = _percentiles(latency.alerts)
    if OURS in results.restore:
        restored = results.restore[OURS]
        figures["bytes_per_account"] = round(restored.bytes_per_account)
        figures["restore_accounts_per_s"] = round(restored.accounts_per_s)
    if results.after_kill is not None:
        measured = asdict(results.after_kill)
        figures["after_kill"] = {name: round(value, 1) for name, value in measured.items() if name != "label"}
    if OURS in results.throughput:
        figures["changelog_bytes_per_event"] = round(results.throughput[OURS].changelog_bytes_per_event, 1)
    return figures | _without_broker(results)


def _percentiles(waited: Percentiles) -> dict[str, float]:
    return {"p50": round(waited.p50, 1), "p99": round(waited.p99, 1), "p99.9": round(waited.p999, 1)}


def _without_broker(results: Results) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    if results.board is not None:
        figures["board"] = {name: round(value, 1) for name, value in asdict(results.board).items()}
    if results.page is not None:
        figures["page_ms"] = {name: round(value) for name, value in asdict(results.page).items()}
    if results.files:
        figures["files"] = [asdict(run) for run in results.files]
    if results.mapping is not None:
        figures["mapping"] = {**asdict(results.mapping), "share": round(results.mapping.share, 3)}
    if results.policies:
        figures["policies"] = [asdict(run) for run in results.policies]
    return figures


def show(console: Console, results: Results) -> None:
    """Print a table for each kind of measurement that was made."""
    if results.throughput:
        console.print(_throughput_table(results.title, results.throughput))
        others = max(share for row in results.throughput.values() for share in row.others)
        if others > _BUSY:
            console.print(
                f"Up to {others:.0%} of the machine went to other programs: measure again when it is idle.",
                style="yellow",
            )
    tables: tuple[tuple[Any, Callable[[Any], Table]], ...] = (
        (results.latency, _latency_table),
        (results.restore, _restore_table),
        (results.after_kill, _after_kill_table),
        (results.board, _board_table),
        (results.page, _page_table),
        (results.files, _files_table),
        (results.mapping, _mapping_table),
        (results.policies, _policies_table),
    )
    for measured, table in tables:
        if measured:
            console.print(table(measured))


def _board_table(board: BoardFigures) -> Table:
    table = Table(title="A board: 10,000 accounts, 1,000,000 changes; CPU time", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("records/s", "RSS B/account", "summary ms", "past days ms", "list ms", "page ms", "row µs"):
        table.add_column(heading, justify="right", no_wrap=True)
    counts = (f"{board.records_per_s:,.0f}", f"{board.bytes_per_account:,.0f}", f"{board.summary_ms:,.0f}")
    table.add_row(
        *counts, f"{board.past_days_ms:,.0f}", f"{board.list_ms:,.0f}", f"{board.page_ms:.1f}", f"{board.row_us:,.0f}"
    )
    return table


def _files_table(runs: list[FilesRun]) -> Table:
    table = Table(title="Event files, start to end of the process", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("program", no_wrap=True)
    for heading in ("events", "seconds", "CPU s", "peak MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for run in runs:
        table.add_row(run.label, f"{run.events:,}", f"{run.seconds:.1f}", f"{run.cpu_s:.1f}", f"{run.peak_mb:,.0f}")
    return table


def _mapping_table(run: MappingRun) -> Table:
    table = Table(title="Events per second of CPU time", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("native", "mapping alone", "mapped and scored", "share of native"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row(f"{run.native:,.0f}", f"{run.mapped:,.0f}", f"{run.both:,.0f}", f"{run.share:.0%}")
    return table


def _policies_table(runs: list[PolicyRun]) -> Table:
    table = _table("Policies, by CPU time of one process", "events", "accounts", "events/s", "µs to score an account")
    for run in runs:
        table.add_row(
            run.name, f"{run.events:,}", f"{run.accounts:,}", f"{run.events_per_s:,.0f}", f"{run.score_us:,.0f}"
        )
    return table


def _page_table(page: PageFigures) -> Table:
    table = Table(title="Milliseconds from event to page", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("p50", "p99", "slowest", "samples"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row(f"{page.p50:,.0f}", f"{page.p99:,.0f}", f"{page.slowest:,.0f}", f"{page.samples:,}")
    return table


def _table(title: str, *figures: str) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left", box=SIMPLE_HEAD)
    table.add_column("engine", no_wrap=True)
    for heading in figures:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _throughput_table(title: str, measured: dict[str, Measured]) -> Table:
    heads = ("CPU µs", "broker µs", "events/s", "range, k", "peak MB", "changes", "log B")
    table = _table(f"Processor time of an event, and events per second: medians of the runs. {title}", *heads)
    table.caption = (
        "exact: every account is looked at on each day's boundary, and each change is published; else changes are "
        "conflated, unless it says each change. EOS: exactly-once transactions. CPU (of the engine, and of the broker) "
        "and changelog are per event. Slower engines read fewer of the same events."
    )
    for row in measured.values():
        span = f"{min(row.events_per_s) / 1e3:.1f}-{max(row.events_per_s) / 1e3:.1f}"
        cpu = (f"{median(row.cpu_us_per_event):.2f}", f"{median(row.broker_us_per_event):.2f}")
        rest = (f"{median(row.peak_mb):,.0f}", f"{row.changes:,}", f"{row.changelog_bytes_per_event:,.1f}")
        table.add_row(row.label, *cpu, f"{row.median:,.0f}", span, *rest)
    return table


def _latency_table(measured: dict[tuple[str, int], Latency]) -> Table:
    heads = ("events/s", "p50", "p99", "p99.9", "alert p50", "p99", "p99.9", "samples")
    table = _table("Milliseconds from event to score and to alert, all in Kafka", *heads)
    for row in measured.values():
        scores = [f"{value:,.0f}" for value in row.scores]
        alerts = ["-"] * len(scores) if row.alerts is None else [f"{value:,.0f}" for value in row.alerts]
        table.add_row(row.label, f"{row.rate:,.0f}", *scores, *alerts, f"{row.samples:,}")
    return table


def _after_kill_table(run: AfterKill) -> Table:
    heads = ("CPU µs an event", "published s", "peak MB", "MB", "kill to ready s", "peak MB", "MB")
    table = _table("1,000,000 accounts, template policy, and a restart after kill -9", *heads)
    memory = (f"{run.peak_mb:,.0f}", f"{run.steady_mb:,.0f}")
    again = (f"{run.restart_peak_mb:,.0f}", f"{run.restart_steady_mb:,.0f}")
    table.add_row(
        run.label, f"{run.cpu_us_per_event:.1f}", f"{run.published_s:.0f}", *memory, f"{run.ready_s:.1f}", *again
    )
    return table


def _restore_table(measured: dict[str, Restored]) -> Table:
    table = _table(f"Restart with {MANY:,} accounts", "accounts/s", "RSS B/account", "changelog MB")
    for row in measured.values():
        megabytes = row.changelog_bytes / 1e6
        table.add_row(row.label, f"{row.accounts_per_s:,.0f}", f"{row.bytes_per_account:,.0f}", f"{megabytes:,.1f}")
    return table

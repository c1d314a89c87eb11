"""Shows what was measured: tables for people, one JSON line for programs.

Owns the presentation. Must not measure. Called by `__main__`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from tests.bench.latency import Latency
    from tests.bench.restore import Restored
    from tests.bench.throughput import Measured

OURS = "ours"
_BUSY = 0.1
# What is compared with what: the same work, as far as a rival can do it.
_RATIOS = (
    ("ours", "kafka_streams"),
    ("ours", "kafka_streams_exactly_once"),
    ("ours_dedup", "kafka_streams_exactly_once"),
    ("ours_exact", "kafka_streams_exact"),
    ("ours", "faust"),
    ("ours", "floor"),
)


@dataclass
class Results:
    """Everything that one call measured, by engine."""

    throughput: dict[str, Measured] = field(default_factory=dict)
    latency: dict[str, Latency] = field(default_factory=dict)
    restore: dict[str, Restored] = field(default_factory=dict)


def as_json(results: Results) -> dict[str, Any]:
    """The figures of the JSON line; a figure that was not measured is not there."""
    found: dict[str, Any] = {}
    speeds = {name: measured.median for name, measured in results.throughput.items()}
    if speeds:
        found["events_per_s"] = {name: round(speed) for name, speed in speeds.items()}
        found["ratio"] = {
            f"{ours}/{rival}": round(speeds[ours] / speeds[rival], 2)
            for ours, rival in _RATIOS
            if ours in speeds and rival in speeds
        }
    if OURS in results.latency:
        latency = results.latency[OURS]
        found["latency_ms"] = {"p50": round(latency.p50, 1), "p99": round(latency.p99, 1)}
    if OURS in results.restore:
        restored = results.restore[OURS]
        found["bytes_per_account"] = round(restored.bytes_per_account)
        found["restore_accounts_per_s"] = round(restored.accounts_per_s)
    if OURS in results.throughput:
        found["changelog_bytes_per_event"] = round(results.throughput[OURS].changelog_bytes_per_event, 1)
    return found


def show(console: Console, results: Results) -> None:
    """Print a table for each kind of measurement that was made."""
    if results.throughput:
        console.print(_throughput_table(results.throughput))
        others = max(share for row in results.throughput.values() for share in row.others)
        if others > _BUSY:
            console.print(
                f"Up to {others:.0%} of the machine went to other programs: measure again when it is idle.",
                style="yellow",
            )
    if results.latency:
        console.print(_latency_table(results.latency))
    if results.restore:
        console.print(_restore_table(results.restore))


def _throughput_table(measured: dict[str, Measured]) -> Table:
    table = Table(title="Events per second, median of the runs", title_justify="left")
    table.add_column("engine")
    for heading in ("events/s", "lowest", "highest", "CPU µs/event", "published", "log B/event"):
        table.add_column(heading, justify="right")
    for row in measured.values():
        lowest, highest = min(row.events_per_s), max(row.events_per_s)
        figures = (f"{row.median:,.0f}", f"{lowest:,.0f}", f"{highest:,.0f}", f"{median(row.cpu_us_per_event):.1f}")
        table.add_row(row.label, *figures, f"{row.changes:,}", f"{row.changelog_bytes_per_event:,.0f}")
    return table


def _latency_table(measured: dict[str, Latency]) -> Table:
    table = Table(title="Milliseconds from event to score, both in Kafka", title_justify="left")
    table.add_column("engine")
    for heading in ("events/s", "p50", "p99", "samples"):
        table.add_column(heading, justify="right")
    for row in measured.values():
        table.add_row(row.label, f"{row.rate:,.0f}", f"{row.p50:,.0f}", f"{row.p99:,.0f}", f"{row.samples:,}")
    return table


def _restore_table(measured: dict[str, Restored]) -> Table:
    table = Table(title="Restart with 100,000 accounts", title_justify="left")
    table.add_column("engine")
    for heading in ("accounts/s", "RSS B/account", "changelog MB"):
        table.add_column(heading, justify="right")
    for row in measured.values():
        megabytes = row.changelog_bytes / 1e6
        table.add_row(row.label, f"{row.accounts_per_s:,.0f}", f"{row.bytes_per_account:,.0f}", f"{megabytes:,.1f}")
    return table

"""Reads processor time and memory: what an engine took, and what others on the machine took meanwhile.

Owns the arithmetic on counters. Must not know engines. Called by `throughput`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class CpuUse:
    """Processor seconds up to a moment."""

    at_s: float
    engine_s: float
    ours_s: float  # engine, broker and this process
    machine_s: float  # everything that was not idle, all cores


@dataclass(frozen=True)
class CpuShare:
    """What happened between two moments."""

    engine_s: float
    others: float  # share of all cores that went to processes which are no part of the benchmark, 0..1


def read_cpu(engine_pid: int) -> CpuUse:
    """Read the counters once."""
    engine = _process_s(psutil.Process(engine_pid))
    # The engine and the broker are children of this process.
    ours = _process_s(psutil.Process())
    total = psutil.cpu_times()
    waiting = total.idle + getattr(total, "iowait", 0.0)
    # Linux counts guests in user and nice as well.
    guests = getattr(total, "guest", 0.0) + getattr(total, "guest_nice", 0.0)
    return CpuUse(time.monotonic(), engine, ours, sum(total) - waiting - guests)


def between(first: CpuUse, last: CpuUse) -> CpuShare:
    """Compare two readings."""
    cores = psutil.cpu_count() or 1
    others_s = (last.machine_s - first.machine_s) - (last.ours_s - first.ours_s)
    return CpuShare(last.engine_s - first.engine_s, max(0.0, others_s / (cores * (last.at_s - first.at_s))))


def _process_s(process: psutil.Process) -> float:
    """Of a process and its running children."""
    times = [member.cpu_times() for member in (process, *process.children(recursive=True))]
    return float(sum(spent.user + spent.system for spent in times))


def peak_mb(pid: int) -> float:
    """The most memory (RSS) that a process and each of its running children had, added up, in MB."""
    process = psutil.Process(pid)
    return sum(_peak_kb(member.pid) for member in (process, *process.children(recursive=True))) / 1000


def _peak_kb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return float(line.split()[1]) * 1.024

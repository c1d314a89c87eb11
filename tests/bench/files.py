"""Measures `vitals` over event files, beside pandas and DuckDB that compute the same windows.

Owns the method: each run is a process of its own that reads one JSON Lines file, so that start, reading and memory are
in its figures; their values of the windows must agree. Must not know how commands work. Called by `__main__`, and as a
program by itself.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.progress import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

POLICY = Path(__file__).with_suffix(".toml")
SIZES = ((139_078, 23_570), (1_000_000, 23_570))
"""Events and accounts of each file; the first are those of a year and a half of purchases in a shop."""
DAYS = 548
END_MS = 1_767_225_600_000
"""2026-01-01: the moment of the scores, and after the last event."""
DAY_MS = 86_400_000
AS_OF = "2026-01-01T00:00:00Z"

_PANDAS = """
import sys, pandas as pd
events = pd.read_json(sys.argv[1], lines=True, dtype={"id": str}, convert_dates=False)
events["day"] = events["time"] // 86_400_000
end = int(sys.argv[2]) // 86_400_000
recent = events[events["day"] > end - 30]
result = events.groupby("account_id")["day"].max().rsub(end).to_frame("last_use")
by_account = recent.groupby("account_id")["user_id"]
result["uses"], result["people"] = by_account.size(), by_account.nunique()
result.fillna(0).to_json(sys.stdout, orient="index")
"""
_DUCKDB = """
import json, sys, duckdb
end = int(sys.argv[2]) // 86_400_000
rows = duckdb.sql(f'''
  select account_id, {end} - max(time // 86400000) as last_use,
         count(*) filter (time // 86400000 > {end} - 30) as uses,
         count(distinct user_id) filter (time // 86400000 > {end} - 30) as people
  from read_json(\\'{sys.argv[1]}\\', format = \\'newline_delimited\\') group by account_id''').fetchall()
print(json.dumps({account: {"last_use": last, "uses": uses, "people": people} for account, last, uses, people in rows}))
"""


@dataclass(frozen=True)
class FilesRun:
    """One run over a file: what it was, and what it took."""

    label: str
    events: int
    seconds: float
    cpu_s: float
    peak_mb: float


def measure_files(folder: Path, tell: Callable[[str], None]) -> list[FilesRun]:
    """Run every program over every file. Raises `EngineError` where one fails or their values differ."""
    runs: list[FilesRun] = []
    for events, accounts in SIZES:
        file = folder / "product-usage.jsonl"
        account = _write(file, events, accounts)
        vitals, policy = Path(sys.executable).with_name("vitals"), ("--policy", str(POLICY))
        programs: dict[str, list[str]] = {
            "vitals score --as-of": [str(vitals), "score", str(file), *policy, "--as-of", AS_OF],
            "vitals explain": [str(vitals), "explain", account, str(file), *policy, "--as-of", AS_OF],
            "vitals score --history": [str(vitals), "score", str(file), *policy, "--history"],
            "pandas": [sys.executable, "-c", _PANDAS, str(file), str(END_MS)],
            "DuckDB": [sys.executable, "-c", _DUCKDB, str(file), str(END_MS)],
        }
        for label, command in programs.items():
            tell(f"{label}: {events:,} events of files")
            runs.append(_run(label, events, command, folder / label))
        # Read when all have run: the peak of a child counts the memory that its parent has when it starts.
        ours = _values((folder / "vitals score --as-of").read_bytes())
        for rival in ("pandas", "DuckDB"):
            theirs = {name: _rounded(row) for name, row in json.loads((folder / rival).read_bytes()).items()}
            differ = [name for name, values in ours.items() if values != theirs[name]]
            if differ or not ours:
                message = f"{rival} and account-vitals differ in {len(differ)} accounts, such as {differ[:1]}"
                raise EngineError(message)
    return runs


def _write(file: Path, events: int, accounts: int) -> str:
    """Write events in the order of time, some accounts with many more than others; returns the busiest account."""
    chance = random.Random(events)
    times = sorted(chance.randrange(END_MS - DAYS * DAY_MS, END_MS) for _ in range(events))
    with file.open("w", encoding="utf-8") as lines:
        for number, time_ms in enumerate(times):
            account = int(accounts * chance.random() ** 2)
            event = {"id": str(number), "account_id": f"account-{account:05}", "time": time_ms, "feature": "report"}
            lines.write(json.dumps(event | {"user_id": f"user-{chance.randrange(8)}"}) + "\n")
    return "account-00000"


def _run(label: str, events: int, command: list[str], output: Path) -> FilesRun:
    with output.open("wb") as stdout:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE)
        assert process.stderr is not None
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        message = f"{label}: {errors.decode(errors='replace').strip()}"
        raise EngineError(message)
    return FilesRun(label, events, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def _values(output: bytes) -> dict[str, dict[str, float]]:
    """The value of each measure by account, without accounts that have been silent for so long that they have none."""
    values = {}
    for line in output.splitlines():
        scored: dict[str, Any] = json.loads(line)
        factors = scored["scores"]["health"]["factors"]
        if factors[0]["value"] is not None:
            values[scored["account_id"]] = {factor["measure"]: factor["value"] for factor in factors}
    return values


def _rounded(row: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in row.items()}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        for each in measure_files(Path(name), partial(print, file=sys.stderr)):
            sys.stdout.write(f"{each}\n")

"""Measures a board over 10,000 accounts and a million changes: how fast it reads, what it holds, how long answers take.

Owns the method: a process of its own applies synthetic records, as its reader would pass them, and asks itself. The
broker is left out: what is measured is ours. Many clients are the fault test's (row 19). Called by `__main__`, and
as a program by itself.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import psutil

from agents.board.views.account import page_of
from agents.board.views.listing import ListQuery
from agents.board.views.listing import page_of as list_of
from agents.board.views.rows import row_of
from agents.board.views.summary import past_days, scores_of
from schemas.topics import DAY_MS
from tests.driving.boards import NOON, board_of, change, score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agents.board.state.board import Board, Record

ROOT = Path(__file__).parents[2]
ACCOUNTS, CHANGES = 10_000, 100
_EVERY_MS = 90 * DAY_MS // CHANGES
_MEASURES = ("product_usage", "support_tickets", "payment_history", "engagement", "nps")
_TIMES = 20


@dataclass(frozen=True)
class BoardFigures:
    """What was seen; all times are CPU time, `*_ms` are means."""

    records_per_s: float
    bytes_per_account: float
    summary_ms: float
    past_days_ms: float
    list_ms: float
    page_ms: float
    row_us: float


def _records(first: int, until: int) -> Iterator[Record]:
    """Accounts with so many changes over 90 days, two of five measures moving each time."""
    for number in range(first, until):
        account, before = f"account-{number:05}", None
        for index in range(CHANGES):
            after = float((number * 31 + index * 17) % 101)
            delta = after - (before or 0.0)
            parts = dict.fromkeys(_MEASURES, 0.0)
            parts[_MEASURES[index % 5]], parts[_MEASURES[(index + 1) % 5]] = delta - 1.0, 1.0
            time_ms = NOON - (CHANGES - index) * _EVERY_MS
            yield change(account, time_ms, before, after, deltas=parts, revision=index, id=f"{number:016x}{index:016x}")
            before = after
        yield score(account, before or 0.0)


def _mean_ms(call: Callable[[], object], times: int = _TIMES) -> float:
    started_s = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - started_s) / times * 1000


def _figures() -> BoardFigures:
    board: Board = board_of()
    process = psutil.Process()
    before, spent_s, taken = process.memory_info().rss, 0.0, 0
    for first in range(0, ACCOUNTS, 100):
        records = list(_records(first, first + 100))
        started_s = time.process_time()
        board.apply(records)
        spent_s += time.process_time() - started_s
        taken += len(records)
        del records
    gc.collect()
    held = process.memory_info().rss - before
    state = board.state
    account = state.accounts["account-00007"]
    past = past_days(state)
    rows = list(state.accounts.values())[:500]
    return BoardFigures(
        records_per_s=taken / spent_s,
        bytes_per_account=held / ACCOUNTS,
        summary_ms=_mean_ms(lambda: scores_of(state, past), 5),
        past_days_ms=_mean_ms(lambda: past_days(state), 5),
        list_ms=_mean_ms(lambda: list_of(state, ListQuery("health", sort="change_7d"), 50, None)),
        page_ms=_mean_ms(lambda: msgspec.json.encode(page_of(state, account, None))),
        row_us=_mean_ms(lambda: [row_of(state, account_id) for account_id in rows], 3) / len(rows) * 1000,
    )


def measure_board(tell: Callable[[str], None]) -> BoardFigures:
    """Measure in a fresh process."""
    tell(f"the board: {ACCOUNTS:,} accounts, {ACCOUNTS * CHANGES:,} changes")
    command = [sys.executable, "-m", "tests.bench.board"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return BoardFigures(**json.loads(done.stdout))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_figures())) + "\n")

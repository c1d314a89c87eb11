"""`python -m tests.perf_gate`: what the engine does for fixed work, beside the figures that were committed.

A figure that is worse than the committed one by more than its margin fails, with exit code 1. `--write` commits the
figures of now to `figures.toml`: do that in the change that explains them.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.perf_gate.gate import FIGURES, MARGINS, UNITS, compare, read_figures, write_figures
from tests.perf_gate.work import WORKS, measure


def run(*, write: Annotated[bool, typer.Option(help=f"Store the figures of now in {FIGURES.name}.")] = False) -> None:
    """Measure, show a table, and fail where a figure became worse."""
    progress = Console(stderr=True)
    with progress.status("measuring") as status:
        costs = {}
        for work in WORKS:
            status.update(f"measuring {work.name}: {work.what}")
            costs[work.name] = measure(work)
    if write:
        write_figures(costs)
        progress.print(f"wrote {FIGURES}")
        return
    figures = read_figures()
    table = Table("work", "figure", "committed", "now", "change", "allowed")
    for name, cost in costs.items():
        for figure, now in asdict(cost).items():
            committed = figures[name][figure]
            change = f"{(now / committed - 1) * 100:+.1f} %"
            allowed = f"+{MARGINS[figure] * 100:.0f} %"
            table.add_row(name, UNITS[figure], f"{committed:,.1f}", f"{now:,.1f}", change, allowed)
    Console().print(table)
    problems = [problem for name, cost in costs.items() for problem in compare(name, cost, figures[name])]
    for problem in problems:
        progress.print(problem, style="red", markup=False, highlight=False)
    sys.exit(bool(problems))


if __name__ == "__main__":
    typer.run(run)

"""Injects random faults for some time: `python -m tests.torture --seconds 600 --seed 7`, or `make torture`.

Owns the command line: rounds, progress, the report of a failure and its shrinking. Ends with status 1 after the first
round that is not as the oracle says, and keeps the logs of that round and of the smallest one that fails.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from tests.torture.plan import Plan, draw_plan, kinds_of
from tests.torture.rounds import Result, run_round
from tests.torture.shrink import smallest

ROOT = Path(__file__).parents[2]
LOGS = ROOT / "build" / "torture"


def run(  # noqa: PLR0917
    seconds: Annotated[float, typer.Option(min=1, help="No round begins after so many seconds.")] = 600,
    seed: Annotated[int, typer.Option(help="Seed of the first round; the next ones follow.")] = 1,
    rounds: Annotated[int | None, typer.Option(min=1, help="How many rounds, at most.")] = None,
    only: Annotated[
        str, typer.Option(help="Numbers of the faults to inject, such as 1,4; the others are left out.")
    ] = "",
    tries: Annotated[int, typer.Option(min=0, help="Rounds to spend on making a failure smaller.")] = 8,
    logs: Annotated[Path, typer.Option(help="Folder for the logs of rounds that fail.")] = LOGS,
) -> None:
    """Run rounds of random faults, each of 20 s, and compare each with the oracle."""
    began_s = time.monotonic()
    done = 0
    for number in itertools.count(seed):
        if done == rounds or (done and time.monotonic() - began_s > seconds):
            break
        plan = draw_plan(number)
        plan = plan.only([int(fault) for fault in only.split(",")]) if only else plan
        result = _played(
            plan, logs / f"seed-{number}", f"round {done + 1}, {time.monotonic() - began_s:.0f} of {seconds:.0f} s"
        )
        done += 1
        if result.problems:
            _report(result)
            _shrink(result, logs / f"seed-{number}-smaller", tries)
            raise typer.Exit(1)
    typer.echo(f"{done} rounds from seed {seed} at {_commit()}: all equal to the oracle")


def _played(plan: Plan, folder: Path, title: str) -> Result:
    """Carry a plan out, with a line that moves on a terminal and one line afterwards."""
    on_terminal = sys.stderr.isatty()

    def show(line: str) -> None:
        if on_terminal:
            sys.stderr.write(f"\r\x1b[K{title}: seed {plan.seed}, {line.strip()}")
            sys.stderr.flush()

    show("starts")
    result = run_round(plan, folder, watch=show)
    if on_terminal:
        sys.stderr.write("\r\x1b[K")
    counts = ", ".join(f"{name} {count:,}" for name, count in result.figures.items() if count and name != "kills")
    typer.echo(
        f"seed {plan.seed:<6} {'BROKEN' if result.problems else 'exact':<6} {result.seconds:4.0f} s  "
        f"{plan.policy.name}, {len(plan.workers)} workers; {kinds_of(plan) or 'no faults'}; {counts}"
    )
    return result


def _report(result: Result) -> None:
    plan = result.plan
    typer.echo(f"\nseed {plan.seed} at commit {_commit()}\n" + "\n".join(plan.lines()))
    typer.echo("what happened:\n" + "\n".join(f"  {line}" for line in result.story))
    typer.echo("what is wrong:\n" + "\n".join(result.problems))
    typer.echo(f"logs and topics: {result.folder}\n")


def _shrink(failure: Result, folder: Path, tries: int) -> None:
    """Find fewer faults that fail too, and print them with the command that runs them again."""
    numbers = [
        number for number, fault in enumerate(draw_plan(failure.plan.seed).faults, 1) if fault in failure.plan.faults
    ]
    results = {tuple(numbers): failure}

    def fails(fewer: tuple[int, ...]) -> bool:
        # A folder of its own for each: the next try must not remove the logs of a smaller failure.
        name = "-".join(map(str, fewer)) or "none"
        results[fewer] = _played(draw_plan(failure.plan.seed).only(fewer), folder / name, "a smaller plan")
        return bool(results[fewer].problems)

    least = smallest(numbers, fails, tries)
    if len(least) < len(numbers):
        _report(results[least])
    chosen = ",".join(map(str, least)) or "0"
    typer.echo(
        f'the smallest plan that failed: make torture ARGS="--seed {failure.plan.seed} --rounds 1 --only {chosen}"'
    )


def _commit() -> str:
    """Return the commit of the checkout, with a mark when files differ from it."""
    shown = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude", "*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return shown.stdout.strip() or "unknown"


if __name__ == "__main__":
    typer.run(run)

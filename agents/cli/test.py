"""The command `vitals test`.

Owns its options and its report; cases are read and run by `agents.cases`. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agents.cli.base import DONE, FAILED, AsJson, policy_of, say, say_json, unreadable_reported
from agents.cli.event_files import unreadable_files_reported

if TYPE_CHECKING:
    from agents.cases.case_file import CaseFile
    from agents.cases.run import CaseResult
    from stream.plan.plan import Plan


def run_cases(
    files: Annotated[
        list[Path],
        typer.Argument(help="Policies, each with its cases beside it (NAME.toml: NAME.test.toml), or files of cases."),
    ],
    complete: Annotated[
        bool, typer.Option("--complete", help="Fail also if no case reaches a band, tier, rule, segment or exception.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run the cases that are kept beside a policy: events, and the scores, bands and alerts that they must give."""
    from agents.cases.coverage import not_reached
    from stream.plan.plan import compile_plan

    failed = False
    for file in files:
        cases = _cases_of(file)
        plan = compile_plan(policy_of(cases.policy))
        results = _run(cases, plan)
        missed = not_reached(plan, results)
        if as_json:
            say_json(_report(cases, plan, results, missed))
        else:
            _print(cases, plan, results, missed)
        failed = failed or any(result.differences for result in results) or (complete and bool(missed))
    raise typer.Exit(FAILED if failed else DONE)


def _cases_of(file: Path) -> CaseFile:
    from agents.cases.case_file import SUFFIX, Context, read_cases

    path = file if file.name.endswith(SUFFIX) else file.with_name(file.stem + SUFFIX)
    with unreadable_reported(path, "the file of cases", f"write the cases of {file.name} there (docs: Test a policy)"):
        return read_cases(path, lambda file: Context((policy := policy_of(file)).sources, policy.calendar))


def _run(cases: CaseFile, plan: Plan) -> list[CaseResult]:
    from agents.cases.run import run_case

    with unreadable_files_reported():
        return [run_case(case, plan) for case in cases.cases]


def _report(cases: CaseFile, plan: Plan, results: list[CaseResult], missed: list[str]) -> dict[str, object]:
    listed = [
        {"name": result.case.name, "line": result.case.line, "differences": result.differences} for result in results
    ]
    return {"file": str(cases.path), "policy": plan.label, "cases": listed, "not_reached": missed}


def _print(cases: CaseFile, plan: Plan, results: list[CaseResult], missed: list[str]) -> None:
    for result in results:
        if not result.differences:
            say(f"ok    {result.case.name}")
            continue
        say(f"FAIL  {result.case.name} ({cases.path}:{result.case.line})")
        for difference in result.differences:
            say(f"      {difference}")
    passed = sum(not result.differences for result in results)
    say(f"{passed} of {len(results)} cases pass with {plan.label}")
    for missing in missed:
        say(f"not reached: {missing}")

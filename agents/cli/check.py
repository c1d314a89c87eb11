"""The command `vitals check`.

Owns its options and its report; the text is made by `agents.cli.texts.policy`. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast
# ruff: noqa: PLR0917 -- the parameters of a command are its options

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from agents.cli.base import (
    DONE,
    FAILED,
    MISUSED,
    AllowBefore,
    AsJson,
    AsOf,
    BrokerUrl,
    MappingNames,
    ScoreName,
    SettingsFile,
    candidate_of,
    errors_reported,
    fail,
    moment,
    plan_of,
    say,
    say_json,
    settings_of,
)
from agents.cli.event_files import reading_options, replayed, report_left_out, selected_score

if TYPE_CHECKING:
    from agents.files.data_check import Warned
    from agents.files.replay import Reading
    from agents.settings.settings import Settings
    from schemas.sources import Sources
    from stream.explain.distribution import Distribution
    from stream.plan.plan import Plan


def check(
    policy: Annotated[
        Path | None, typer.Argument(help="Policy file. Default: VITALS_POLICY, else the template policy.")
    ] = None,
    more: Annotated[
        list[Path] | None, typer.Argument(help="More event files for --against.", show_default=False)
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", help="Event files to try the policy on. Does not connect to the broker."),
    ] = None,
    score: ScoreName = None,
    as_of: AsOf = None,
    allow_before: AllowBefore = None,
    mapping: MappingNames = None,
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not connect to the broker.")] = False,
    role: Annotated[
        str,
        typer.Option(
            "--role",
            help="Whose rights on the broker to check: worker, topics, board, rollup, peers, explain, shadow, "
            "mapper, rows, import, alertmanager, webhook, notify, plugin, redis, dlq, status, state or demo.",
        ),
    ] = "worker",
    as_json: AsJson = False,
) -> None:
    """Check the settings, the policy, and the topics and this client's rights on the broker. Changes nothing."""
    # long because: the parameters are the options
    from agents.cli.texts.policy import check_text, data_text, print_distribution
    from agents.settings.settings import unknown_variables

    _check_options(policy, more, against, role)
    loaded = settings_of(settings, broker=broker, policy=policy)
    plan = plan_of(loaded)
    candidate = candidate_of(loaded, plan)
    with errors_reported():
        loaded.ssl_context()
    problems = unknown_variables()
    if not (offline or against):
        problems += _broker_problems(loaded, role, plan.sources)
    files = [*(against or []), *(more or [])]
    as_of_ms = moment(as_of, calendar=plan.calendar)
    how = reading_options(loaded, plan.sources, as_of_ms, allow_before, mapping)
    tried = _tried(files, plan, (as_of_ms, how), score) if files else None
    if as_json:
        report = _report(plan, candidate, problems)
        say_json(report if tried is None else report | {"against": tried.distribution, "warnings": tried.warnings})
    else:
        say(check_text(plan, problems, asked_broker=not (offline or against)))
        if tried is not None:
            print_distribution(tried.distribution)
            say(data_text(tried.warnings))
    raise typer.Exit(FAILED if problems or (tried is not None and tried.bad) else DONE)


def _report(plan: Plan, candidate: Plan | None, problems: list[str]) -> dict[str, Any]:
    from agents.cli.texts.hints import hints
    from stream.policy.own.used import used_extensions

    extensions = [
        {"kind": group, "name": own.name, "package": own.package, "version": own.version}
        for group, own in used_extensions(plan.policy.measures)
    ]
    return {
        "policy": plan.label,
        "shadow": None if candidate is None else candidate.label,
        "measures": [planned.measure.name for planned in plan.measures],
        "columns": [column.name for column in plan.columns],
        "sources": {source.name: source.topic for source in plan.sources},
        "extensions": extensions,
        "longest_window": dict(plan.longest_windows),
        "hints": hints(plan.policy.measures),
        "problems": problems,
    }


def _check_options(policy: Path | None, more: list[Path] | None, against: list[Path] | None, role: str) -> None:
    """Refuse an unknown role, and an event file as policy: of `--against *.jsonl` only one file goes to the option."""
    from agents.kafka.rights import ROLES

    if more and not against:
        fail(MISUSED, "give one policy, and event files after --against: vitals check POLICY --against FILES")
    if against and policy is not None and policy.suffix == ".jsonl":
        fail(MISUSED, f"{policy} is not a policy: give the policy first, vitals check POLICY --against FILES")
    if role not in ROLES:
        fail(MISUSED, f"--role {role}: expected one of {', '.join(ROLES)}")


def _broker_problems(settings: Settings, role: str, sources: Sources) -> list[str]:
    """Missing rights; for a worker, also problems of topics, but not of those that it cannot see without a right."""
    from agents.kafka.client import BrokerError
    from agents.kafka.rights_check import denied, missing_rights
    from agents.kafka.topics import describe_topics

    try:
        missing = missing_rights(settings, role, sources)
        states = describe_topics(settings, sources) if role == "worker" else []
    except BrokerError as error:
        return [str(error)]
    hidden = {right.name for right in missing}
    topics = [f"{state.topic.name}: {state.problem}" for state in states if state.problem]
    return [
        *(denied(settings, [right]) for right in missing),
        *(text for text in topics if text.partition(":")[0] not in hidden),
    ]


class _Tried(NamedTuple):
    """A policy on event files: its distribution, what the data does not have, and whether there were bad lines."""

    distribution: Distribution
    warnings: list[Warned]
    bad: bool


def _tried(files: list[Path], plan: Plan, when: tuple[int | None, Reading], score: str | None) -> _Tried:
    """`when` is the moment of the scores (epoch ms, None: the last event), and how files are read."""
    from agents.files.data_check import warnings_of
    from stream.explain.distribution import distribution_of
    from stream.explain.selector import reading

    selected = selected_score(plan.policy, score)
    as_of_ms, how = when
    replay = replayed(files, plan, as_of_ms, how)
    bad = report_left_out(replay)
    engine = replay.engine
    if engine.as_of is None:
        fail(FAILED, "the files have no usable event, so there is no account to try the policy on")
    scored = engine.score(engine.accounts.alive())
    warnings = warnings_of(plan.policy, replay.records, engine.as_of if as_of_ms is None else as_of_ms)
    return _Tried(distribution_of(selected, reading(plan, selected, scored)), warnings, bad)

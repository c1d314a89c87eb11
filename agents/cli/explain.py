"""The command `vitals explain`.

Owns its options; the text is made by `agents.cli.texts.explanation`. Without event files it reads the latest score from
the broker. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast
# ruff: noqa: PLR0917 -- the parameters of a command are its options

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

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
    PolicyPath,
    ScoreName,
    SettingsFile,
    errors_reported,
    fail,
    moment,
    plan_of,
    say,
    say_json,
    settings_of,
)
from agents.cli.event_files import reading_options, replayed, report_left_out, selected_score
from agents.process.collection import rare_collections

if TYPE_CHECKING:
    from agents.files.replay import Reading
    from agents.settings.settings import Settings
    from stream.explain.explain import Explanation
    from stream.plan.plan import Plan

NEED_FILES = {
    "since": "what moved it since a date",
    "ahead": "when it will change band if nothing happens",
}


@rare_collections()
def explain(
    account: Annotated[str, typer.Argument(help="Account id.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Event files, as for `vitals score`. Without files: the latest record of health.scores."),
    ] = None,
    policy: PolicyPath = None,
    as_of: AsOf = None,
    allow_before: AllowBefore = None,
    mapping: MappingNames = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            help="Show what moved the score since this time; a date means its start, UTC. Only with event files.",
        ),
    ] = None,
    ahead: Annotated[int, typer.Option("--ahead", min=1, help="Days to forecast. Only with event files.")] = 90,
    score: ScoreName = None,
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Explain an account's score: its factors, what moved it, what would raise it, and the forecast."""
    from agents.cli.texts.explanation import explanation_text

    loaded = settings_of(settings, broker=broker, policy=policy)
    plan, bad = plan_of(loaded), False
    as_of_ms = moment(as_of, calendar=plan.calendar)
    since_ms = moment(since, "--since", day_end=False, calendar=plan.calendar)
    if files:
        when = _When(as_of_ms, reading_options(loaded, plan.sources, as_of_ms, allow_before, mapping), since_ms, ahead)
        explanation, bad = _from_files(account, files, plan, when, score)
    elif as_of_ms is not None or since_ms is not None:
        fail(MISUSED, "--as-of and --since need event files: give them after the account")
    else:
        explanation = _from_topic(account, loaded, plan, score)
    say_json(explanation) if as_json else say(explanation_text(explanation, NEED_FILES))
    raise typer.Exit(FAILED if bad else DONE)


class _When(NamedTuple):
    """The moment of the score and the earlier one (epoch ms or None), how files are read, the days to forecast."""

    as_of_ms: int | None
    how: Reading
    since_ms: int | None
    days: int


def _from_files(
    account: str, files: list[Path], plan: Plan, when: _When, score: str | None
) -> tuple[Explanation, bool]:
    """The explanation, and whether a line of the files cannot be used."""
    from agents.files.scores import NoScoreError, Question, SinceError

    as_of_ms, how, since_ms, days = when
    question = Question(account, selected_score(plan.policy, score), since_ms, days)
    replay = replayed(files, plan, as_of_ms, how, question.watch())
    bad = report_left_out(replay)
    try:
        return question.answer(replay), bad
    except NoScoreError as error:
        fail(FAILED, str(error))
    except SinceError:
        fail(MISUSED, "--since is after the time of the score: give an earlier --since or a later --as-of")


def _from_topic(account: str, settings: Settings, plan: Plan, score: str | None) -> Explanation:
    from agents.kafka.latest_score import latest_score
    from stream.explain.explain import explain_message
    from stream.explain.selector import UnknownScoreError

    with errors_reported():
        message = latest_score(settings, account)
    if message is None:
        fail(FAILED, f"no score for account {account!r}: check its id, and that it has an event")
    if message.policy != plan.label:
        difference = f"scored by policy {message.policy}, explained by {plan.label}; give the right one with --policy"
        say(f"note: {difference}", err=True)
    try:
        explanation = explain_message(message, plan, selected_score(plan.policy, score))
    except UnknownScoreError as error:
        fail(FAILED, f"{error}; give the right policy with --policy")
    explanation.needs_files = list(NEED_FILES)
    return explanation

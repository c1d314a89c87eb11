"""The command `vitals explain`.

Owns its options; the text is made by `agents.cli.texts.explanation`. Without event files it reads the latest score from
the broker. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast
# ruff: noqa: PLR0917 -- the parameters of a command are its options

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
import typer

from agents.cli.base import (
    DONE,
    FAILED,
    MISUSED,
    AllowBefore,
    AsJson,
    AsOf,
    BrokerUrl,
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
from agents.cli.event_files import limits, replayed, report_left_out, score_messages, selected_score

if TYPE_CHECKING:
    from agents.files.replay import Limits
    from agents.settings.settings import Settings
    from schemas.outputs import ScoreMessage
    from stream.engine.engine import Engine
    from stream.explain.explain import Explanation
    from stream.plan.plan import Plan

NEED_FILES = {
    "since": "what moved it since a date",
    "ahead": "when it will change band if nothing happens",
}


def explain(
    account: Annotated[str, typer.Argument(help="Account id.")],
    files: Annotated[
        list[Path] | None, typer.Argument(help="Event files. Without files: the latest record of health.scores.")
    ] = None,
    policy: PolicyPath = None,
    as_of: AsOf = None,
    allow_before: AllowBefore = None,
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

    as_of_ms, since_ms = moment(as_of), moment(since, "--since", day_end=False)
    loaded = settings_of(settings, broker=broker, policy=policy)
    plan, bad = plan_of(loaded), False
    if files:
        when = _When(as_of_ms, limits(as_of_ms, allow_before), since_ms, ahead)
        explanation, bad = _from_files(account, files, plan, when, score)
    elif as_of_ms is not None or since_ms is not None:
        fail(MISUSED, "--as-of and --since need event files: give them after the account")
    else:
        explanation = _from_topic(account, loaded, plan, score)
    say_json(explanation) if as_json else say(explanation_text(explanation, NEED_FILES))
    raise typer.Exit(FAILED if bad else DONE)


def _unknown_account(account: str) -> str:
    return f"no score for account {account!r}: check its id, and that it has an event"


class _When(NamedTuple):
    """The moment of the score and the earlier one (epoch ms or None), what times are allowed, the days to forecast."""

    as_of_ms: int | None
    allowed: Limits
    since_ms: int | None
    days: int


def _from_files(
    account: str, files: list[Path], plan: Plan, when: _When, score: str | None
) -> tuple[Explanation, bool]:
    """The explanation, and whether a line of the files cannot be used."""
    from agents.files.replay import Watch
    from schemas.outputs import ScoreChange, ScoreValue
    from stream.columns.panes import UNIT_MS
    from stream.explain.explain import explain_message
    from stream.explain.forecast import forecast
    from stream.explain.since import moved_since

    as_of_ms, allowed, since_ms, days = when
    selected = selected_score(plan.policy, score)
    earlier: list[ScoreValue | None] = []

    def look(_moment: int, engine: Engine) -> None:
        message = _score_of(engine, account)
        earlier.append(None if message is None else message.scores[selected.name])

    watch = None if since_ms is None else Watch(lambda _first, _end: [since_ms], look)
    replay = replayed(files, plan, as_of_ms, allowed, watch)
    bad = report_left_out(replay)
    message = _score_of(replay.engine, account)
    if message is None:
        fail(FAILED, _unknown_account(account))
    explanation = explain_message(message, plan, selected, _readings(replay.engine, account))
    if since_ms is not None:
        if not earlier:
            fail(MISUSED, "--since is after the time of the score: give an earlier --since or a later --as-of")
        changes = [msgspec.json.decode(change.value, type=ScoreChange) for change in replay.changes_of(account)]
        own = [change for change in changes if change.score == selected.name]
        explanation.since = moved_since(since_ms, earlier[0], message.scores[selected.name], own)
    rows = replay.engine.accounts.index.rows([account])
    (explanation.ahead,) = forecast(replay.engine, rows, selected, days * UNIT_MS["day"])
    return explanation, bad


def _score_of(engine: Engine, account: str) -> ScoreMessage | None:
    return next((message for message in score_messages(engine) if message.account_id == account), None)


def _readings(engine: Engine, account: str) -> dict[str, float | None]:
    """The value of every measure, also of those that only exceptions use."""
    values = engine.score(engine.accounts.index.rows([account])).values[0].tolist()
    names = [measure_plan.measure.name for measure_plan in engine.plan.measures]
    return {name: None if value != value else value for name, value in zip(names, values, strict=False)}  # noqa: PLR0124


def _from_topic(account: str, settings: Settings, plan: Plan, score: str | None) -> Explanation:
    from agents.kafka.latest_score import latest_score
    from stream.explain.explain import explain_message
    from stream.explain.selector import UnknownScoreError

    with errors_reported():
        message = latest_score(settings, account)
    if message is None:
        fail(FAILED, _unknown_account(account))
    if message.policy != plan.label:
        difference = f"scored by policy {message.policy}, explained by {plan.label}; give the right one with --policy"
        say(f"note: {difference}", err=True)
    try:
        explanation = explain_message(message, plan, selected_score(plan.policy, score))
    except UnknownScoreError as error:
        fail(FAILED, f"{error}; give the right policy with --policy")
    explanation.needs_files = list(NEED_FILES)
    return explanation

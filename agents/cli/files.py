"""The commands over files of events: `vitals score`, `vitals explain` and `vitals check`.

Owns their arguments and what they print; pages of text are made by `agents.cli.text_pages`. `explain` without files
asks the broker for the latest score, and `check` without `--against` for its topics. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- a command imports what it needs, so that `vitals --help` is instant
# ruff: noqa: PLR0917 -- the parameters of a command are its options

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from agents.cli.base import (
    DONE,
    FAILED,
    MISUSED,
    AsJson,
    AsOf,
    BrokerUrl,
    PolicyPath,
    ScoreName,
    SettingsFile,
    candidate_of,
    fail,
    moment,
    policy_of,
    settings_of,
)

if TYPE_CHECKING:
    from agents.files.replay import Replay, Watch
    from agents.settings.settings import Settings
    from schemas.outputs import ScoreMessage
    from stream.engine.engine import Engine
    from stream.explain.distribution import Distribution
    from stream.explain.explain import Explanation
    from stream.explain.selector import SelectedScore
    from stream.plan.plan import Plan
    from stream.policy.policy import Policy

NEED_FILES = {
    "since": "what moved it since a date",
    "ahead": "when it will change band if nothing happens",
}


def _selected(policy: Policy, name: str | None) -> SelectedScore:
    from stream.explain.selector import UnknownScoreError, select_score

    try:
        return select_score(policy, name)
    except UnknownScoreError as error:
        fail(MISUSED, f"--score: {error}")


def _plan(policy: Path | None) -> Plan:
    from agents.settings.settings import default_policy
    from stream.plan.plan import compile_plan

    return compile_plan(policy_of(policy or default_policy()))


def _replayed(files: list[Path], plan: Plan, as_of_ms: int | None, watch: Watch | None = None) -> Replay:
    from agents.files.replay import replay_files

    try:
        return replay_files(files, plan, as_of_ms, watch)
    except OSError as error:
        fail(MISUSED, f"{error.filename}: {error.strerror}")


def _tell_bad(replay: Replay) -> bool:
    """Whether there were lines that could not be used; each is told on stderr."""
    for line in replay.bad:
        typer.echo(f"{line.file}:{line.line}: {line.reason}: {line.message}", err=True)
    return bool(replay.bad)


def _messages(engine: Engine) -> list[ScoreMessage]:
    from schemas.outputs import ScoreMessage

    found = [msgspec.json.decode(message.value, type=ScoreMessage) for message in engine.current().scores]
    return sorted(found, key=lambda message: message.account_id)


def score(
    files: Annotated[
        list[Path],
        typer.Argument(help="JSON Lines files: `topic` in each line, or one file TOPIC.jsonl for each topic."),
    ],
    policy: PolicyPath = None,
    as_of: AsOf = None,
    history: Annotated[bool, typer.Option("--history", help="Print one line for each day and account.")] = False,
    account: Annotated[str | None, typer.Option("--account", help="Only this account.")] = None,
    score: ScoreName = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header. Only with --history.")] = False,
) -> None:
    """Score the accounts in event files. Prints one JSON line for each account, sorted by account."""
    if as_csv and not history:
        fail(MISUSED, "--csv goes with --history: a whole score has factors, which are no table")
    plan, as_of_ms = _plan(policy), moment(as_of)
    if history:
        replay = _print_history(files, plan, as_of_ms, account=account, name=score, as_csv=as_csv)
    else:
        selected = None if score is None else _selected(plan.policy, score)
        replay = _replayed(files, plan, as_of_ms)
        for message in _messages(replay.engine):
            if account is not None and message.account_id != account:
                continue
            if selected is not None:
                message.scores = {selected.name: message.scores[selected.name]}
            typer.echo(msgspec.json.encode(message).decode())
    raise typer.Exit(FAILED if _tell_bad(replay) else DONE)


def _print_history(
    files: list[Path], plan: Plan, as_of_ms: int | None, *, account: str | None, name: str | None, as_csv: bool
) -> Replay:
    import csv

    from agents.files.history import DayScore, score_history

    selected = _selected(plan.policy, name)
    try:
        days, replay = score_history(files, plan, selected, as_of_ms=as_of_ms, account=account)
    except OSError as error:
        fail(MISUSED, f"{error.filename}: {error.strerror}")
    if as_csv:
        table = csv.writer(sys.stdout, lineterminator="\n")
        table.writerow(DayScore.__struct_fields__)
        table.writerows(msgspec.structs.astuple(day) for day in days)
    else:
        for day in days:
            typer.echo(msgspec.json.encode(day).decode())
    return replay


def explain(
    account: Annotated[str, typer.Argument(help="Account id.")],
    files: Annotated[
        list[Path] | None, typer.Argument(help="Event files. Without files: the latest record of health.scores.")
    ] = None,
    policy: PolicyPath = None,
    as_of: AsOf = None,
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
    from agents.cli.text_pages import explanation_page

    as_of_ms, since_ms = moment(as_of), moment(since, "--since", day_end=False)
    if files:
        told = _from_files(account, files, _plan(policy), (as_of_ms, since_ms, ahead), score)
    elif as_of_ms is not None or since_ms is not None:
        fail(MISUSED, "--as-of and --since need the events: name their files after the account")
    else:
        told = _from_topic(account, settings, policy, broker, score)
    typer.echo(msgspec.json.encode(told).decode() if as_json else explanation_page(told, NEED_FILES))


def _unknown_account(account: str) -> str:
    return f"no score for account {account!r}: it has no event yet, or its id is spelt otherwise"


def _from_files(
    account: str, files: list[Path], plan: Plan, when: tuple[int | None, int | None, int], score: str | None
) -> Explanation:
    """`when` is the moment of the score, the moment to compare with (ms, None: none), and days to look ahead."""
    from agents.files.replay import Watch
    from schemas.outputs import ScoreChange, ScoreValue
    from stream.columns.panes import UNIT_MS
    from stream.explain.explain import explain_message
    from stream.explain.forecast import forecast
    from stream.explain.since import moved_since

    as_of_ms, since_ms, days = when
    selected = _selected(plan.policy, score)
    earlier: list[ScoreValue | None] = []

    def look(_moment: int, engine: Engine) -> None:
        message = _score_of(engine, account)
        earlier.append(None if message is None else message.scores[selected.name])

    watch = None if since_ms is None else Watch(lambda _first, _end: [since_ms], look)
    replay = _replayed(files, plan, as_of_ms, watch)
    message = _score_of(replay.engine, account)
    if message is None:
        fail(FAILED, _unknown_account(account))
    told = explain_message(message, selected)
    if since_ms is not None:
        if not earlier:
            fail(MISUSED, "--since lies after the moment of the score: name an earlier one, or a later --as-of")
        changes = [msgspec.json.decode(sent.value, type=ScoreChange) for sent in replay.changes_of(account)]
        mine = [change for change in changes if change.score == selected.name]
        told.since = moved_since(since_ms, earlier[0], message.scores[selected.name], mine)
    rows = replay.engine.accounts.index.rows([account])
    (told.ahead,) = forecast(replay.engine, rows, selected, days * UNIT_MS["day"])
    return told


def _score_of(engine: Engine, account: str) -> ScoreMessage | None:
    return next((message for message in _messages(engine) if message.account_id == account), None)


def _from_topic(
    account: str, settings: Path | None, policy: Path | None, broker: str | None, score: str | None
) -> Explanation:
    from agents.kafka.client import BrokerError
    from agents.kafka.latest_score import latest_score
    from stream.explain.explain import explain_message
    from stream.explain.selector import UnknownScoreError

    loaded = settings_of(settings, broker=broker, policy=policy)
    plan = _plan(loaded.policy)
    try:
        message = latest_score(loaded, account)
    except BrokerError as error:
        fail(FAILED, str(error))
    if message is None:
        fail(FAILED, _unknown_account(account))
    if message.policy != plan.label:
        note = f"scored by policy {message.policy}, explained by {plan.label}; name the right one with --policy"
        typer.echo(f"note: {note}", err=True)
    try:
        told = explain_message(message, _selected(plan.policy, score))
    except UnknownScoreError as error:
        fail(FAILED, f"{error}; name the right policy with --policy")
    told.needs_files = list(NEED_FILES)
    return told


def check(
    policy: Annotated[Path | None, typer.Argument(help="Policy file. Default: the setting `policy`.")] = None,
    more: Annotated[
        list[Path] | None, typer.Argument(help="More event files for --against.", show_default=False)
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", help="Event files to try the policy on. Does not connect to the broker."),
    ] = None,
    score: ScoreName = None,
    as_of: AsOf = None,
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not connect to the broker.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check the settings, the policy and the topics on the broker. Changes nothing."""
    from agents.cli.text_pages import check_page, distribution_page
    from agents.settings.settings import SettingsError, unknown_variables
    from stream.plan.plan import compile_plan

    _check_order(policy, more, against)
    loaded = settings_of(settings, broker=broker, policy=policy)
    plan, candidate = compile_plan(policy_of(loaded.policy)), candidate_of(loaded)
    try:
        loaded.ssl_context()
    except SettingsError as error:
        fail(MISUSED, *error.problems)
    problems = unknown_variables()
    if not (offline or against):
        problems += _topic_problems(loaded)
    report = {
        "policy": plan.label,
        "shadow": None if candidate is None else candidate.label,
        "measures": [part.measure.name for part in plan.measures],
        "columns": [column.name for column in plan.columns],
        "longest_window": dict(plan.longest_windows),
        "problems": problems,
    }
    distribution, bad = None, False
    if against:
        distribution, bad = _distribution([*against, *(more or [])], plan, moment(as_of), score)
    if as_json:
        typer.echo(msgspec.json.encode(report if distribution is None else report | {"against": distribution}).decode())
    else:
        typer.echo(check_page(plan, problems, asked_broker=not (offline or against)))
        if distribution is not None:
            distribution_page(distribution)
    raise typer.Exit(FAILED if problems or bad else DONE)


def _check_order(policy: Path | None, more: list[Path] | None, against: list[Path] | None) -> None:
    """A shell's `--against *.jsonl` gives the first file to the option; the others must not be taken for a policy."""
    if more and not against:
        fail(MISUSED, "one policy at a time; event files go after --against: vitals check POLICY --against FILES")
    if against and policy is not None and policy.suffix == ".jsonl":
        fail(MISUSED, f"{policy} is no policy: name the policy first, vitals check POLICY --against FILES")


def _topic_problems(settings: Settings) -> list[str]:
    from agents.kafka.client import BrokerError
    from agents.kafka.topics import describe_topics

    try:
        states = describe_topics(settings)
    except BrokerError as error:
        return [str(error)]
    return [f"{state.topic.name}: {state.problem}" for state in states if state.problem]


def _distribution(files: list[Path], plan: Plan, as_of_ms: int | None, score: str | None) -> tuple[Distribution, bool]:
    from stream.explain.distribution import distribution_of
    from stream.explain.selector import reading

    selected = _selected(plan.policy, score)
    replay = _replayed(files, plan, as_of_ms)
    bad = _tell_bad(replay)
    engine = replay.engine
    if engine.as_of is None:
        fail(FAILED, "the files hold no event that counts: there is no account to try the policy on")
    return distribution_of(selected, reading(plan, selected, engine.score(engine.accounts.alive()))), bad

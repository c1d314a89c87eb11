"""The command `vitals`.

Owns arguments, exit statuses (0 done, 1 failed, 2 bad usage or configuration) and what is printed. The work is
elsewhere; modules that take long to import are imported by the command that needs them.
"""

# ruff: noqa: PLC0415 -- a command imports what it needs, so that `vitals --help` is instant
# ruff: noqa: PLR0917 -- the parameters of a command are its options

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from agents.settings import Settings
    from schemas.outputs import ScoreMessage
    from stream.plan import Plan
    from stream.policy import Policy

DONE, FAILED, MISUSED = 0, 1, 2

app = typer.Typer(
    name="vitals",
    help="Live customer-health scores from Kafka events: every event counted once, every change explained.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

SettingsFile = Annotated[Path | None, typer.Option("--settings", help="Settings file (TOML).")]
PolicyPath = Annotated[Path | None, typer.Option("--policy", help="Policy file; default: the template.")]
BrokerUrl = Annotated[str | None, typer.Option("--broker", help="kafka://HOST:PORT")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _fail(status: int, *lines: str) -> NoReturn:
    for line in lines:
        typer.echo(line, err=True)
    raise typer.Exit(status)


def _settings(file: Path | None, **given: Any) -> Settings:
    from agents.settings import SettingsError, load_settings

    try:
        return load_settings(file, **given)
    except SettingsError as error:
        _fail(MISUSED, *error.problems)


def _policy(path: Path) -> Policy:
    from stream.policy import PolicyError, parse_policy

    try:
        return parse_policy(path.read_text(encoding="utf-8"), str(path))
    except PolicyError as error:
        _fail(MISUSED, *str(error).splitlines())
    except (OSError, UnicodeDecodeError) as error:
        _fail(MISUSED, f"{path}: the policy can not be read: {error}")


def _plan(settings: Settings) -> Plan:
    from stream.plan import compile_plan

    return compile_plan(_policy(settings.policy))


def _moment(text: str | None) -> int | None:
    """`--as-of`: RFC 3339 with an offset, a date (its end, UTC), or epoch milliseconds."""
    if text is None:
        return None
    if text.lstrip("-").isdigit():
        return int(text)
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        _fail(
            MISUSED,
            f"--as-of {text!r}: expected RFC 3339 (2026-01-31T12:00:00Z), a date (2026-01-31) or epoch milliseconds",
        )
    if len(text) == len("2026-01-31"):
        when = when.replace(hour=23, minute=59, second=59, microsecond=999_000, tzinfo=UTC)
    if when.tzinfo is None:
        _fail(MISUSED, f"--as-of {text!r}: a time needs an offset, such as Z or +02:00")
    return round(when.timestamp() * 1000)


@app.command()
def worker(
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    policy: PolicyPath = None,
    processes: Annotated[int, typer.Option(min=1, help="Worker processes; one keeps about one core busy.")] = 1,
) -> None:
    """Run a worker; start as many as there are partitions."""
    from agents.logs import configure_logging
    from agents.pool import run_pool
    from agents.topics_admin import BrokerError
    from agents.worker import run_worker

    loaded = _settings(settings, broker=broker, policy=policy)
    plan = _plan(loaded)
    configure_logging(loaded.log_level)
    if processes > 1:
        given = {"--settings": settings, "--broker": broker, "--policy": policy}
        options = [part for name, value in given.items() if value is not None for part in (name, str(value))]
        raise typer.Exit(run_pool(loaded, processes, options))
    try:
        status = run_worker(loaded, plan)
    except BrokerError as error:
        _fail(FAILED, str(error))
    raise typer.Exit(status)


@app.command()
def topics(
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    create: Annotated[bool, typer.Option("--create", help="Create what lacks.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show each topic's partitions, retention and fit; create what lacks."""
    from agents.topics_admin import BrokerError, create_missing, describe_topics
    from schemas.topics import DAY_MS

    loaded = _settings(settings, broker=broker)
    try:
        created = create_missing(loaded) if create else []
        states = describe_topics(loaded)
    except BrokerError as error:
        _fail(FAILED, str(error))
    rows = [
        {
            "topic": state.topic.name,
            "role": state.topic.role,
            "key": state.topic.key,
            "partitions": state.partitions,
            "cleanup": state.topic.cleanup,
            "retention_ms": state.topic.retention_ms if state.topic.cleanup == "delete" else None,
            "problem": state.problem,
            "created": state.topic.name in created,
        }
        for state in states
    ]
    if as_json:
        typer.echo(msgspec.json.encode(rows).decode())
    else:
        table = Table("topic", "role", "partitions", "cleanup", "kept", "state")
        for row, state in zip(rows, states, strict=True):
            topic = state.topic
            kept = f"{topic.retention_ms // DAY_MS} days" if topic.cleanup == "delete" else "latest"
            note = "see below" if state.problem else "created" if row["created"] else "ok"
            table.add_row(topic.name, topic.role, str(state.partitions or "-"), topic.cleanup, kept, note)
        Console().print(table)
        for state in states:
            if state.problem:
                typer.echo(f"{state.topic.name}: {state.problem}")
    raise typer.Exit(FAILED if any(state.problem for state in states) else DONE)


@app.command()
def check(
    policy: Annotated[Path | None, typer.Argument(help="Policy file; default: the one the settings name.")] = None,
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the broker.")] = False,
    as_json: AsJson = False,
) -> None:
    """Validate settings, policy and, unless --offline, the broker's topics; exit 2 names the field."""
    from agents.settings import SettingsError, unknown_variables
    from agents.topics_admin import BrokerError, describe_topics
    from stream.plan import compile_plan

    loaded = _settings(settings, broker=broker, policy=policy)
    plan = compile_plan(_policy(loaded.policy))
    try:
        loaded.ssl_context()
    except SettingsError as error:
        _fail(MISUSED, *error.problems)
    problems = unknown_variables()
    if not offline:
        try:
            problems += [f"{state.topic.name}: {state.problem}" for state in describe_topics(loaded) if state.problem]
        except BrokerError as error:
            problems.append(str(error))
    longest = dict(plan.longest)
    report = {
        "policy": plan.label,
        "measures": [part.measure.name for part in plan.measures],
        "columns": [column.name for column in plan.columns],
        "longest_window": longest,
        "problems": problems,
    }
    if as_json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        spans = ", ".join(f"{panes} {unit}s" for unit, panes in longest.items())
        typer.echo(
            f"policy {plan.label}: {len(plan.measures)} measures on {len(plan.columns)} columns, longest window {spans}"
        )
        typer.echo("\n".join(problems) if problems else "settings and broker: ok" if not offline else "settings: ok")
    raise typer.Exit(FAILED if problems else DONE)


@app.command()
def score(
    files: Annotated[
        list[Path], typer.Argument(help="JSON Lines: `topic` in each line, or one file <topic>.jsonl a topic.")
    ],
    policy: PolicyPath = None,
    as_of: Annotated[str | None, typer.Option("--as-of", help="Moment of the score; default: the last event.")] = None,
) -> None:
    """Score the accounts of event files; one JSON line an account, sorted by account."""
    messages, bad = _score_files(files, policy, _moment(as_of))[:2]
    for line in bad:
        typer.echo(line, err=True)
    for message in messages:
        typer.echo(msgspec.json.encode(message).decode())
    raise typer.Exit(FAILED if bad else DONE)


def _score_files(
    files: list[Path], policy: Path | None, as_of_ms: int | None
) -> tuple[list[ScoreMessage], list[str], Policy]:
    from agents.files import replay_files
    from agents.settings import default_policy
    from schemas.outputs import ScoreMessage
    from stream.plan import compile_plan

    chosen = _policy(policy or default_policy())
    try:
        replay = replay_files(files, compile_plan(chosen), as_of_ms)
    except OSError as error:
        _fail(MISUSED, f"{error.filename}: {error.strerror}")
    messages = [msgspec.json.decode(message.value, type=ScoreMessage) for message in replay.engine.current().scores]
    messages.sort(key=lambda message: message.account_id)
    return messages, [f"{line.file}:{line.line}: {line.reason}: {line.message}" for line in replay.bad], chosen


@app.command()
def explain(
    account: Annotated[str, typer.Argument(help="Account id.")],
    files: Annotated[list[Path] | None, typer.Argument(help="Event files; none: ask health.scores.")] = None,
    policy: PolicyPath = None,
    as_of: Annotated[str | None, typer.Option("--as-of", help="Moment of the score (files only).")] = None,
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Tell why an account's score is what it is, and what would change it."""
    from agents.latest import latest_score
    from agents.topics_admin import BrokerError
    from stream import explain as reading

    if files:
        messages, _, chosen = _score_files(files, policy, _moment(as_of))
        message = next((one for one in messages if one.account_id == account), None)
    else:
        loaded = _settings(settings, broker=broker, policy=policy)
        chosen = _policy(loaded.policy)
        try:
            message = latest_score(loaded, account)
        except BrokerError as error:
            _fail(FAILED, str(error))
    if message is None:
        _fail(FAILED, f"no score for account {account!r}: it has no event yet, or its id is spelt otherwise")
    label = f"{chosen.name}@{chosen.digest}"
    if message.policy != label:
        typer.echo(
            f"note: scored by policy {message.policy}, explained by {label}; name the right one with --policy",
            err=True,
        )
    told = reading.explain(message, chosen)
    if as_json:
        typer.echo(msgspec.json.encode(told).decode())
        return
    when = datetime.fromtimestamp(told.as_of / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    typer.echo(f"{told.account_id}: {told.score} {told.value:.1f}, {told.band} (as of {when})")
    table = Table("measure", "value", "points", "weight", "gives", "costs")
    for factor in told.factors:
        known = factor.points is not None
        table.add_row(
            factor.measure.replace("_", " "),
            "-" if factor.value is None else f"{factor.value:.4g}",
            f"{factor.points:.1f}" if known else "no data",
            f"{factor.weight:.0%}",
            f"{factor.contribution:.1f}",
            f"{factor.weight * 100 - factor.contribution:.1f}" if known else "-",
        )
    Console().print(table)
    if told.next_band is None:
        typer.echo(f"It is in the best band, {told.band}.")
    else:
        typer.echo(f"{told.missing_points:.1f} points are missing to {told.next_band}. Any one of these would do:")
        for lift in told.lifts:
            now = "no data" if lift.value is None else f"{lift.value:.4g}"
            typer.echo(f"  {lift.measure.replace('_', ' ')}: {now} -> {lift.needed:.4g}")
        if not told.lifts:
            typer.echo("  no single measure is enough: more than one has to improve")


@app.command()
def backtest(
    files: Annotated[list[Path], typer.Argument(help="Event files, as for `vitals score`.")],
    outcomes: Annotated[
        Path, typer.Option("--outcomes", help="CSV: account_id and any of churned_at, renewed_at, expanded_at.")
    ],
    policy: Annotated[
        list[Path] | None, typer.Option("--policy", help="Policy file; a second one is compared.")
    ] = None,
    lead: Annotated[str, typer.Option("--lead", help="Lead times in days.")] = "7,30,60,90",
    every: Annotated[int, typer.Option("--every", min=1, help="Days from one cutoff to the next.")] = 7,
    score: Annotated[str | None, typer.Option("--score", help="Which score; default: the first.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="First cutoff; default: the first event.")] = None,
    until: Annotated[
        str | None, typer.Option("--until", help="Outcomes are known until then; default: the last event or outcome.")
    ] = None,
    fit: Annotated[Path | None, typer.Option("--fit", help="Write the policy with weights fitted to the data.")] = None,
    fit_lead: Annotated[int | None, typer.Option("--fit-lead", min=1, help="Lead time to fit; default: 30.")] = None,
    as_json: AsJson = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report as one page.")] = None,
) -> None:
    """Tell how well a policy would have foretold churn, from events and outcomes of the past."""
    from agents.backtest.command import Asked, BadUsageError, answer
    from agents.settings import default_policy

    chosen = [(path, _policy(path)) for path in policy or [default_policy()]]
    asked = Asked(files, outcomes, chosen, lead, every, score, since, until, fit, fit_lead, html)
    try:
        problem = answer(asked, as_json=as_json)
    except BadUsageError as error:
        _fail(MISUSED, str(error))
    if problem:
        _fail(FAILED, problem)


@app.command()
def demo(
    seconds: Annotated[float | None, typer.Option(min=5, help="End by itself after about this long.")] = None,
    as_json: AsJson = False,
    broker: BrokerUrl = None,
    kill: Annotated[
        bool, typer.Option("--kill", help="Kill the worker now and then; the counts still add up.")
    ] = False,
) -> None:
    """Play a company of 500 accounts over 120 days through a real worker and watch its scores."""
    from agents.demo.run import run_demo

    raise typer.Exit(run_demo(seconds=seconds, as_json=as_json, broker=broker, kill=kill))

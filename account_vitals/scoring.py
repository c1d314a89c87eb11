"""Scores of events: as of one moment, by day, explained, and back-tested.

Owns the columns of the answers. Events take the way of `vitals score FILES` through `agents.files`, so that every
number is that of the command. Called by users of the package.
"""

# ruff: noqa: PLR0913 -- what may differ is a keyword, as the options of the commands

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, overload

from account_vitals.frames import frame_of
from account_vitals.inputs import Moment, Named, first_frame, inputs_of, moment_of, reading_for, texts_of
from account_vitals.policies import Policy, policy_of
from account_vitals.problems import OnErrors, report_left_out
from agents.backtest.report import Report
from agents.backtest.run import KEYS, Request, run_backtest
from agents.cli.texts.explanation import explanation_text
from agents.files.formats import Rows
from agents.files.history import DayScore, score_history
from agents.files.replay import Replay, replay_files
from agents.files.scores import NoScoreError, Question, score_messages
from schemas.outputs import ScoreMessage
from stream.engine.engine import Mode
from stream.explain.explain import Explanation
from stream.explain.selector import SelectedScore, select_score

__all__ = ["Explanation", "NoScoreError", "Report", "as_text", "backtest", "explain", "history", "score"]

FrameT = TypeVar("FrameT")
_Files = str | Path | Sequence[str | Path]
_Dicts = Sequence[Mapping[str, Any]]
_LEVEL = 3  # of the stack: the caller of a public function


def _type(name: str, *arguments: Any) -> Callable[[Any], Any]:
    return lambda pa: getattr(pa, name)(*arguments)


def _factors(pa: Any) -> Any:
    numbers = [(name, pa.float64()) for name in ("value", "points", "weight", "contribution")]
    return pa.list_(pa.struct([("measure", pa.string()), *numbers]))


_TIME = _type("timestamp", "ms", "UTC")
_SCORES = {
    "account_id": _type("string"),
    "as_of": _TIME,
    "score": _type("string"),
    "value": _type("float64"),
    "band": _type("string"),
    "state": _type("string"),
    "segment": _type("string"),
    "policy": _type("string"),
    "factors": _factors,
}
_DAYS = {
    "account_id": _type("string"),
    "day": _type("date32"),
    "as_of": _TIME,
    "score": _type("string"),
    "value": _type("float64"),
    "band": _type("string"),
}


@overload
def score(
    events: _Files | _Dicts | Mapping[str, _Dicts],
    policy: Policy | str | Path,
    as_of: Moment | None = ...,
    *,
    mapping: Named | None = ...,
    allow_before: Moment | None = ...,
    errors: OnErrors = ...,
) -> Any: ...
@overload
def score(
    events: Mapping[str, FrameT],
    policy: Policy | str | Path,
    as_of: Moment | None = ...,
    *,
    mapping: Named | None = ...,
    allow_before: Moment | None = ...,
    errors: OnErrors = ...,
) -> FrameT: ...
@overload
def score(
    events: FrameT,
    policy: Policy | str | Path,
    as_of: Moment | None = ...,
    *,
    mapping: Named | None = ...,
    allow_before: Moment | None = ...,
    errors: OnErrors = ...,
) -> FrameT: ...
def score(
    events: Any,
    policy: Policy | str | Path,
    as_of: Moment | None = None,
    *,
    mapping: Named | None = None,
    allow_before: Moment | None = None,
    errors: OnErrors = "raise",
) -> Any:
    """Score the accounts in events, as of a moment (default: the last event), as `vitals score` does.

    `events` is a frame (pandas, Polars, DuckDB, pyarrow) with a column `topic`, a mapping from topics to frames, a list
    of dicts, or paths of event files. The answer is a frame of the same kind, otherwise a `pyarrow.Table`: one row for
    each account and score, sorted by account, with `account_id`, `as_of`, `score` (its name), `value`, `band`, `state`,
    `segment`, `policy` and `factors` (a list of `measure`, `value`, `points`, `weight`, `contribution`).

    `mapping` names mapping files or presets for records of other systems; `allow_before` is the earliest date that
    events may have if that is before 2000. Rows that cannot be used raise RowsError, or with `errors="warn"` are left
    out with a warning. Raises `PolicyError` for a policy with mistakes, OSError for a file that cannot be read.
    """
    rules = policy_of(policy)
    as_of_ms = moment_of(as_of, "as_of", calendar=rules.plan.calendar)
    how = reading_for(rules.plan.sources, as_of_ms, mapping, allow_before)
    replay = replay_files(inputs_of(events), rules.plan, as_of_ms, reading=how, mode=Mode.CONFLATED)
    report_left_out(replay.bad, replay.later_profiles, errors, _LEVEL)
    return scores_frame(score_messages(replay.engine), first_frame(events))


def scores_frame(messages: Sequence[ScoreMessage], like: object) -> Any:
    """Messages as the frame that `score` returns, of the kind of `like`."""
    rows = [(message, name, value) for message in messages for name, value in message.scores.items()]
    factors = [
        [(factor.measure, factor.value, factor.points, factor.weight, factor.contribution) for factor in value.factors]
        for _, _, value in rows
    ]
    names = ("measure", "value", "points", "weight", "contribution")
    columns: dict[str, list[Any]] = {
        "account_id": [message.account_id for message, _, _ in rows],
        "as_of": [_time(message.as_of) for message, _, _ in rows],
        "score": [name for _, name, _ in rows],
        "value": [value.value for _, _, value in rows],
        "band": [value.band for _, _, value in rows],
        "state": [message.state for message, _, _ in rows],
        "segment": [message.segment for message, _, _ in rows],
        "policy": [message.policy for message, _, _ in rows],
        "factors": [[dict(zip(names, factor, strict=True)) for factor in row] for row in factors],
    }
    return frame_of(columns, _SCORES, like)


def history(
    events: Any,
    policy: Policy | str | Path,
    as_of: Moment | None = None,
    *,
    account: str | None = None,
    name: str | None = None,
    mapping: Named | None = None,
    allow_before: Moment | None = None,
    errors: OnErrors = "raise",
) -> Any:
    """Scores at the end of each day from the first event on, and at `as_of`, as `vitals score --history` prints them.

    `events`, `mapping`, `allow_before` and `errors` are those of `score`. `account` selects one account, `name` a score
    of the policy (default: the first). The answer is a frame of the kind of `events`: one row for each account and day,
    with `account_id`, `day`, `as_of`, `score`, `value` and `band`. Days without data have no row.
    """
    rules = policy_of(policy)
    selected = select_score(rules.parsed, name)
    as_of_ms = moment_of(as_of, "as_of", calendar=rules.plan.calendar)
    how = reading_for(rules.plan.sources, as_of_ms, mapping, allow_before)
    days, replay = score_history(
        inputs_of(events), rules.plan, selected, as_of_ms=as_of_ms, account=account, reading=how
    )
    report_left_out(replay.bad, replay.later_profiles, errors, _LEVEL)
    return _days_frame(days, selected, first_frame(events))


def _days_frame(days: Sequence[DayScore], selected: SelectedScore, like: object) -> Any:
    columns: dict[str, list[Any]] = {
        "account_id": [day.account_id for day in days],
        "day": [date.fromisoformat(day.day) for day in days],
        "as_of": [_time(day.as_of) for day in days],
        "score": [selected.name for _ in days],
        "value": [day.score for day in days],
        "band": [day.band for day in days],
    }
    return frame_of(columns, _DAYS, like)


def explain(
    events: Any,
    policy: Policy | str | Path,
    account: str,
    as_of: Moment | None = None,
    *,
    since: Moment | None = None,
    ahead: int = 90,
    name: str | None = None,
    mapping: Named | None = None,
    errors: OnErrors = "raise",
) -> Explanation:
    """Explain the score of an account: its factors, what would raise it, and the forecast for `ahead` days.

    `events`, `mapping` and `errors` are those of `score`, `name` is a score of the policy (default: the first). With
    `since`, the answer has what moved the score since then. It has the fields of `vitals explain --json`; `as_text`
    makes the text of the command of it. Raises NoScoreError for an account without an event.
    """
    if ahead < 1:
        raise ValueError(f"ahead={ahead}: expected 1 day or more")
    rules = policy_of(policy)
    calendar = rules.plan.calendar
    since_ms = moment_of(since, "since", day_end=False, calendar=calendar)
    question = Question(account, select_score(rules.parsed, name), since_ms, ahead)
    as_of_ms = moment_of(as_of, "as_of", calendar=calendar)
    how = reading_for(rules.plan.sources, as_of_ms, mapping)
    watch = question.watch()
    mode = Mode.CONFLATED if watch is None else Mode.HEAD
    replay: Replay = replay_files(inputs_of(events), rules.plan, as_of_ms, watch, reading=how, mode=mode)
    report_left_out(replay.bad, replay.later_profiles, errors, _LEVEL)
    return question.answer(replay)


def as_text(explanation: Explanation) -> str:
    """An explanation as `vitals explain` prints it."""
    return explanation_text(explanation, {})


def backtest(
    events: Any,
    outcomes: Any,
    policies: Policy | str | Path | Sequence[Policy | str | Path],
    *,
    leads: Sequence[int] = (7, 30, 60, 90),
    every: int = 7,
    name: str | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
) -> Report:
    """Measure how well a policy would have predicted churn, as `vitals backtest` does; two policies are compared.

    `events` are those of `score`. `outcomes` is a frame, a list of dicts or a CSV file with `account_id` and any of
    `churned_at`, `renewed_at`, `expanded_at`. `leads` are lead times and `every` is the distance of cutoffs, in days.
    The report has the fields of `vitals backtest --json`: `data.ignored` counts the rows that cannot be used.
    """
    several = [policies] if isinstance(policies, Policy | str | Path) else list(policies)
    if not 1 <= len(several) <= len(KEYS):
        raise ValueError(f"policies: give one or two, not {len(several)}")
    if not leads or min(leads) < 1 or every < 1:
        raise ValueError(f"leads={leads!r}, every={every!r}: expected whole days from 1 on")
    rules = [policy_of(policy) for policy in several]
    calendar = rules[0].plan.calendar
    rows = Path(outcomes) if isinstance(outcomes, str | Path) else Rows("outcomes", "", partial(texts_of, outcomes))
    request = Request(
        files=inputs_of(events),
        outcomes=rows,
        policies=[(policy.path, policy.parsed) for policy in rules],
        leads=sorted(set(leads)),
        every=every,
        score=name,
        since_ms=moment_of(since, "since", day_end=False, calendar=calendar),
        until_ms=moment_of(until, "until", calendar=calendar),
        reading=reading_for(rules[0].plan.sources, None),
    )
    return run_backtest(request).report


def _time(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)

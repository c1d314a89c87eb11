"""Run a back-test: from event files, outcomes and policies to a report.

Reads the files, replays the events under each policy, and writes the notes about the data. Does not read command-line
options or print (`agents.backtest.command`). Called by `agents.backtest.command` and by tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.backtest.fit import FitError, require_sklearn
from agents.backtest.fitted_policy import write_fitted_policy
from agents.backtest.inputs import Inputs, read_inputs
from agents.backtest.replay import Track, replay
from agents.backtest.report import FEW_CHURNED, Data, Ignored, Lead, PolicyInfo, Report
from agents.backtest.study import (
    ScoredPolicy,
    observed_days,
    review_accounts,
    rfc3339,
    study_alarms,
    study_lead,
    study_reviews,
)
from agents.files.formats import Input
from agents.files.playback import BadLine
from agents.files.replay import SINCE_2000, Reading
from schemas.topics import DAY_MS
from stream.columns.panes import UNIT_MS
from stream.explain.selector import select_score
from stream.plan.plan import Plan, compile_plan
from stream.policy.policy import Policy

KEYS = ("A", "B")


@dataclass(frozen=True, slots=True)
class Request:
    """What to back-test: event files, outcomes, policies (file and content), lead times and cutoff distance in days.

    `score` None is the first score of the first policy; `since_ms` None is the first event, `until_ms` None the last
    event or outcome; `fit` is the file to write the policy with fitted weights to.
    """

    files: Sequence[Input]
    outcomes: Input
    policies: Sequence[tuple[Path, Policy]]
    leads: Sequence[int]
    every: int = 7
    score: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    fit: Path | None = None
    fit_lead: int = 30
    reading: Reading = SINCE_2000


@dataclass(frozen=True, slots=True)
class Result:
    """The report, and why no weights were fitted if `fit` was requested and failed."""

    report: Report
    problem: str | None = None


def run_backtest(request: Request) -> Result:
    """Replay the events under every policy and compute the report.

    Raises OSError for a file that cannot be read, OutcomesError, TooShortError, UnknownScoreError, FitError if a
    package that `fit` needs is not installed, and SourcesError if the policies mean different sources by one name.
    """
    if request.fit is not None:
        require_sklearn()
    name = select_score(request.policies[0][1], request.score).name
    selected = [select_score(policy, name) for _, policy in request.policies]
    plans = [compile_plan(policy) for _, policy in request.policies]
    inputs = read_inputs(
        request.files,
        request.outcomes,
        request.every,
        since_ms=request.since_ms,
        until_ms=request.until_ms,
        reading=request.reading,
        plans=plans,
    )
    grid, known = inputs.grid, inputs.known
    reviewed = review_accounts(grid, known)
    policies = []
    for key, (file, _), plan, score in zip(KEYS, request.policies, plans, selected, strict=False):
        track = replay(inputs.events, plan, score, grid, reviewed, progress=request.reading.progress)
        policies.append(ScoredPolicy(key, file, plan, score, track))
    longest = max(request.leads)
    leads = [study_lead(grid, known, inputs.outcomes, days, policies) for days in request.leads]
    report = Report(
        policies=[_policy_info(policy) for policy in policies],
        data=_data(inputs, policies[0].track),
        leads=leads,
        alarms={policy.key: study_alarms(grid, known, policy, longest) for policy in policies},
        reviews=study_reviews(grid, known, policies, longest),
        notes=[*_data_notes(inputs, policies), *_lead_notes(leads)],
    )
    if request.fit is not None:
        try:
            report.fit = write_fitted_policy(inputs, policies[0], request.fit, request.fit_lead)
        except FitError as error:
            return Result(report, str(error))
    return Result(report)


def _longest_window_ms(plan: Plan) -> int:
    return max(panes * UNIT_MS[unit] for unit, panes in plan.longest_windows.items())


def _policy_info(policy: ScoredPolicy) -> PolicyInfo:
    return PolicyInfo(
        key=policy.key,
        file=str(policy.file),
        name=policy.plan.policy.name,
        digest=policy.plan.policy.digest,
        score=policy.score.name,
        bands=[band.name for band in policy.score.bands],
        alerting=[band.name for band in policy.score.bands if band.alert is not None],
        longest_window_days=_longest_window_ms(policy.plan) / DAY_MS,
    )


def _data(inputs: Inputs, track: Track) -> Data:
    events, grid, known = inputs.events, inputs.grid, inputs.known
    observed = observed_days(grid, known, track).any(axis=0)
    return Data(
        events=len(events),
        duplicates=sum(count for (_, outcome), count in track.outcomes.items() if outcome == "duplicate"),
        first_event=rfc3339(events[0].time_ms),
        last_event=rfc3339(events[-1].time_ms),
        known_until=rfc3339(known.until_ms),
        accounts=len(grid.accounts),
        churned=int((observed & (known.churn_ms <= known.until_ms)).sum()),
        outcomes_without_events=len(inputs.outcomes.accounts - grid.accounts.keys()),
        cutoffs=len(grid.cutoffs),
        first_cutoff=rfc3339(int(grid.cutoffs[0])),
        last_cutoff=rfc3339(int(grid.cutoffs[-1])),
        every_days=grid.every,
        ignored=_ignored(inputs.bad, track),
    )


def _ignored(bad: Sequence[BadLine], track: Track) -> list[Ignored]:
    examples = [(line.reason, f"{line.file}:{line.line}: {line.message}") for line in (*bad, *track.refused)]
    ignored: dict[str, Ignored] = {}
    for reason, example in examples:
        ignored.setdefault(reason, Ignored(reason, 0, example)).count += 1
    return sorted(ignored.values(), key=lambda entry: (-entry.count, entry.reason))


def _data_notes(inputs: Inputs, policies: Sequence[ScoredPolicy]) -> list[str]:
    grid = inputs.grid
    notes = []
    longest_ms = max(_longest_window_ms(policy.plan) for policy in policies)
    incomplete = int((grid.cutoffs < inputs.events[0].time_ms + longest_ms).sum())
    if incomplete:
        remedy = "use more history" if incomplete == len(grid.cutoffs) else "use --since to leave these cutoffs out"
        notes.append(
            f"{incomplete} of {len(grid.cutoffs)} cutoffs are less than the longest window ({longest_ms / DAY_MS:g} "
            f"days) after the first event, so their scores miss events from before it: {remedy}"
        )
    strangers = len(inputs.outcomes.accounts - grid.accounts.keys())
    if strangers:
        notes.append(f"left out: {strangers} accounts that have outcomes but no usable event")
    early = int((inputs.known.churn_ms <= grid.boundaries[0]).sum())
    if early:
        notes.append(f"left out: {early} accounts that churned before the first cutoff")
    return notes


def _lead_notes(leads: Sequence[Lead]) -> list[str]:
    notes = []
    for lead in leads:
        if not lead.samples:
            notes.append(f"lead {lead.days} days: no cutoff is followed by {lead.days} days of known outcomes")
        elif lead.churned_accounts < FEW_CHURNED:
            notes.append(
                f"lead {lead.days} days: only {lead.churned_accounts} accounts churned, too few for reliable figures"
            )
    return notes

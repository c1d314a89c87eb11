"""The command `vitals backtest`: from files and policies to a report, and to a policy with fitted weights.

Owns the order of the work and what is remarked about the data. Called by `agents.cli.main`; what is printed and how is
`agents.backtest.tables` and `agents.backtest.page`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from agents.backtest import fit as fitting
from agents.backtest import rewrite
from agents.backtest.figures import auc
from agents.backtest.outcomes import Outcomes, read_outcomes
from agents.backtest.replay import Grid, Track, lay_out, replay
from agents.backtest.report import Data, Fit, Ignored, Lead, PolicyInfo, Report
from agents.backtest.score_reader import bands_of, score_of, stands_in_score, weights_of
from agents.backtest.study import (
    Known,
    Said,
    Samples,
    asked_for,
    known_of,
    rfc3339,
    study_alarms,
    study_lead,
    study_reviews,
    watched_days,
)
from agents.files.replay import BadLine, TimedEvent, read_events
from schemas.topics import DAY_MS
from stream.columns.panes import UNIT_MS
from stream.plan.plan import Plan, compile_plan
from stream.policy.policy import Policy, parse_policy

KEYS = ("A", "B")
_FEW = 10
"""Churned accounts below which figures are remarked to tell little."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to try: event files, outcomes, policies (a file and what it says), lead times and cutoffs in days.

    `score` None is the first score of the first policy; `since_ms` None is the first event, `until_ms` None the last
    event or outcome; `fit` is the file to write fitted weights to.
    """

    files: Sequence[Path]
    outcomes: Path
    policies: Sequence[tuple[Path, Policy]]
    leads: Sequence[int]
    every: int = 7
    score: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    fit: Path | None = None
    fit_lead: int = 30


@dataclass(slots=True)
class Result:
    """The report, and why no weights were fitted where they were asked for."""

    report: Report
    problem: str | None = None
    bad: list[BadLine] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Material:
    """Everything read, before any figure."""

    events: list[TimedEvent]
    grid: Grid
    outcomes: Outcomes
    known: Known
    score: str


def run_backtest(request: Request) -> Result:
    """Replay every policy, and put the report together.

    Raises OSError for a file that can not be read, OutcomesError, TooShortError, UnknownScoreError, and FitError when
    what `--fit` needs is not installed.
    """
    if request.fit is not None:
        fitting.require_sklearn()
    score = score_of(request.policies[0][1], request.score).name
    for _, policy in request.policies:
        score_of(policy, score)
    bad: list[BadLine] = []
    outcomes = read_outcomes(request.outcomes)
    events = read_events(request.files, bad)
    if request.until_ms is not None:
        events = [part for part in events if part.time_ms <= request.until_ms]
    grid = lay_out(events, request.every, request.since_ms)
    until_ms = request.until_ms
    if until_ms is None:
        until_ms = max(events[-1].time_ms, outcomes.last_ms or 0)
    material = _Material(events, grid, outcomes, known_of(grid, outcomes, until_ms), score)
    asked = asked_for(grid, material.known)
    plans = [compile_plan(policy) for _, policy in request.policies]
    said = [
        Said(key, bands_of(plan.policy, score), replay(events, plan, score, grid, asked))
        for key, plan in zip(KEYS, plans, strict=False)
    ]
    longest = max(request.leads)
    leads = [study_lead(grid, material.known, outcomes, days, said) for days in request.leads]
    report = Report(
        policies=[
            _policy_info(key, path, plan, score)
            for key, (path, _), plan in zip(KEYS, request.policies, plans, strict=False)
        ],
        data=_data(material, said[0].track, bad),
        leads=leads,
        alarms={one.key: study_alarms(grid, material.known, one, longest) for one in said},
        reviews=study_reviews(grid, material.known, said, longest),
        notes=_notes(material, plans, leads),
    )
    result = Result(report, bad=[*bad, *outcomes.bad])
    if request.fit is not None:
        try:
            report.fit = _fit(request, request.fit, material, plans[0], said[0].track)
        except fitting.FitError as error:
            result.problem = str(error)
    return result


def _policy_info(key: str, path: Path, plan: Plan, score: str) -> PolicyInfo:
    bands = bands_of(plan.policy, score)
    longest = max(panes * UNIT_MS[unit] for unit, panes in plan.longest_windows.items()) / DAY_MS
    return PolicyInfo(
        key=key,
        file=str(path),
        name=plan.policy.name,
        digest=plan.policy.digest,
        score=score,
        bands=[band.name for band in bands],
        alerting=[band.name for band in bands if band.alert is not None],
        longest_window_days=longest,
    )


def _data(material: _Material, track: Track, bad: list[BadLine]) -> Data:
    grid, outcomes, known = material.grid, material.outcomes, material.known
    watched = watched_days(grid, known, track).any(axis=0)
    return Data(
        events=len(material.events),
        duplicates=sum(count for (_, outcome), count in track.outcomes.items() if outcome == "duplicate"),
        first_event=rfc3339(material.events[0].time_ms),
        last_event=rfc3339(material.events[-1].time_ms),
        known_until=rfc3339(known.until_ms),
        accounts=len(grid.accounts),
        churned=int((watched & (known.churn_ms <= known.until_ms)).sum()),
        outcomes_without_events=len(outcomes.accounts - grid.accounts.keys()),
        cutoffs=len(grid.cutoffs),
        first_cutoff=rfc3339(int(grid.cutoffs[0])),
        last_cutoff=rfc3339(int(grid.cutoffs[-1])),
        every_days=grid.every,
        ignored=_ignored([*bad, *outcomes.bad], track),
    )


def _ignored(bad: Sequence[BadLine], track: Track) -> list[Ignored]:
    told = [(line.reason, f"{line.file}:{line.line}: {line.message}") for line in bad]
    told += [(letter.reason, letter.message) for letter in track.refused]
    ignored: dict[str, Ignored] = {}
    for reason, example in told:
        ignored.setdefault(reason, Ignored(reason, 0, example)).count += 1
    return sorted(ignored.values(), key=lambda one: (-one.count, one.reason))


def _notes(material: _Material, plans: Sequence[Plan], leads: Sequence[Lead]) -> list[str]:
    grid, known = material.grid, material.known
    notes = []
    longest_ms = max(panes * UNIT_MS[unit] for plan in plans for unit, panes in plan.longest_windows.items())
    young = int((grid.cutoffs < material.events[0].time_ms + longest_ms).sum())
    if young:
        notes.append(
            f"{young} of {len(grid.cutoffs)} cutoffs lie within the longest window ({longest_ms / DAY_MS:g} days) of "
            "the first event: scores there lack what happened before; --since leaves such cutoffs out"
        )
    strangers = len(material.outcomes.accounts - grid.accounts.keys())
    if strangers:
        notes.append(f"{strangers} accounts have outcomes and no event that counts: they are left out")
    early = int((known.churn_ms <= grid.boundaries[0]).sum())
    if early:
        notes.append(f"{early} accounts churned before the first cutoff: they are left out")
    for lead in leads:
        if not lead.samples:
            notes.append(f"lead {lead.days} days: no cutoff has that much known after it")
        elif lead.churned_accounts < _FEW:
            notes.append(f"lead {lead.days} days: {lead.churned_accounts} accounts churned, too few to tell much")
    return notes


def _fit(request: Request, target: Path, material: _Material, plan: Plan, track: Track) -> Fit:
    """Fit, write the policy, replay it, and compare it with the one it came from on what was held out."""
    grid, lead_ms = material.grid, request.fit_lead * DAY_MS
    samples = Samples(grid, material.known, request.fit_lead, ~np.isnan(track.scores[:: grid.every]))
    cutoff_ms = grid.cutoffs[samples.cutoff]
    split = fitting.split_by_time(cutoff_ms, lead_ms, samples.account, samples.churned)
    points = track.points[samples.selected].astype(np.float64)
    weights = weights_of(plan.policy, material.score)
    if weights is None:
        raise fitting.FitError(
            f"score {material.score} is no plain weighted mean: weights can be fitted to a score without groups, "
            "impacts and segments of its own"
        )
    train = split.train
    found = fitting.fit_weights(list(weights), list(weights.values()), points[train], samples.churned[train])
    path, policy = request.policies[0]
    holder = material.score if stands_in_score(plan.policy, material.score) else None
    text = rewrite.with_weights(path.read_bytes().decode(), found, holder)
    fitted = compile_plan(parse_policy(text, str(target)))
    after = replay(material.events, fitted, material.score, grid)
    held = split.holdout
    silent_ms = (grid.cutoffs[:, None] - track.last_ms).astype(np.float64)

    def held_out(scores: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float | None:
        return auc(samples.pick(scores)[held], samples.churned[held])

    fit = Fit(
        file=str(target),
        policy=f"{policy.name}@{fitted.policy.digest}",
        lead_days=request.fit_lead,
        train_cutoffs=len(np.unique(cutoff_ms[train])),
        train_samples=int(train.sum()),
        train_churned_accounts=len(np.unique(samples.account[train & samples.churned])),
        train_from=rfc3339(int(cutoff_ms[train].min())),
        train_until=rfc3339(split.train_until_ms),
        holdout_from=rfc3339(split.holdout_from_ms),
        holdout_until=rfc3339(int(cutoff_ms[held].max())),
        holdout_cutoffs=len(np.unique(cutoff_ms[held])),
        holdout_samples=int(held.sum()),
        holdout_churned_accounts=len(np.unique(samples.account[held & samples.churned])),
        auc_before=held_out(track.scores[:: grid.every]),
        auc_after=held_out(after.scores[:: grid.every]),
        auc_recency=held_out(-silent_ms),
        weights=found,
        notes=[],
    )
    fit.notes = _fit_notes(fit)
    target.write_bytes((rewrite.header(fit, f"{policy.name}@{policy.digest}") + text).encode())
    return fit


def _fit_notes(fit: Fit) -> list[str]:
    notes = []
    if fit.auc_before is not None and fit.auc_after is not None and fit.auc_after <= fit.auc_before:
        notes.append("on what was held out these weights are no better than those there were: keep yours")
    wanted = _FEW * len(fit.weights)  # ten events a variable: Peduzzi et al., 1996
    if fit.train_churned_accounts < wanted:
        notes.append(
            f"{fit.train_churned_accounts} churned accounts are few for {len(fit.weights)} measures; "
            f"{wanted} or more would make the weights steadier"
        )
    return notes

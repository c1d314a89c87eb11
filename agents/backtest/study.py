"""Compute the sections of a back-test report from scores and outcomes: lead times, alarms and account reviews.

Decides which accounts count at which cutoff for which lead time. The figures themselves are in
`agents.backtest.figures` and `agents.backtest.episodes`. Pure; called by `agents.backtest.run`.

A sample is an account at a cutoff. It counts for a lead time if the account has had an event and has not churned, and
if outcomes are known up to the cutoff plus the lead time. Its label is whether the account churned after the cutoff
and at most the lead time later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.backtest import episodes as alarm
from agents.backtest import figures
from agents.backtest.outcomes import Outcomes
from agents.backtest.replay import Grid, Track
from agents.backtest.report import (
    RECENCY,
    Alarms,
    Auc,
    BandFigures,
    BinFigures,
    DecileFigures,
    Difference,
    Factor,
    Lead,
    PolicyReview,
    Review,
)
from schemas.topics import DAY_MS
from stream.explain.selector import SelectedScore
from stream.plan.plan import Plan

Flags = NDArray[np.bool_]
Times = NDArray[np.int64]

REVIEW_DAYS = (90, 60, 30, 7, 0)
FACTORS_KEPT = 3
DRAWS = 200
_LEAST_COST = 0.05
"""Smaller costs would be printed as 0.0."""


@dataclass(frozen=True, slots=True)
class ScoredPolicy:
    """A policy, its key in the report (`A` or `B`), the score that is tested, and its scores at every boundary."""

    key: str
    file: Path
    plan: Plan
    score: SelectedScore
    track: Track

    @property
    def alerting(self) -> Flags:
        """Which bands alert; the last entry, number -1, is an account without a score."""
        return np.array([*(band.alert is not None for band in self.score.bands), False])


@dataclass(frozen=True, slots=True)
class KnownChurn:
    """Time of churn by account of a grid (`NEVER_MS`: none), and the time up to which outcomes are known."""

    churn_ms: Times
    until_ms: int


class Samples:
    """The samples of one lead time; all arrays have the same order."""

    def __init__(self, grid: Grid, known: KnownChurn, lead_days: int, scored: Flags) -> None:
        """`scored`: which accounts have had an event, bool (cutoffs, accounts)."""
        self.cutoff_ms = grid.cutoffs
        lead_ms = lead_days * DAY_MS
        usable = self.cutoff_ms + lead_ms <= known.until_ms
        active = known.churn_ms > self.cutoff_ms[:, None]
        self.selected: Flags = scored & active & usable[:, None]
        soon = known.churn_ms <= self.cutoff_ms[:, None] + lead_ms
        self.lead_ms = lead_ms
        self.cutoff, self.account = np.nonzero(self.selected)
        self.churned: Flags = soon[self.selected]

    def pick(self, at_cutoffs: NDArray[np.float64]) -> NDArray[np.float64]:
        """The values of the samples, from an array (cutoffs, accounts)."""
        return at_cutoffs[self.selected]

    def happened(self, times: Mapping[str, Sequence[int]], accounts: Mapping[str, int]) -> Flags:
        """Whether one of `times` (by account, ascending) is after the cutoff and within the lead time."""
        happened = np.zeros(self.selected.shape, dtype=bool)
        for name, moments in times.items():
            if name in accounts:
                for moment in moments:
                    happened[:, accounts[name]] |= (self.cutoff_ms < moment) & (moment <= self.cutoff_ms + self.lead_ms)
        return happened[self.selected]


def known_churn(grid: Grid, outcomes: Outcomes, until_ms: int) -> KnownChurn:
    """Churn up to `until_ms`; a later one counts as not happened."""
    churn_ms = np.full(len(grid.accounts), alarm.NEVER_MS, dtype=np.int64)
    for name, moment in outcomes.churned.items():
        if name in grid.accounts and moment <= until_ms:
            churn_ms[grid.accounts[name]] = moment
    return KnownChurn(churn_ms, until_ms)


def study_lead(grid: Grid, known: KnownChurn, outcomes: Outcomes, days: int, policies: Sequence[ScoredPolicy]) -> Lead:
    """The figures of one lead time."""
    scored = np.logical_and.reduce([~np.isnan(policy.track.scores[:: grid.every]) for policy in policies])
    samples = Samples(grid, known, days, scored)
    predictors = {policy.key: samples.pick(policy.track.scores[:: grid.every]) for policy in policies}
    silent_ms = grid.cutoffs[:, None] - policies[0].track.last_ms
    predictors[RECENCY] = -samples.pick(silent_ms.astype(np.float64)) / DAY_MS
    churned = samples.churned
    aucs, differences = _aucs(predictors, samples)
    expanded = samples.happened(outcomes.expanded, grid.accounts)
    renewed = samples.happened(outcomes.renewed, grid.accounts)
    return Lead(
        days=days,
        cutoffs=len(np.unique(samples.cutoff)),
        samples=len(churned),
        accounts=len(np.unique(samples.account)),
        churned_samples=int(churned.sum()),
        churned_accounts=len(np.unique(samples.account[churned])),
        base_rate=figures.ratio(churned.sum(), len(churned)),
        auc=aucs,
        differences=differences,
        bands={policy.key: _bands(policy, grid, samples) for policy in policies},
        deciles={
            key: [
                DecileFigures(rank, *decile) for rank, decile in enumerate(figures.lift_by_decile(scores, churned), 1)
            ]
            for key, scores in predictors.items()
        },
        calibration={
            policy.key: [BinFigures(*scores) for scores in figures.calibration(predictors[policy.key], churned)]
            for policy in policies
        },
        expanded_auc={key: figures.auc(-scores, expanded) for key, scores in predictors.items()},
        renewed_auc={key: figures.auc(-scores, renewed) for key, scores in predictors.items()},
    )


def _aucs(predictors: Mapping[str, NDArray[np.float64]], samples: Samples) -> tuple[dict[str, Auc], list[Difference]]:
    keys = list(predictors)
    values = {key: figures.auc(scores, samples.churned) for key, scores in predictors.items()}
    draws = figures.resampled_aucs(list(predictors.values()), samples.churned, samples.account, DRAWS)
    aucs = {
        key: Auc(values[key], *(figures.interval(draws[:, column]) or (None, None))) for column, key in enumerate(keys)
    }
    differences = []
    for of in range(len(keys)):
        for against in range(of + 1, len(keys)):
            auc, other_auc = values[keys[of]], values[keys[against]]
            gap = None if auc is None or other_auc is None else auc - other_auc
            low_high = figures.interval(draws[:, of] - draws[:, against]) or (None, None)
            differences.append(Difference(keys[of], keys[against], gap, *low_high))
    return aucs, differences


def _bands(policy: ScoredPolicy, grid: Grid, samples: Samples) -> list[BandFigures]:
    bands = policy.track.bands[:: grid.every][samples.selected]
    counts = figures.band_counts(bands, samples.churned, len(policy.score.bands))
    total = int(samples.churned.sum())
    return [
        BandFigures(
            band.name,
            band.alert is not None,
            count.samples,
            count.churned,
            figures.ratio(count.churned, count.samples),
            figures.ratio(count.churned, total),
            figures.ratio(count.churned_to_here, count.samples_to_here),
            figures.ratio(count.churned_to_here, total),
        )
        for band, count in zip(policy.score.bands, counts, strict=True)
    ]


def observed_days(grid: Grid, known: KnownChurn, track: Track) -> Flags:
    """The days on which an account is observed, bool (boundaries, accounts): from its first event to its churn."""
    return ~np.isnan(track.scores) & (known.churn_ms > grid.boundaries[:, None])


def episodes_of(grid: Grid, known: KnownChurn, policy: ScoredPolicy) -> alarm.Episodes:
    """The periods that accounts spend in alerting bands of a policy."""
    track = policy.track
    return alarm.find_episodes(policy.alerting[track.bands] & observed_days(grid, known, track), grid.boundaries)


def study_alarms(grid: Grid, known: KnownChurn, policy: ScoredPolicy, longest_days: int) -> Alarms:
    """Warnings, false alarms and flaps of one policy."""
    observed = observed_days(grid, known, policy.track)
    episodes = episodes_of(grid, known, policy)
    verdicts = alarm.judge(episodes, known.churn_ms, known.until_ms, longest_days)
    decided = grid.boundaries + longest_days * DAY_MS <= known.until_ms
    churned = observed.any(axis=0) & (known.churn_ms < grid.end_ms)
    warnings = alarm.warnings_days(episodes, verdicts, known.churn_ms)
    warned = churned & ~np.isnan(warnings)
    false, flaps = int(verdicts.false.sum()), alarm.count_flaps(episodes)
    return Alarms(
        episodes=len(episodes.account),
        followed_by_churn=int(verdicts.right.sum()),
        false_alarms=false,
        undecided=len(episodes.account) - false - int(verdicts.right.sum()),
        false_alarms_per_account_year=figures.ratio(false, alarm.account_years(observed[decided])),
        flaps=flaps,
        flaps_per_account_year=figures.ratio(flaps, alarm.account_years(observed)),
        churned=int(churned.sum()),
        warned=int(warned.sum()),
        median_warning_days=float(np.median(warnings[warned])) if warned.any() else None,
    )


def review_accounts(grid: Grid, known: KnownChurn) -> dict[int, set[int]]:
    """The accounts whose costs a review shows, by number of the boundary."""
    accounts: dict[int, set[int]] = {}
    for account in np.flatnonzero(known.churn_ms < alarm.NEVER_MS).tolist():
        for days in REVIEW_DAYS:
            boundary = grid.boundary_before(int(known.churn_ms[account]) - days * DAY_MS)
            if boundary is not None:
                accounts.setdefault(boundary, set()).add(account)
    return accounts


def study_reviews(grid: Grid, known: KnownChurn, policies: Sequence[ScoredPolicy], longest_days: int) -> list[Review]:
    """The last 90 days of every account that churned while there were events, in order of the churn."""
    names = {column: name for name, column in grid.accounts.items()}
    observed = observed_days(grid, known, policies[0].track).any(axis=0)
    selected = np.flatnonzero(observed & (known.churn_ms < alarm.NEVER_MS))
    reviews = {
        int(account): Review(names[int(account)], rfc3339(int(known.churn_ms[account])), {})
        for account in selected[np.argsort(known.churn_ms[selected], kind="stable")]
        if grid.boundary_before(int(known.churn_ms[account])) is not None
    }
    for policy in policies:
        episodes = episodes_of(grid, known, policy)
        verdicts = alarm.judge(episodes, known.churn_ms, known.until_ms, longest_days)
        warnings = alarm.warnings_days(episodes, verdicts, known.churn_ms)
        # Episodes are in order of time, so each account keeps its last one.
        begin_ms = dict(zip(episodes.account.tolist(), episodes.begin_ms.tolist(), strict=True))
        for account, review in reviews.items():
            entered, warning = begin_ms.get(account), float(warnings[account])
            policy_review = _review(grid, known, policy, account)
            policy_review.entered_alerting_at = None if entered is None else rfc3339(entered)
            policy_review.warning_days = None if np.isnan(warning) else warning
            review.policies[policy.key] = policy_review
    return list(reviews.values())


def _review(grid: Grid, known: KnownChurn, policy: ScoredPolicy, account: int) -> PolicyReview:
    churn_ms, track = int(known.churn_ms[account]), policy.track
    scores: dict[str, float | None] = {}
    scored: list[int] = []
    for days in REVIEW_DAYS:
        boundary = grid.boundary_before(churn_ms - days * DAY_MS)
        value = float("nan") if boundary is None else float(track.scores[boundary, account])
        scores[str(days)] = None if np.isnan(value) else value
        if boundary is not None and not np.isnan(value):
            scored.append(boundary)
    if not scored:
        return PolicyReview(scores, None, None, None, [])
    before, last = track.costs[scored[0], account], track.costs[scored[-1], account]
    factors = [
        Factor(measure, cost, before[measure])
        for measure, cost in last.items()
        if cost is not None and cost >= _LEAST_COST
    ]
    factors.sort(key=lambda factor: -factor.cost)
    band = int(track.bands[scored[-1], account])
    return PolicyReview(scores, policy.score.bands[band].name, None, None, factors[:FACTORS_KEPT])


def rfc3339(time_ms: int) -> str:
    """Epoch milliseconds as RFC 3339 in UTC, with milliseconds only if they are not 0."""
    text = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(
        timespec="milliseconds" if time_ms % 1000 else "seconds"
    )
    return text.replace("+00:00", "Z")

"""From what policies said and what became of accounts to a report.

Owns which accounts count at which cutoff for which lead time, and how the figures are put together. The figures
themselves are `agents.backtest.figures` and `agents.backtest.episodes`. Pure; called by `agents.backtest.run`.

A sample is an account at a cutoff. It takes part for a lead time when the account has had an event, has not churned
yet, and the cutoff plus the lead time is known. Its label is whether the account churned after the cutoff and at most
the lead time later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

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
    Dragged,
    Lead,
    PolicyReview,
    Review,
)
from schemas.topics import DAY_MS
from stream.policy.policy import Band

Flags = NDArray[np.bool_]
Times = NDArray[np.int64]

REVIEW_DAYS = (90, 60, 30, 7, 0)
DRAGGED_SHOWN = 3
DRAWS = 200
_TELLING = 0.05
"""Smaller costs would read as 0.0."""


@dataclass(frozen=True, slots=True)
class Said:
    """One policy's letter, the bands of its score (the lowest first), and its track."""

    key: str
    bands: tuple[Band, ...]
    track: Track

    @property
    def alerting(self) -> Flags:
        """Which bands alert; the last entry, number -1, stands for no band."""
        return np.array([*(band.alert is not None for band in self.bands), False])


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the accounts of a grid: churn by account (`NEVER_MS`: none), and until when all is known."""

    churn_ms: Times
    until_ms: int


class Samples:
    """The samples of one lead time; everything is in one order."""

    def __init__(self, grid: Grid, known: Known, lead_days: int, born: Flags) -> None:
        """`born` tells which accounts have had an event, bool (cutoffs, accounts)."""
        self.cutoff_ms = grid.cutoffs
        lead_ms = lead_days * DAY_MS
        usable = self.cutoff_ms + lead_ms <= known.until_ms
        here = known.churn_ms > self.cutoff_ms[:, None]
        self.selected: Flags = born & here & usable[:, None]
        soon = known.churn_ms <= self.cutoff_ms[:, None] + lead_ms
        self.lead_ms = lead_ms
        self.cutoff, self.account = np.nonzero(self.selected)
        self.churned: Flags = soon[self.selected]

    def pick(self, at_cutoffs: NDArray[np.float64]) -> NDArray[np.float64]:
        """The entries of samples, from (cutoffs, accounts)."""
        return at_cutoffs[self.selected]

    def happened(self, times: Mapping[str, Sequence[int]], accounts: Mapping[str, int]) -> Flags:
        """Whether something of `times` (by account, ascending) lies after the cutoff and within the lead time."""
        found = np.zeros(self.selected.shape, dtype=bool)
        for name, moments in times.items():
            if name in accounts:
                for moment in moments:
                    found[:, accounts[name]] |= (self.cutoff_ms < moment) & (moment <= self.cutoff_ms + self.lead_ms)
        return found[self.selected]


def known_of(grid: Grid, outcomes: Outcomes, until_ms: int) -> Known:
    """What is known by `until_ms`; a churn after it has not happened yet."""
    churn_ms = np.full(len(grid.accounts), alarm.NEVER_MS, dtype=np.int64)
    for name, moment in outcomes.churned.items():
        if name in grid.accounts and moment <= until_ms:
            churn_ms[grid.accounts[name]] = moment
    return Known(churn_ms, until_ms)


def study_lead(grid: Grid, known: Known, outcomes: Outcomes, days: int, policies: Sequence[Said]) -> Lead:
    """All figures of one lead time."""
    born = ~np.isnan(policies[0].track.scores[:: grid.every])
    samples = Samples(grid, known, days, born)
    predictors = {said.key: samples.pick(said.track.scores[:: grid.every]) for said in policies}
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
        bands={said.key: _bands(said, grid, samples) for said in policies},
        deciles={
            key: [DecileFigures(at, *part) for at, part in enumerate(figures.lift_by_decile(scores, churned), 1)]
            for key, scores in predictors.items()
        },
        calibration={
            said.key: [BinFigures(*part) for part in figures.calibration(predictors[said.key], churned)]
            for said in policies
        },
        expanded_auc={key: figures.auc(-scores, expanded) for key, scores in predictors.items()},
        renewed_auc={key: figures.auc(-scores, renewed) for key, scores in predictors.items()},
    )


def _aucs(predictors: Mapping[str, NDArray[np.float64]], samples: Samples) -> tuple[dict[str, Auc], list[Difference]]:
    keys = list(predictors)
    values = {key: figures.auc(scores, samples.churned) for key, scores in predictors.items()}
    draws = figures.resampled_aucs(list(predictors.values()), samples.churned, samples.account, DRAWS)
    aucs = {key: Auc(values[key], *(figures.interval(draws[:, at]) or (None, None))) for at, key in enumerate(keys)}
    differences = []
    for of in range(len(keys)):
        for against in range(of + 1, len(keys)):
            one, other = values[keys[of]], values[keys[against]]
            gap = None if one is None or other is None else one - other
            low_high = figures.interval(draws[:, of] - draws[:, against]) or (None, None)
            differences.append(Difference(keys[of], keys[against], gap, *low_high))
    return aucs, differences


def _bands(said: Said, grid: Grid, samples: Samples) -> list[BandFigures]:
    bands = said.track.bands[:: grid.every][samples.selected]
    counts = figures.band_counts(bands, samples.churned, len(said.bands))
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
        for band, count in zip(said.bands, counts, strict=True)
    ]


def watched_days(grid: Grid, known: Known, track: Track) -> Flags:
    """Which days an account is watched, bool (boundaries, accounts): from its first event until it churns."""
    return ~np.isnan(track.scores) & (known.churn_ms > grid.boundaries[:, None])


def episodes_of(grid: Grid, known: Known, said: Said) -> alarm.Episodes:
    """The stretches of days that accounts are in alerting bands of a policy."""
    return alarm.find_episodes(said.alerting[said.track.bands] & watched_days(grid, known, said.track), grid.boundaries)


def study_alarms(grid: Grid, known: Known, said: Said, longest_days: int) -> Alarms:
    """Warnings, false alarms and flaps of one policy."""
    watched = watched_days(grid, known, said.track)
    found = episodes_of(grid, known, said)
    verdicts = alarm.judge(found, known.churn_ms, known.until_ms, longest_days)
    decided = grid.boundaries + longest_days * DAY_MS <= known.until_ms
    seen_going = watched.any(axis=0) & (known.churn_ms < grid.boundaries[-1] + DAY_MS)
    warnings = alarm.warnings_days(found, verdicts, known.churn_ms)
    warned = seen_going & ~np.isnan(warnings)
    false, flaps = int(verdicts.false.sum()), alarm.count_flaps(found)
    return Alarms(
        episodes=len(found.account),
        followed_by_churn=int(verdicts.right.sum()),
        false_alarms=false,
        undecided=len(found.account) - false - int(verdicts.right.sum()),
        false_alarms_per_account_year=figures.ratio(false, alarm.account_years(watched[decided])),
        flaps=flaps,
        flaps_per_account_year=figures.ratio(flaps, alarm.account_years(watched)),
        churned=int(seen_going.sum()),
        warned=int(warned.sum()),
        median_warning_days=float(np.median(warnings[warned])) if warned.any() else None,
    )


def asked_for(grid: Grid, known: Known) -> dict[int, set[int]]:
    """Accounts by the boundaries at which a review looks at them."""
    asked: dict[int, set[int]] = {}
    for account in np.flatnonzero(known.churn_ms < alarm.NEVER_MS).tolist():
        for days in REVIEW_DAYS:
            place = grid.place(int(known.churn_ms[account]) - days * DAY_MS)
            if place is not None:
                asked.setdefault(place, set()).add(account)
    return asked


def study_reviews(grid: Grid, known: Known, policies: Sequence[Said], longest_days: int) -> list[Review]:
    """The last 90 days of every account that churned while there were events, in order of the churn."""
    names = {at: name for name, at in grid.accounts.items()}
    watched = watched_days(grid, known, policies[0].track).any(axis=0)
    selected = np.flatnonzero(watched & (known.churn_ms < alarm.NEVER_MS))
    reviews = {
        int(account): Review(names[int(account)], rfc3339(int(known.churn_ms[account])), {})
        for account in selected[np.argsort(known.churn_ms[selected], kind="stable")]
        if grid.place(int(known.churn_ms[account])) is not None
    }
    for said in policies:
        found = episodes_of(grid, known, said)
        verdicts = alarm.judge(found, known.churn_ms, known.until_ms, longest_days)
        warnings = alarm.warnings_days(found, verdicts, known.churn_ms)
        begin_ms = dict(zip(found.account.tolist(), found.begin_ms.tolist(), strict=True))  # the last one stays
        for account, review in reviews.items():
            entered, warning = begin_ms.get(account), float(warnings[account])
            review.policies[said.key] = _review(grid, known, said, account)
            review.policies[said.key].entered_alerting_at = None if entered is None else rfc3339(entered)
            review.policies[said.key].warning_days = None if np.isnan(warning) else warning
    return list(reviews.values())


def _review(grid: Grid, known: Known, said: Said, account: int) -> PolicyReview:
    churn_ms = int(known.churn_ms[account])
    places = {days: grid.place(churn_ms - days * DAY_MS) for days in REVIEW_DAYS}
    scores: dict[str, float | None] = {}
    seen: list[int] = []
    for days, place in places.items():
        value = float("nan") if place is None else float(said.track.scores[place, account])
        scores[str(days)] = None if np.isnan(value) else value
        if place is not None and not np.isnan(value):
            seen.append(place)
    if not seen:
        return PolicyReview(scores, None, None, None, [])
    before, last = said.track.costs[seen[0], account], said.track.costs[seen[-1], account]
    known_costs = [
        Dragged(measure, cost, before[measure])
        for measure, cost in last.items()
        if cost is not None and cost >= _TELLING
    ]
    known_costs.sort(key=lambda part: -part.cost)
    band = int(said.track.bands[seen[-1], account])
    return PolicyReview(scores, said.bands[band].name, None, None, known_costs[:DRAGGED_SHOWN])


def rfc3339(time_ms: int) -> str:
    """Epoch milliseconds as RFC 3339 in UTC, milliseconds only where there are any."""
    text = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(
        timespec="milliseconds" if time_ms % 1000 else "seconds"
    )
    return text.replace("+00:00", "Z")

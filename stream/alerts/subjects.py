"""The accounts that alerts are about, many of a batch at once: name, score, band, segment, status and labels.

Called by `stream.alerts.emission`; the messages are in `stream.alerts.messages`. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from schemas.events import ProfileEvent
from stream.accounts.accounts import NO_BAND, Accounts
from stream.accounts.status import STATES, Status
from stream.alerts.messages import Subject
from stream.alerts.phase_changes import PhaseChange
from stream.plan.plan import Plan
from stream.plan.segments import field_texts
from stream.publishing.scored_batch import ScoredBatch


def subjects_of(
    plan: Plan, accounts: Accounts, scored_batch: ScoredBatch, positions: Sequence[int], score: int
) -> list[Subject]:
    """The accounts at `positions` of a batch, as of one of their scores; without a score, as of the last published."""
    scored, rows, indexes = scored_batch.scored, scored_batch.rows[positions], np.array(positions, dtype=np.intp)
    values, bands = scored.scores[score].values[indexes], scored.scores[score].bands[indexes]
    status, missing = scored.status[indexes], bands == NO_BAND
    if np.count_nonzero(missing):
        values = np.where(missing, accounts.last_published_score[rows, score], values)
        bands = np.where(missing, np.maximum(accounts.last_published_band[rows, score], 0), bands)
        status = np.where(missing, np.maximum(status, int(Status.NO_DATA)), status)
    names = [band.name for band in plan.scores[score].score.bands]
    segments = None if scored.segments is None else scored.segments[indexes].tolist()
    subjects = []
    numbers = zip(rows.tolist(), values.tolist(), bands.tolist(), status.tolist(), strict=True)
    for index, (row, value, band, state) in enumerate(numbers):
        account, profile = accounts.index.names[row], accounts.profiles.get(row)
        segment = None if profile is None else profile.segment
        if segments is not None:
            segment = None if segments[index] < 0 else plan.policy.segments[segments[index]].name
        name = profile.name if profile and profile.name else account
        labels = {} if profile is None else _labels(plan, profile)
        subjects.append(Subject(account, name, value, names[band], segment, STATES[state], labels))
    return subjects


def subjects_of_changes(
    plan: Plan, accounts: Accounts, scored_batch: ScoredBatch, changes: Sequence[PhaseChange]
) -> list[Subject]:
    """The account of each change, as of the score that its rule is about."""
    by_score: dict[int, list[int]] = {}
    for change in changes:
        by_score.setdefault(change.rule_plan.score, []).append(change.position)
    subjects = {
        score: iter(subjects_of(plan, accounts, scored_batch, positions, score))
        for score, positions in by_score.items()
    }
    return [next(subjects[change.rule_plan.score]) for change in changes]


def _labels(plan: Plan, profile: ProfileEvent) -> dict[str, str]:
    """The labels that the policy adds, of those fields that a profile has."""
    texts = {label.name: ", ".join(field_texts(profile, label.field)) for label in plan.policy.labels}
    return {name: text for name, text in texts.items() if text}

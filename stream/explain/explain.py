"""Explain a score: which factors cost most, and the smallest change of each that alone lifts the account a band.

Owns what is derived from one score message. Pure; called by `vitals explain` (`agents.cli.files`) and
`agents.board.views.account`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from schemas.outputs import Factor, LastScore, Override, ScoreMessage, ScoreValue, State
from stream.columns.panes import date_text
from stream.explain.forecast import Forecast
from stream.explain.lifts import Lift, Readings, Trials, find_lifts
from stream.explain.selector import SelectedScore, UnknownScoreError
from stream.explain.since import Since
from stream.explain.text import factor_text, label_of, number, span_text
from stream.plan.plan import Plan
from stream.policy.band_index import BAND_DECIMALS
from stream.policy.bands import Band

_FULL = 100.0


class Explanation(Struct):
    """One account: score, band, factors by what they cost, a sentence for each factor (`words`), and lifts.

    `since` and `ahead` (the forecast) need events; where only the score message was available, `needs_files` names
    which of them are missing. `new_until` (epoch ms) is there while the account is new. `due_band` is the band that
    becomes the account's when it has been due for `dwell`; `notes` say why the band is not the one of the score.
    `value` and `band` are null without data; `state` then says whether the account has ended, and `last` is its last
    score. `shown` is the value as the policy shows it to people, if it says how.
    """

    account_id: str
    score: str
    value: float | None
    band: str | None
    as_of: int
    factors: list[Factor]
    next_band: str | None
    missing_points: float
    lifts: list[Lift]
    policy: str
    words: list[str]
    since: Since | None = None
    ahead: Forecast | None = None
    needs_files: list[str] = []
    segment: str | None = None
    exceptions: list[str] = []
    override: Override | None = None
    new_until: int | None = None
    state: State | None = None
    ended_at: int | None = None
    last_event_at: int | None = None
    merged_into: str | None = None
    last: LastScore | None = None
    due_band: str | None = None
    notes: list[str] = []
    shown: str | None = None


def value_of(message: ScoreMessage, selected: SelectedScore) -> ScoreValue:
    """The selected score of a message. Raises `UnknownScoreError` when the message's policy has no such score."""
    if selected.name not in message.scores:
        names = ", ".join(message.scores)
        raise UnknownScoreError(f"{message.account_id} was scored by {message.policy}, which has only {names}")
    return message.scores[selected.name]


def explain_message(
    message: ScoreMessage, plan: Plan, selected: SelectedScore, readings: Readings | None = None
) -> Explanation:
    """Explain the selected score of a message. `plan` and `selected` must be of the policy that it was scored by.

    `readings` are the values of all measures, by default those that the message has: it has no measure that only an
    exception uses.
    """
    score, raw = value_of(message, selected), message.raw or {}
    by_name = {measure.name: measure for measure in selected.measures}
    factors = sorted(score.factors, key=lambda factor: (-_cost(factor), factor.measure))
    above = _Above() if score.value is None else _above(message, score.value, plan, selected, readings)
    return Explanation(
        account_id=message.account_id,
        score=selected.name,
        value=score.value,
        band=score.band,
        as_of=message.as_of,
        factors=factors,
        next_band=above.band,
        missing_points=above.missing_points,
        lifts=[*above.lifts],
        policy=message.policy,
        words=[
            factor_text(
                factor,
                by_name.get(factor.measure),
                raw.get(factor.measure),
                message.inputs,
                _not_of_now(factor.measure, message, plan),
            )
            for factor in factors
        ],
        segment=message.segment if selected.score.segments else None,
        exceptions=score.exceptions or [],
        shown=score.shown,
        override=message.override,
        new_until=message.new_until,
        state=message.state,
        ended_at=message.ended_at,
        last_event_at=message.last_event_at,
        merged_into=message.merged_into,
        last=(message.last or {}).get(selected.name),
        due_band=above.due_band,
        notes=[*above.notes],
    )


def _not_of_now(name: str, message: ScoreMessage, plan: Plan) -> str | None:
    """Why a measure has a value that is not of now, if so: the account is silent, or a source is idle."""
    if name in (message.held or ()) and message.last_event_at is not None:
        return f"as of its last event, on {date_text(message.last_event_at)}: silence improves nothing"
    index = plan.index_of.get(name)
    sources = set() if index is None else {leaf.measure.source for leaf in plan.measures[index].leaves}
    idle = sorted(sources.intersection(message.stalled_sources or ()))
    return f"the last value: {' and '.join(idle)} sends nothing for any account" if idle else None


class _Above(NamedTuple):
    """The next better band of an account, what lifts it there, and the band that is due. Empty without data."""

    band: str | None = None
    missing_points: float = 0.0
    lifts: Sequence[Lift] = ()
    due_band: str | None = None
    notes: Sequence[str] = ()


def _above(
    message: ScoreMessage, value: float, plan: Plan, selected: SelectedScore, readings: Readings | None
) -> _Above:
    # Rounded as the band itself is: 69.99999999999999 is not below 70.
    score, rounded, bands = (
        message.scores[selected.name],
        round(value, BAND_DECIMALS),
        selected.bands_in(message.segment),
    )
    band = _band_index(score, rounded, bands)
    trials = Trials(plan, selected, message, band, readings)
    due = trials.due_band()
    higher = bands[band + 1] if band + 1 < len(bands) else None
    return _Above(
        band=None if higher is None else higher.name,
        missing_points=0.0 if higher is None else max(round(higher.from_ - value, BAND_DECIMALS), 0.0),
        lifts=[] if higher is None or due > band else find_lifts(plan, selected, trials),
        due_band=None if due == band else bands[due].name,
        notes=_notes(score, rounded, selected, trials, due),
    )


def _band_index(score: ScoreValue, value: float, bands: Sequence[Band]) -> int:
    """The account's band; of a message of another policy, the band of the score."""
    names = [band.name for band in bands]
    if score.band in names:
        return names.index(score.band)
    return max(sum(band.from_ <= value for band in bands) - 1, 0)


def _notes(score: ScoreValue, value: float, selected: SelectedScore, trials: Trials, due: int) -> list[str]:
    """Why the band is not the one in which the score lies, a sentence for each reason."""
    band, bands = trials.band, selected.bands_in(trials.segment)
    notes = []
    limiting = [
        limit.name for limit in trials.model.limits if limit.band == due and limit.name in (score.exceptions or ())
    ]
    in_bands = max(sum(other.from_ <= value for other in bands) - 1, 0)
    if limiting and in_bands > due:
        names = ", ".join(map(label_of, dict.fromkeys(limiting)))
        notes.append(f"Its score lies in {bands[in_bands].name}; {names} limits it to {bands[due].name}.")
    leaves = trials.model.leaves
    if due == band and value < bands[band].from_ and band and leaves is not None:
        notes.append(f"It stays in {bands[band].name} until its score is below {number(float(leaves[band]))}.")
    if selected.score.dwell_ms is not None:
        lasts = span_text(selected.score.dwell_ms)
        if due != band:
            notes.append(f"{bands[due].name} is due: it enters that band when this has lasted for {lasts}.")
        elif band + 1 < len(bands):
            notes.append(f"Its band changes when another one has been due for {lasts}.")
    return notes


def _cost(factor: Factor) -> float:
    """Points of the score that a factor misses to its maximum."""
    return factor.weight * (_FULL - (factor.points or 0.0)) if factor.points is not None else 0.0

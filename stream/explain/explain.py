"""Explain a score: which factors cost most, and the smallest change of each that alone lifts the account a band.

Owns what is derived from one score message. Pure; called by `vitals explain` (`agents.cli.files`) and
`agents.board.views.account`.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from schemas.outputs import Factor, Override, ScoreMessage, ScoreValue
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
    """

    account_id: str
    score: str
    value: float
    band: str
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
    due_band: str | None = None
    notes: list[str] = []


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
    bands = selected.bands_in(message.segment)
    factors = sorted(score.factors, key=lambda factor: (-_cost(factor), factor.measure))
    band = _band_index(score, bands)
    trials = Trials(plan, selected, message, band, readings)
    due = trials.due_band()
    higher = bands[band + 1] if band + 1 < len(bands) else None
    return Explanation(
        account_id=message.account_id,
        score=selected.name,
        value=score.value,
        band=score.band,
        as_of=message.as_of,
        factors=factors,
        next_band=None if higher is None else higher.name,
        missing_points=0.0 if higher is None else max(round(higher.from_ - score.value, BAND_DECIMALS), 0.0),
        lifts=[] if higher is None or due > band else find_lifts(plan, selected, trials),
        policy=message.policy,
        words=[
            factor_text(factor, by_name.get(factor.measure), raw.get(factor.measure), message.inputs)
            for factor in factors
        ],
        segment=message.segment if selected.score.segments else None,
        exceptions=score.exceptions or [],
        override=message.override,
        new_until=message.new_until,
        due_band=None if due == band else bands[due].name,
        notes=_notes(score, selected, trials, bands, due),
    )


def _band_index(score: ScoreValue, bands: Sequence[Band]) -> int:
    """The account's band; of a message of another policy, the band of the score."""
    names = [band.name for band in bands]
    if score.band in names:
        return names.index(score.band)
    # Rounded as the band itself is: 69.99999999999999 is not below 70.
    value = round(score.value, BAND_DECIMALS)
    return max(sum(band.from_ <= value for band in bands) - 1, 0)


def _notes(score: ScoreValue, selected: SelectedScore, trials: Trials, bands: Sequence[Band], due: int) -> list[str]:
    """Why the band is not the one in which the score lies, a sentence for each reason."""
    band, value = trials.band, round(score.value, BAND_DECIMALS)
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

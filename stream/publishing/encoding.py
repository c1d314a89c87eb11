"""Encode score messages and score changes as JSON, many at once, column by column.

Owns the form of `health.scores` and `health.score-changes`. A template is made from the message types of
`schemas.outputs` with `GAP` where a value varies, so the types alone decide names and order; filling it costs a fifth
of building and encoding one object a message. Called by `stream.publishing.publisher`, which decides what is published.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, get_args

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from schemas.outputs import Cause, Factor, FactorChange, ScoreChange, ScoreMessage, ScoreValue
from stream.accounts.accounts import NO_BAND, Accounts
from stream.accounts.overrides import override_of
from stream.columns.columns import Rows
from stream.plan.models import ScorePlan
from stream.plan.plan import Plan
from stream.publishing.decimals import (
    from_units,
    make_sums_exact,
    rounded,
    rounded_number,
    units_of,
    without_rounding_errors,
)
from stream.publishing.scored_batch import ScoredBatch
from stream.publishing.shown import shown_text
from stream.publishing.states import StateFields
from stream.scoring.history import Incomplete
from stream.scoring.peers import raw_names
from stream.scoring.scoring import ScoreOf

REMAINDER = "previous policy"
"""Factor of a change: what measures that the policy no longer has contributed to the score published before."""
_REMAINDER_FROM = 1e-9
GAP: Any = msgspec.Raw(b"\0")
"""Stands for a value in a template. JSON escapes this character, so no text of a message holds it."""

CAUSES: tuple[Cause, ...] = get_args(Cause)

_encode = msgspec.json.Encoder().encode
_CAUSES = [_encode(cause) for cause in CAUSES]


class Template:
    """A message with gaps."""

    def __init__(self, message: msgspec.Struct) -> None:
        """`message` has `GAP` wherever a value is to be filled in."""
        self._fill = _encode(message).replace(b"%", b"%%").replace(GAP, b"%b").__mod__

    def fill(self, columns: Iterable[Iterable[bytes]]) -> list[bytes]:
        """One message a row of `columns`: the JSON of every gap, in the order of the gaps."""
        return list(map(self._fill, zip(*columns, strict=True)))


def numbers(column: NDArray[Any]) -> list[bytes]:
    """JSON of every number of a column, of at least one; NaN is null."""
    return _encode(column.tolist())[1:-1].split(b",")


def table_of_numbers(table: NDArray[np.float64]) -> list[list[bytes]]:
    """JSON of every number of a table (columns, k), a list a column."""
    count, texts = table.shape[1], numbers(table.ravel())
    return [texts[start : start + count] for start in range(0, len(texts), count)]


class Writer:
    """Fills the templates of one policy for one partition's accounts."""

    def __init__(self, plan: Plan, accounts: Accounts) -> None:
        """Make the templates."""
        self._accounts = accounts
        self._plan = plan
        self._states = StateFields(plan, accounts)
        self._segments = [_encode(segment.name) for segment in plan.policy.segments] + [b"null"]
        label = plan.label
        self._score: dict[tuple[bool, tuple[str, ...], Incomplete], Template] = {}
        self._bands = [
            [*(_encode(band.name) for band in score_plan.score.bands), b"null"] for score_plan in plan.scores
        ]
        """JSON of each score's band names; index -1 (no band) is null."""
        self._changes = [_ChangeTemplates(score_plan, label) for score_plan in plan.scores]
        self._limits = [
            [[_encode(limit.name) for limit in model.limits] for model in score_plan.models]
            for score_plan in plan.scores
        ]

    def scores(self, scored_batch: ScoredBatch) -> list[bytes]:
        """Messages of `health.scores`, one a row."""
        return [value for _, chunk in scored_batch.chunks() for value in self._scores(chunk)]

    def _scores(self, scored_batch: ScoredBatch) -> list[bytes]:
        rows, scored = scored_batch.rows, scored_batch.scored
        columns = [
            self._names(rows),
            numbers(scored_batch.moments),
            numbers(scored_batch.revisions),
            self._segment_names(scored_batch),
        ]
        for number, score_plan in enumerate(self._plan.scores):
            columns += self._score_columns(number, score_plan, scored_batch)
        if self._plan.peers:
            columns += table_of_numbers(scored.values[:, -len(self._plan.peers) :].T)  # not rounded: they are compared
        if self._plan.inputs:
            columns += table_of_numbers(rounded(scored.values[:, [index for _, index in self._plan.inputs]]).T)
        values = self._template(scored_batch).fill(columns)
        if self._accounts.overrides or self._accounts.children:
            for position, row in enumerate(rows.tolist()):
                values[position] = self._with_rare_fields(values[position], row, scored_batch.as_of_ms)
        self._states.add_to(values, scored_batch)
        return values

    def _score_columns(self, number: int, score_plan: ScorePlan, scored_batch: ScoredBatch) -> list[list[bytes]]:
        """JSON of everything that varies in score `number`, in the order of `_score_value`, a list a field."""
        rows, scored = scored_batch.rows, scored_batch.scored
        result, measures = scored.scores[number], score_plan.measure_indexes
        count, terms = len(measures), result.contributions
        if score_plan.extras:
            terms = terms.copy()
            terms[:, count:] = without_rounding_errors(terms[:, count:])
        # One table, to be rounded and encoded at once: measure values, points, weights, terms, the score, all weight.
        first, second, third = count, 2 * count, 3 * count
        table = np.empty((third + terms.shape[1] + 2, len(rows)))
        table[:first] = scored.values[:, measures].T
        table[first:second] = np.nan if score_plan.additive else scored.points[:, measures].T
        table[second:third], table[third:-2] = result.weights.T, terms.T
        table[-2], table[-1] = result.values, np.add.reduce(result.weights, axis=1)
        units = units_of(table)
        exact = from_units(units, table)
        make_sums_exact(exact[second:third], units[-1], units[second:third], table[second:third])
        make_sums_exact(exact[third:-2], units[-2], units[third:-2], table[third:-2])
        *texts, value = table_of_numbers(exact[:-1])
        factors = zip(texts[:first], texts[first:second], texts[second:third], texts[third:], strict=False)
        columns = [value, list(map(self._bands[number].__getitem__, result.bands.tolist()))]
        columns += [*chain.from_iterable(factors), *texts[third + count :]]
        if result.limited is not None:
            columns.append(self._exceptions(number, scored_batch, result))
        if scored_batch.idle:
            columns.append(numbers(rounded(self._confidence(score_plan, scored_batch))))
        if score_plan.score.forecast_days:
            columns.append(self._forecasts(number, rows, result.bands == NO_BAND))
        shown = score_plan.score.shown
        if shown is not None:
            columns.append([_encode(shown_text(value, shown)) for value in result.values.tolist()])
        return columns

    def _template(self, scored_batch: ScoredBatch) -> Template:
        """The form of score messages now."""
        key = scored_batch.catching_up, scored_batch.idle, scored_batch.incomplete
        if key not in self._score:
            idle, since = bool(scored_batch.idle), dict(scored_batch.incomplete)
            scores = {plan.score.name: _score_value(plan, since, idle=idle) for plan in self._plan.scores}
            message = ScoreMessage(GAP, GAP, GAP, self._plan.label, GAP, scores, scored_batch.catching_up)
            message.stalled_sources = list(scored_batch.idle) or None
            message.raw = dict.fromkeys(raw_names(self._plan), GAP) or None
            message.inputs = {name: GAP for name, _ in self._plan.inputs} or None
            self._score[key] = Template(message)
        return self._score[key]

    def _confidence(self, score_plan: ScorePlan, scored_batch: ScoredBatch) -> NDArray[np.float64]:
        """Share of the nominal weight of a score that does not rest on idle sources, (k,)."""
        plans = [self._plan.measures[index] for index in score_plan.measure_indexes.tolist()]
        sources = [{leaf.measure.source for leaf in plan.leaves} for plan in plans]
        idle = np.array([not each.isdisjoint(scored_batch.idle) for each in sources], dtype=bool)
        shares = np.array([model.confidence(~idle) for model in score_plan.models])
        segments = scored_batch.scored.segments
        return shares[np.zeros(len(scored_batch.rows), dtype=np.intp) if segments is None else segments + 1]

    def _forecasts(self, number: int, rows: Rows, missing: NDArray[np.bool_]) -> list[bytes]:
        """JSON of field `outlook` of each row; null before the first forecast, and for a `missing` (k,) score."""
        accounts, bands, start_ms = self._accounts, self._bands[number], self._plan.calendar.start_ms
        days, next_bands = accounts.next_band_day[rows, number].tolist(), accounts.next_band[rows, number].tolist()
        reach = self._plan.scores[number].score.forecast_days or 0
        outlooks = []
        forecast_days = np.where(missing, 0, accounts.forecast_day[rows, number])
        for position, forecast_day in enumerate(forecast_days.tolist()):
            day, band, turn = days[position], next_bands[position], b"null"
            if day and band != NO_BAND:
                score = _encode(rounded_number(float(accounts.next_band_score[rows[position], number])))
                turn = b'{"at":%d,"band":%b,"score":%b}' % (start_ms(day, "day"), bands[band], score)
            until = start_ms(day if day and band == NO_BAND else forecast_day + reach, "day")
            outlooks.append(b"null" if not forecast_day else b'{"until":%d,"turn":%b}' % (until, turn))
        return outlooks

    def _with_rare_fields(self, value: bytes, row: int, as_of_ms: int) -> bytes:
        """A score message with the fields that few accounts have: an override, a parent and its ARR."""
        override = override_of(self._accounts.overrides.get(row), as_of_ms)
        if override is not None:
            value = b'%b,"override":%b}' % (value[:-1], _encode(override))
        if row in self._accounts.children:
            profile = self._accounts.profiles[row]
            value = b'%b,"parent_id":%b}' % (value[:-1], _encode(profile.parent_id))
            if profile.arr is not None:
                value = b'%b,"arr":%b}' % (value[:-1], _encode(profile.arr))
        return value

    def overrides(self, scored_batch: ScoredBatch, generation: bytes) -> list[bytes]:
        """Messages of `health.score-changes` about the beginning or end of an override; the score stays.

        `generation` makes their ids different from those of other generations of the partition.
        """
        accounts, score_plan, values = self._accounts, self._plan.scores[0], []
        for position, row in enumerate(scored_batch.rows.tolist()):
            override = override_of(accounts.overrides.get(row), scored_batch.as_of_ms)
            score = float(accounts.last_published_score[row, 0])
            band = score_plan.score.bands[accounts.last_published_band[row, 0]].name
            change = ScoreChange(
                "",
                accounts.index.names[row],
                int(scored_batch.moments[position]),
                score_plan.score.name,
                score,
                score,
                band,
                band,
                "override",
                [],
                self._plan.label,
                int(scored_batch.revisions[position]),
                scored_batch.catching_up,
                override,
            )
            identity = xxhash.xxh3_128_hexdigest(_encode(change) + generation)
            change.id, change.from_, change.to = identity, rounded_number(score), rounded_number(score)
            values.append(_encode(change))
        return values

    def changes(
        self, scored_batch: ScoredBatch, number: int, identities: Sequence[str], causes: NDArray[np.int8]
    ) -> list[bytes]:
        """Messages of `health.score-changes` of score `number`, one a row: from what `Accounts` has as last published.

        `identities` are hexadecimal, `causes` (k,) index into `CAUSES`.
        """
        values: list[bytes] = []
        for chunk, batch in scored_batch.chunks():
            values += self._some_changes(batch, number, identities[chunk], causes[chunk])
        return values

    def _some_changes(
        self, scored_batch: ScoredBatch, number: int, identities: Sequence[str], causes: NDArray[np.int8]
    ) -> list[bytes]:
        accounts, bands, rows = self._accounts, self._bands[number], scored_batch.rows
        result = scored_batch.scored.scores[number]
        before, after = accounts.last_published_parts[:, accounts.parts_of[number]][rows], result.parts
        from_, count = accounts.last_published_score[:, number][rows], after.shape[1]
        # One table for all, to be rounded and encoded at once: the parts before, after and their difference, the score.
        # Before and after are rounded one by one, so that a change begins with the numbers that the last ended with.
        table = np.empty((3 * count + 2, len(rows)))
        parts = table[: 3 * count].reshape(3, count, -1)
        parts[0], parts[1], parts[2] = before.T, after.T, (after - before).T
        parts[...] = without_rounding_errors(parts)
        table[-2], table[-1] = from_, result.values
        units = units_of(table)
        exact = from_units(units, table)
        shown_from, shown_to, deltas = exact[-2], exact[-1], exact[2 * count : -2]
        make_sums_exact(deltas, units_of(shown_to - shown_from), units[2 * count : -2], parts[2])
        texts = table_of_numbers(exact)
        factors = zip(texts[:count], texts[count : 2 * count], texts[2 * count : 3 * count], strict=True)
        columns = [
            _encode(identities)[1:-1].split(b","),
            self._names(rows),
            numbers(scored_batch.moments),
            *texts[-2:],
            list(map(bands.__getitem__, accounts.last_published_band[:, number][rows].tolist())),
            list(map(bands.__getitem__, result.bands.tolist())),
            list(map(_CAUSES.__getitem__, causes.tolist())),
            *chain.from_iterable(factors),
            numbers(scored_batch.revisions),
        ]
        templates = self._changes[number]
        values = templates.plain[scored_batch.catching_up].fill(columns)
        # Not only where a policy is new: what was published last keeps its removed measures until the next change.
        remainders = from_ - np.add.reduce(before, axis=1)
        selected = (np.abs(remainders) > _REMAINDER_FROM).nonzero()[0]
        if selected.size:
            selected_columns = [[column[position] for position in selected.tolist()] for column in columns]
            # A score that loses its value is published as it was, with what it was made of.
            left = (result.values - after.sum(axis=1))[selected]
            left = np.where(np.abs(left) > _REMAINDER_FROM, left, 0.0)
            rest = rounded((shown_to - shown_from - deltas.sum(axis=0))[selected])
            selected_columns[-1:-1] = table_of_numbers(np.stack((rounded(remainders[selected]), rounded(left), rest)))
            with_remainder = templates.remainder[scored_batch.catching_up].fill(selected_columns)
            for position, whole in zip(selected.tolist(), with_remainder, strict=True):
                values[position] = whole
        return values

    def _segment_names(self, scored_batch: ScoredBatch) -> list[bytes]:
        """The policy's segment of each row, or the profile's where the policy has none."""
        if scored_batch.scored.segments is not None:
            return list(map(self._segments.__getitem__, scored_batch.scored.segments.tolist()))
        profiles = self._accounts.profiles
        if not profiles:
            return [b"null"] * len(scored_batch.rows)
        known = map(profiles.get, scored_batch.rows.tolist())
        return [_encode(profile.segment if profile else None) for profile in known]

    def _exceptions(self, number: int, scored_batch: ScoredBatch, result: ScoreOf) -> list[bytes]:
        """JSON list of the measures whose exceptions hold, each once."""
        assert result.limited is not None
        segments = scored_batch.scored.segments
        models = [0] * len(scored_batch.rows) if segments is None else (segments + 1).tolist()
        texts = [b"[]"] * len(scored_batch.rows)
        for row in np.flatnonzero(result.limited.any(axis=1)).tolist():
            names = self._limits[number][models[row]]
            limiting = [name for name, holds in zip(names, result.limited[row].tolist(), strict=False) if holds]
            texts[row] = b"[" + b",".join(dict.fromkeys(limiting)) + b"]"
        return texts

    def _names(self, rows: Rows) -> list[bytes]:
        return list(map(_encode, map(self._accounts.index.names.__getitem__, rows.tolist())))


class _ChangeTemplates:
    """The change messages of one score, by whether it is catching up: plain, and with `REMAINDER` as a factor."""

    def __init__(self, score_plan: ScorePlan, label: str) -> None:
        shifts = [FactorChange(name, GAP, GAP, GAP) for name in score_plan.parts]
        remainder = FactorChange(REMAINDER, GAP, GAP, GAP)

        def change(factors: list[FactorChange], *, catching_up: bool) -> Template:
            gaps = (GAP, GAP, GAP, GAP, GAP)
            return Template(ScoreChange(GAP, GAP, GAP, score_plan.score.name, *gaps, factors, label, GAP, catching_up))

        self.plain = [change(shifts, catching_up=catching_up) for catching_up in (False, True)]
        self.remainder = [change([*shifts, remainder], catching_up=catching_up) for catching_up in (False, True)]


def _score_value(score_plan: ScorePlan, since: Mapping[str, int], *, idle: bool) -> ScoreValue:
    """The form of one score in a score message; `since` has the measures whose windows are not full."""
    factors = [Factor(name, GAP, GAP, GAP, GAP, since.get(name)) for name in score_plan.measures]
    factors += [Factor(name, None, None, 0.0, GAP) for name in score_plan.extras]
    limits = any(model.limits for model in score_plan.models)
    outlook = GAP if score_plan.score.forecast_days else None
    shown = None if score_plan.score.shown is None else GAP
    return ScoreValue(GAP, GAP, factors, GAP if limits else None, GAP if idle else None, outlook, shown)

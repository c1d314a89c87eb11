"""Score and change messages as JSON, many at once, column by column.

Owns the form of `health.scores` and `health.score-changes`. A template is made from the message types of
`schemas.outputs` with `GAP` where a value varies, so the types alone decide names and order; filling it costs a fifth
of building and encoding an object a message. Called by `stream.publishing.publisher`, which decides what is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, get_args

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from schemas.outputs import Cause, Factor, FactorChange, ScoreChange, ScoreMessage, ScoreValue
from stream.accounts.accounts import Accounts
from stream.accounts.overrides import override_of
from stream.columns.columns import Rows
from stream.columns.panes import UNIT_MS
from stream.plan.models import ScorePlan
from stream.plan.plan import Plan
from stream.scoring.peers import raw_names
from stream.scoring.scoring import Scored, ScoreOf

REMAINDER = "previous policy"
"""Factor that holds the part of an old baseline whose measures the policy no longer has."""
_REMAINDER_FROM = 1e-9
GAP: Any = msgspec.Raw(b"\0")
"""Stands for a value in a template. JSON escapes this character, so no text of a message holds it."""

CAUSES: tuple[Cause, ...] = get_args(Cause)

_encode = msgspec.json.Encoder().encode
_CAUSES = [_encode(cause) for cause in CAUSES]


class ScoredBatch(NamedTuple):
    """What is said of k accounts as of a moment: scores, since when (ms) and as which revision they hold, (k,) each."""

    as_of_ms: int
    rows: Rows
    scored: Scored
    moments: NDArray[np.int64]
    revisions: NDArray[np.int64]
    catching_up: bool
    idle: tuple[str, ...] = ()
    """Sources that have stalled."""

    def pick(self, selected: NDArray[np.intp] | NDArray[np.bool_]) -> ScoredBatch:
        """Only some of the accounts."""
        return self._replace(
            rows=self.rows[selected],
            scored=self.scored.pick(selected),
            moments=self.moments[selected],
            revisions=self.revisions[selected],
        )


class Template:
    """A message with gaps."""

    def __init__(self, message: msgspec.Struct) -> None:
        """`message` has `GAP` wherever a value is to be filled in."""
        self._fill = _encode(message).replace(b"%", b"%%").replace(GAP, b"%b").__mod__

    def fill(self, columns: Iterable[Iterable[bytes]]) -> list[bytes]:
        """One message a row of `columns`: the JSON of every gap, in the order of the gaps."""
        return list(map(self._fill, zip(*columns, strict=True)))


def numbers(*columns: NDArray[Any]) -> list[list[bytes]]:
    """JSON of every number of columns of equal length, at least one, and equal kind; NaN is null."""
    count = len(columns[0])
    texts = _encode(np.concatenate(columns).tolist())[1:-1].split(b",")
    return [texts[start : start + count] for start in range(0, len(texts), count)]


class Writer:
    """Fills the templates of one policy for one partition's accounts."""

    def __init__(self, plan: Plan, accounts: Accounts) -> None:
        """Make the templates."""
        self._accounts = accounts
        self._plan = plan
        self._segments = [_encode(segment.name) for segment in plan.policy.segments] + [b"null"]
        label = plan.label
        self._score: dict[tuple[bool, tuple[str, ...]], Template] = {}
        self._bands = [_encoded(*(band.name for band in part.score.bands), None) for part in plan.scores]
        self._changes = [_ChangeTemplates(part, label) for part in plan.scores]
        self._limits = [
            [[_encode(limit.name) for limit in model.limits] for model in part.models] for part in plan.scores
        ]

    def scores(self, scored_batch: ScoredBatch) -> list[bytes]:
        """Messages of `health.scores`."""
        if not len(scored_batch.rows):
            return []
        rows, scored = scored_batch.rows, scored_batch.scored
        columns = [
            self._names(rows),
            *numbers(scored_batch.moments, scored_batch.revisions),
            self._segment_names(scored_batch),
        ]
        for at, (part, one) in enumerate(zip(self._plan.scores, scored.scores, strict=True)):
            places = part.measure_indexes
            measures = len(places)
            points = np.full((len(rows), measures), np.nan) if part.additive else scored.points[:, places]
            gains = one.contributions[:, :measures]
            factors = np.stack((scored.values[:, places], points, one.weights, gains), axis=2)
            value, *texts = numbers(one.values, *factors.reshape(len(rows), -1).T, *one.contributions[:, measures:].T)
            columns += [value, list(map(self._bands[at].__getitem__, one.bands.tolist())), *texts]
            if one.limited is not None:
                columns.append(self._exceptions(at, scored_batch, one))
            if scored_batch.idle:
                columns += numbers(self._confidence(part, scored_batch))
            if part.score.forecast_days:
                columns.append(self._outlooks(at, rows))
        if self._plan.peers:
            columns += numbers(*scored.values[:, len(self._plan.measures) :].T)
        values = self._template(scored_batch).fill(columns)
        if self._accounts.overrides or self._accounts.children:
            for place, row in enumerate(rows.tolist()):
                values[place] = self._with_others(values[place], row, scored_batch.as_of_ms)
        return values

    def _template(self, scored_batch: ScoredBatch) -> Template:
        """The form of score messages now."""
        key = scored_batch.catching_up, scored_batch.idle
        if key not in self._score:
            found = {part.score.name: _score_value(part, idle=bool(scored_batch.idle)) for part in self._plan.scores}
            message = ScoreMessage(GAP, GAP, GAP, self._plan.label, GAP, found, scored_batch.catching_up)
            message.stalled_sources = list(scored_batch.idle) or None
            message.raw = dict.fromkeys(raw_names(self._plan), GAP) or None
            self._score[key] = Template(message)
        return self._score[key]

    def _confidence(self, part: ScorePlan, scored_batch: ScoredBatch) -> NDArray[np.float64]:
        """Share of the nominal weight of a score that does not rest on sources that have stalled, (k,)."""
        measures = [self._plan.measures[place].measure for place in part.measure_indexes.tolist()]
        idle = np.array([measure.source in scored_batch.idle for measure in measures], dtype=bool)
        shares = np.array([model.confidence(~idle) for model in part.models])
        segments = scored_batch.scored.segments
        return shares[np.zeros(len(scored_batch.rows), dtype=np.intp) if segments is None else segments + 1]

    def _outlooks(self, at: int, rows: Rows) -> list[bytes]:
        """JSON of the outlook of each row, null before it was looked for first."""
        accounts, bands, day_ms = self._accounts, self._bands[at], UNIT_MS["day"]
        days, turns = accounts.next_band_day[rows, at].tolist(), accounts.next_band[rows, at].tolist()
        reach = self._plan.scores[at].score.forecast_days or 0
        found = []
        for place, forecast_day in enumerate(accounts.forecast_day[rows, at].tolist()):
            turn = b"null"
            if days[place]:
                score = _encode(float(accounts.next_band_score[rows[place], at]))
                turn = b'{"at":%d,"band":%b,"score":%b}' % (days[place] * day_ms, bands[turns[place]], score)
            until = (forecast_day + reach) * day_ms
            found.append(b"null" if not forecast_day else b'{"until":%d,"turn":%b}' % (until, turn))
        return found

    def _with_others(self, value: bytes, row: int, as_of_ms: int) -> bytes:
        """A score message with what few accounts have: an override, a parent."""
        override = override_of(self._accounts.overrides.get(row), as_of_ms)
        if override is not None:
            value = b'%b,"override":%b}' % (value[:-1], _encode(override))
        if row in self._accounts.children:
            profile = self._accounts.profiles[row]
            value = b'%b,"parent_id":%b}' % (value[:-1], _encode(profile.parent_id))
            if profile.arr is not None:
                value = b'%b,"arr":%b}' % (value[:-1], _encode(profile.arr))
        return value

    def overrides(self, scored_batch: ScoredBatch, life: bytes) -> list[bytes]:
        """Messages of `health.score-changes` that tell the beginning or end of an override; the score stays.

        `life` makes their ids others than those of other lives of the partition.
        """
        accounts, part, found = self._accounts, self._plan.scores[0], []
        for place, row in enumerate(scored_batch.rows.tolist()):
            override = override_of(accounts.overrides.get(row), scored_batch.as_of_ms)
            score = float(accounts.last_published_score[row, 0])
            band = part.score.bands[accounts.last_published_band[row, 0]].name
            change = ScoreChange(
                "",
                accounts.index.names[row],
                int(scored_batch.moments[place]),
                part.score.name,
                score,
                score,
                band,
                band,
                "override",
                [],
                self._plan.label,
                int(scored_batch.revisions[place]),
                scored_batch.catching_up,
                override,
            )
            identity = xxhash.xxh3_128_hexdigest(_encode(change) + life)
            found.append(_encode(msgspec.structs.replace(change, id=identity)))
        return found

    def changes(
        self, scored_batch: ScoredBatch, at: int, identities: Sequence[str], causes: NDArray[np.int8]
    ) -> list[bytes]:
        """Messages of `health.score-changes` of score `at`: from what was said last, which `Accounts` still holds.

        `identities` are hexadecimal, `causes` (k,) index into `CAUSES`.
        """
        if not len(scored_batch.rows):
            return []
        rows, one, accounts, bands = scored_batch.rows, scored_batch.scored.scores[at], self._accounts, self._bands[at]
        before, after = accounts.last_published_parts[rows, accounts.parts_of[at]], one.parts
        from_ = accounts.last_published_score[rows, at]
        parts = np.stack((before, after, after - before), axis=2)
        moments, revisions = numbers(scored_batch.moments, scored_batch.revisions)
        left, value, *factors = numbers(from_, one.values, *parts.reshape(len(rows), -1).T)
        columns = [
            _encode(identities)[1:-1].split(b","),
            self._names(rows),
            moments,
            left,
            value,
            list(map(bands.__getitem__, accounts.last_published_band[rows, at].tolist())),
            list(map(bands.__getitem__, one.bands.tolist())),
            list(map(_CAUSES.__getitem__, causes.tolist())),
            *factors,
            revisions,
        ]
        templates = self._changes[at]
        values = templates.plain[scored_batch.catching_up].fill(columns)
        # Not only where a policy is new: a baseline keeps its gone measures until the account's next change.
        remainders = from_ - before.sum(axis=1)
        selected = np.flatnonzero(np.abs(remainders) > _REMAINDER_FROM)
        if selected.size:
            some = [[column[place] for place in selected.tolist()] for column in columns]
            some[-1:-1] = numbers(remainders[selected], -remainders[selected])
            for place, whole in zip(
                selected.tolist(), templates.remainder[scored_batch.catching_up].fill(some), strict=True
            ):
                values[place] = whole
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

    def _exceptions(self, at: int, scored_batch: ScoredBatch, one: ScoreOf) -> list[bytes]:
        """JSON list of the measures whose exceptions hold, each once."""
        assert one.limited is not None
        segments = scored_batch.scored.segments
        models = [0] * len(scored_batch.rows) if segments is None else (segments + 1).tolist()
        texts = [b"[]"] * len(scored_batch.rows)
        for row in np.flatnonzero(one.limited.any(axis=1)).tolist():
            names = self._limits[at][models[row]]
            held = [name for name, holds in zip(names, one.limited[row].tolist(), strict=False) if holds]
            texts[row] = b"[" + b",".join(dict.fromkeys(held)) + b"]"
        return texts

    def _names(self, rows: Rows) -> list[bytes]:
        return list(map(_encode, map(self._accounts.index.names.__getitem__, rows.tolist())))


class _ChangeTemplates:
    """The change messages of one score, by whether it is catching up: as usual, and with a residue."""

    def __init__(self, part: ScorePlan, label: str) -> None:
        shifts = [FactorChange(name, GAP, GAP, GAP) for name in part.parts]
        remainder = FactorChange(REMAINDER, GAP, 0.0, GAP)

        def change(factors: list[FactorChange], *, catching_up: bool) -> Template:
            fixed = (part.score.name, GAP, GAP, GAP, GAP, GAP)
            return Template(ScoreChange(GAP, GAP, GAP, *fixed, factors, label, GAP, catching_up))

        self.plain = [change(shifts, catching_up=catching_up) for catching_up in (False, True)]
        self.remainder = [change([*shifts, remainder], catching_up=catching_up) for catching_up in (False, True)]


def _score_value(part: ScorePlan, *, idle: bool) -> ScoreValue:
    factors = [Factor(name, GAP, GAP, GAP, GAP) for name in part.measures]
    factors += [Factor(name, None, None, 0.0, GAP) for name in part.extras]
    limits = any(model.limits for model in part.models)
    outlook = GAP if part.score.forecast_days else None
    return ScoreValue(GAP, GAP, factors, GAP if limits else None, GAP if idle else None, outlook)


def _encoded(*values: str | None) -> list[bytes]:
    return list(map(_encode, values))

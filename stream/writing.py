"""Score and change messages as JSON, many at once, column by column.

Owns the form of `health.scores` and `health.score-changes`. A template is made from the message types of
`schemas.outputs` with `GAP` where a value varies, so the types alone decide names and order; filling it costs a fifth
of building and encoding an object a message. Called by `stream.publishing`, which decides what is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.outputs import Cause, Factor, FactorChange, ScoreChange, ScoreMessage, ScoreValue
from stream.accounts import Accounts
from stream.columns import Rows
from stream.plan import Plan
from stream.scoring import Scored

RESIDUE = "previous policy"
"""Factor that holds the part of an old baseline whose measures the policy no longer has."""
_RESIDUE_FROM = 1e-9
GAP: Any = msgspec.Raw(b"\0")
"""Stands for a value in a template. JSON escapes this character, so no text of a message holds it."""

_encode = msgspec.json.Encoder().encode


class Said(NamedTuple):
    """What is said of k accounts: their scores, since when (ms) and as which revision these hold; arrays of (k,)."""

    rows: Rows
    scored: Scored
    moments: NDArray[np.int64]
    revisions: NDArray[np.int64]
    catching_up: bool

    def pick(self, chosen: NDArray[np.intp]) -> Said:
        """Only some of the accounts."""
        return Said(
            self.rows[chosen], self.scored.pick(chosen), self.moments[chosen], self.revisions[chosen], self.catching_up
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
        names = [part.measure.name for part in plan.measures]
        label, score = plan.label, plan.policy.score
        self._bands = [_encode(name) for name in (*(band.name for band in score.bands), None)]
        factors = [Factor(name, GAP, GAP, GAP, GAP) for name in names]
        shifts = [FactorChange(name, GAP, GAP, GAP) for name in names]
        residue = FactorChange(RESIDUE, GAP, 0.0, GAP)

        def scores(*, catching_up: bool) -> Template:
            value = {score.name: ScoreValue(GAP, GAP, factors)}
            return Template(ScoreMessage(GAP, GAP, GAP, label, GAP, value, catching_up))

        def change(factors: list[FactorChange], *, catching_up: bool) -> Template:
            fixed = (score.name, GAP, GAP, GAP, GAP, GAP)
            return Template(ScoreChange(GAP, GAP, GAP, *fixed, factors, label, GAP, catching_up))

        self._score = [scores(catching_up=catching_up) for catching_up in (False, True)]
        self._change = [change(shifts, catching_up=catching_up) for catching_up in (False, True)]
        self._change_residue = [change([*shifts, residue], catching_up=catching_up) for catching_up in (False, True)]

    def scores(self, said: Said) -> list[bytes]:
        """Messages of `health.scores`."""
        if not len(said.rows):
            return []
        rows, scored, profiles = said.rows, said.scored, self._accounts.profiles
        segments = [b"null"] * len(rows)
        if profiles:
            known = map(profiles.get, rows.tolist())
            segments = [_encode(profile.segment if profile else None) for profile in known]
        parts = np.stack((scored.values, scored.points, scored.weights, scored.contributions), axis=2)
        value, *factors = numbers(scored.scores, *parts.reshape(len(rows), -1).T)
        bands = list(map(self._bands.__getitem__, scored.bands.tolist()))
        columns = [self._names(rows), *numbers(said.moments, said.revisions), segments, value, bands, *factors]
        return self._score[said.catching_up].fill(columns)

    def changes(self, said: Said, identities: Sequence[str], causes: Sequence[Cause]) -> list[bytes]:
        """Messages of `health.score-changes`: from what was said last, which `Accounts` still holds."""
        if not len(said.rows):
            return []
        rows, scored, accounts = said.rows, said.scored, self._accounts
        before, after = accounts.base_parts[rows], scored.contributions
        from_ = accounts.base_score[rows]
        parts = np.stack((before, after, after - before), axis=2)
        moments, revisions = numbers(said.moments, said.revisions)
        left, value, *factors = numbers(from_, scored.scores, *parts.reshape(len(rows), -1).T)
        columns = [
            [b'"%b"' % identity.encode() for identity in identities],
            self._names(rows),
            moments,
            left,
            value,
            list(map(self._bands.__getitem__, accounts.base_band[rows].tolist())),
            list(map(self._bands.__getitem__, scored.bands.tolist())),
            [b'"%b"' % cause.encode() for cause in causes],
            *factors,
            revisions,
        ]
        values = self._change[said.catching_up].fill(columns)
        # Not only where a policy is new: a baseline keeps its gone measures until the account's next change.
        residues = from_ - before.sum(axis=1)
        chosen = np.flatnonzero(np.abs(residues) > _RESIDUE_FROM)
        if chosen.size:
            some = [[column[at] for at in chosen.tolist()] for column in columns]
            some[-1:-1] = numbers(residues[chosen], -residues[chosen])
            for at, whole in zip(chosen.tolist(), self._change_residue[said.catching_up].fill(some), strict=True):
                values[at] = whole
        return values

    def _names(self, rows: Rows) -> list[bytes]:
        return list(map(_encode, map(self._accounts.index.names.__getitem__, rows.tolist())))

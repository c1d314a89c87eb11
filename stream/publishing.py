"""What to say and when: score messages, score changes, alerts, for accounts that have just been scored.

Owns the thresholds of publishing and the identity of messages. It updates the baselines in `Accounts` (what was last
said) and nothing else. Called by `stream.engine`.

A message's id is a hash of the account and of everything its content follows from: fences, events applied, border,
baseline, new score. So an id never names two contents, also when a replay groups changes otherwise.
"""

from __future__ import annotations

from itertools import starmap

import numpy as np
import xxhash
from numpy.typing import NDArray

from schemas.codecs import encode
from schemas.outputs import Cause, Factor, FactorChange, ScoreChange, ScoreMessage, ScoreValue
from stream.accounts import FENCES, NO_BAND, Accounts
from stream.alerts import Moment, band_alert, wanted_alerts
from stream.columns import Rows
from stream.effects import Effects, Message
from stream.panes import UNIT_MS
from stream.plan import Plan
from stream.scoring import Scored

RESIDUE = "previous policy"
"""Factor that holds the part of an old baseline whose measures the policy no longer has."""
_RESIDUE_FROM = 1e-9
_SHIFT_DECIMALS = 9
_TELLING = 0.05
"""Smaller deltas would read as 0.0."""
_TOLD = 3


class Publisher:
    """Turns scored rows into messages."""

    def __init__(self, plan: Plan, accounts: Accounts) -> None:
        """Bind to one policy and one partition's accounts."""
        self._plan = plan
        self._accounts = accounts
        self._score = plan.policy.score
        self._unit_ms = UNIT_MS[plan.border_unit]
        self._measures = [part.measure.name for part in plan.measures]
        self._bands = [band.name for band in self._score.bands]
        self._label = plan.label
        self._policy_hash = xxhash.xxh3_64_intdigest(plan.label.encode())
        self._state_dtype = np.dtype(
            [
                ("policy", "<u8"),
                ("fence", "<i8", (len(FENCES),)),
                ("applied", "<i8"),
                ("border", "<i8"),
                ("score", "<f8"),
                ("parts", "<f8", (len(self._measures),)),
                ("band", "|i1"),
                ("alert", "|i1"),
                ("alert_ms", "<i8"),
                ("to", "<f8"),
                ("contributions", "<f8", (len(self._measures),)),
                ("flags", "|b1", (4,)),
            ]
        )

    def note(self, rows: Rows, scored: Scored) -> None:
        """Remember new scores; mark the rows whose `health.scores` record no longer says the truth."""
        accounts = self._accounts
        before = accounts.values[rows]
        same = (before == scored.values) | (np.isnan(before) & np.isnan(scored.values))
        changed = ~same.all(axis=1) | (accounts.band[rows] == NO_BAND)
        accounts.unsent[rows[changed]] = True
        accounts.values[rows] = scored.values
        accounts.score[rows] = scored.scores
        accounts.band[rows] = scored.bands

    def changes(
        self,
        rows: Rows,
        scored: Scored,
        as_of_ms: int,
        effects: Effects,
        *,
        swept: bool,
        catching_up: bool,
        alerts: bool,
    ) -> None:
        """Publish the changes of rows that moved enough or changed band, and their alerts unless held."""
        accounts = self._accounts
        # Rounded, so that a step from 59.1 to 60.1 is one of 1; no step at all is no change, even where 0 is enough.
        shift = np.abs(np.round(scored.scores - accounts.base_score[rows], _SHIFT_DECIMALS))
        moved = (shift >= self._score.min_change) & (shift > 0)
        moved |= scored.bands != accounts.base_band[rows]
        wanted = wanted_alerts(scored.bands, self._score.bands)
        turned = wanted != accounts.alert_band[rows] if alerts else np.zeros(len(rows), dtype=bool)
        chosen = np.flatnonzero(moved | turned)
        if not chosen.size:
            return
        some = rows[chosen]
        said = self._told(some, scored.pick(chosen), as_of_ms, swept=swept, catching_up=catching_up)
        if turned.any():
            for at in np.flatnonzero(turned[chosen]).tolist():
                self._alert(said[at], effects)
        tell = moved[chosen]
        if not tell.all():
            said = [one for one, told in zip(said, tell.tolist(), strict=True) if told]
        causes: list[Cause] = ["window"] * len(said)
        if not swept:
            causes = ["event" if timely else "late" for timely in accounts.on_time[some[tell]].tolist()]
        recast = accounts.recast[some[tell]]
        for at in np.flatnonzero(recast).tolist():
            causes[at] = "policy"
        # Not only where a policy is new: a baseline keeps its gone measures until the account's next change.
        residues = accounts.base_score[some[tell]] - accounts.base_parts[some[tell]].sum(axis=1)
        for at in np.flatnonzero(np.abs(residues) > _RESIDUE_FROM).tolist():
            residue = said[at].from_ - sum(factor.before for factor in said[at].factors)
            said[at].factors.append(FactorChange(RESIDUE, residue, 0.0, -residue))
        self._change(said, causes, effects, catching_up=catching_up)
        told_rows, told = some[tell], chosen[tell]
        accounts.base_score[told_rows] = scored.scores[told]
        accounts.base_parts[told_rows] = scored.contributions[told]
        accounts.base_band[told_rows] = scored.bands[told]
        accounts.recast[told_rows] = False
        accounts.dirty[some] = True

    def _told(self, rows: Rows, scored: Scored, as_of_ms: int, *, swept: bool, catching_up: bool) -> list[Moment]:
        """What there is to say of each row: its new score beside what was said last."""
        accounts, measures = self._accounts, self._measures
        before = accounts.base_parts[rows]
        after = scored.contributions
        told = zip(
            rows.tolist(),
            map(accounts.index.names.__getitem__, rows.tolist()),
            accounts.index.keys_of(rows),
            accounts.base_score[rows].tolist(),
            scored.scores.tolist(),
            accounts.base_band[rows].tolist(),
            scored.bands.tolist(),
            self._moments(rows, as_of_ms).tolist(),
            self._revisions(rows, as_of_ms).tolist(),
            (
                list(map(FactorChange, measures, *parts))
                for parts in zip(before.tolist(), after.tolist(), (after - before).tolist(), strict=True)
            ),
            map(xxhash.xxh3_128_hexdigest, self._states(rows, scored, as_of_ms, swept=swept, catching_up=catching_up)),
            strict=True,
        )
        return list(starmap(Moment, told))

    def scores(self, rows: Rows, scored: Scored, as_of_ms: int, effects: Effects, *, catching_up: bool) -> None:
        """Publish the latest score of every given row."""
        accounts = self._accounts
        names, label, score_name, bands = accounts.index.names, self._label, self._score.name, self._bands
        keys = accounts.index.keys_of(rows)
        nothing = np.isnan(scored.values)
        pointless = np.isnan(scored.points)
        moments = self._moments(rows, as_of_ms).tolist()
        revisions = self._revisions(rows, as_of_ms).tolist()
        for at, (row, values, points, weights, parts, value, band) in enumerate(
            zip(
                rows.tolist(),
                np.where(nothing, None, scored.values).tolist(),  # type: ignore[call-overload]
                np.where(pointless, None, scored.points).tolist(),  # type: ignore[call-overload]
                scored.weights.tolist(),
                scored.contributions.tolist(),
                scored.scores.tolist(),
                scored.bands.tolist(),
                strict=True,
            )
        ):
            profile = accounts.profiles.get(row)
            factors = list(map(Factor, self._measures, values, points, weights, parts))
            message = ScoreMessage(
                names[row],
                moments[at],
                revisions[at],
                label,
                profile.segment if profile else None,
                {score_name: ScoreValue(value, bands[band], factors)},
                catching_up,
            )
            effects.scores.append(Message(keys[at], encode(message)))
        accounts.unsent[rows] = False

    def _moments(self, rows: Rows, as_of_ms: int) -> NDArray[np.int64]:
        """Since when each row's score holds: its last event or the last border, whichever is later."""
        border = as_of_ms // self._unit_ms * self._unit_ms
        return np.maximum(self._accounts.last_ms[rows], border)

    def _revisions(self, rows: Rows, as_of_ms: int) -> NDArray[np.int64]:
        """Grows with every event applied and every border passed."""
        return self._accounts.applied[rows] + as_of_ms // self._unit_ms

    def _states(self, rows: Rows, scored: Scored, as_of_ms: int, *, swept: bool, catching_up: bool) -> list[bytes]:
        """What each row's next message follows from, as bytes: account, position, border, baseline, policy, score.

        The score is there because a crash between member pages and rows lets a replay see members early.
        """
        accounts = self._accounts
        record = np.empty(len(rows), dtype=self._state_dtype)
        record["policy"] = self._policy_hash
        record["fence"] = accounts.fence[rows]
        record["applied"] = accounts.applied[rows]
        record["border"] = as_of_ms // self._unit_ms
        record["score"] = accounts.base_score[rows]
        record["parts"] = accounts.base_parts[rows]
        record["band"] = accounts.base_band[rows]
        record["alert"] = accounts.alert_band[rows]
        record["alert_ms"] = accounts.alert_ms[rows]
        record["to"] = scored.scores
        record["contributions"] = scored.contributions
        record["flags"][:, 0] = accounts.on_time[rows] & (not swept)
        record["flags"][:, 1] = accounts.recast[rows]
        record["flags"][:, 2] = swept
        record["flags"][:, 3] = catching_up
        blob, width = record.tobytes(), self._state_dtype.itemsize
        starts = range(0, len(blob), width)
        return [
            blob[start : start + width] + key for start, key in zip(starts, accounts.index.keys_of(rows), strict=True)
        ]

    def _change(self, said: list[Moment], causes: list[Cause], effects: Effects, *, catching_up: bool) -> None:
        names, label, score_name = [*self._bands, None], self._label, self._score.name
        for now, cause in zip(said, causes, strict=True):
            message = ScoreChange(
                now.identity,
                now.account,
                now.time_ms,
                score_name,
                now.from_,
                now.score,
                names[now.band_from],
                self._bands[now.band],
                cause,
                now.factors,
                label,
                now.revision,
                catching_up,
            )
            effects.changes.append(Message(now.key, encode(message)))
        effects.causes.update(causes)

    def _alert(self, now: Moment, effects: Effects) -> None:
        accounts, bands = self._accounts, self._score.bands
        profile = accounts.profiles.get(now.row)
        name = profile.name if profile and profile.name else now.account
        band = bands[now.band]
        old, new = int(accounts.alert_band[now.row]), NO_BAND if band.alert is None else now.band
        reason = _reason(now.factors)
        # A name is no part of the row's state: the same alert under another name is another content.
        identity = now.identity if name == now.account else xxhash.xxh3_128_hexdigest((now.identity + name).encode())
        messages = []
        if old != NO_BAND:
            starts = int(accounts.alert_ms[now.row])
            messages.append(
                band_alert("r" + identity, now, name, of=bands[old], band=band, started_ms=starts, reason=reason)
            )
        if new != NO_BAND:
            messages.append(
                band_alert("f" + identity, now, name, of=bands[new], band=band, started_ms=None, reason=reason)
            )
            accounts.alert_ms[now.row] = now.time_ms
        for message in messages:
            effects.alerts.append(Message(now.key, encode(message)))
            effects.alerted[message.rule, message.status] += 1
        accounts.alert_band[now.row] = new


def _reason(factors: list[FactorChange]) -> str:
    """The few factors that moved a score most, in words: "support tickets -14.0, nps -2.5"."""
    telling = [factor for factor in factors if abs(factor.delta) >= _TELLING]
    telling.sort(key=lambda factor: -abs(factor.delta))
    return ", ".join(f"{factor.measure.replace('_', ' ')} {factor.delta:+.1f}" for factor in telling[:_TOLD])

"""What to say and when: score messages, score changes, alerts, for accounts that have just been scored.

Owns the thresholds of publishing and the identity of messages. It updates the baselines in `Accounts` (what was last
said) and nothing else; how it is said is for `stream.writing`. Called by `stream.engine`.

A message's id is a hash of the account and of everything its content follows from: fences, events applied, border,
baseline, new score. So an id never names two contents, also when a replay groups changes otherwise.
"""

from __future__ import annotations

import numpy as np
import xxhash
from numpy.typing import NDArray

from schemas.codecs import encode
from schemas.outputs import Cause
from stream.accounts import FENCES, NO_BAND, Accounts
from stream.alerts import Turn, alert_table, band_alert
from stream.columns import Rows
from stream.effects import Effects, Message
from stream.panes import UNIT_MS
from stream.plan import Plan
from stream.scoring import Scored
from stream.writing import Said, Writer

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
        self._writer = Writer(plan, accounts)
        self._alert_table = alert_table(self._score.bands)
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
        accounts.unsent[rows] |= ~same.all(axis=1) | (accounts.band[rows] == NO_BAND)
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
        turned = np.zeros(len(rows), dtype=bool)
        if alerts:
            turned = self._alert_table[scored.bands] != accounts.alert_band[rows]
        chosen = np.flatnonzero(moved | turned)
        if not chosen.size:
            return
        said = self._said(rows, scored, as_of_ms, catching_up=catching_up)
        if len(chosen) < len(rows):
            said = said.pick(chosen)
        states = self._states(said, as_of_ms, swept=swept)
        identities = list(map(xxhash.xxh3_128_hexdigest, states))
        for at in np.flatnonzero(turned[chosen]).tolist():
            self._alert(said, at, identities[at], effects)
        accounts.dirty[said.rows] = True
        told = np.flatnonzero(moved[chosen])
        if len(told) < len(chosen):
            said, identities = said.pick(told), [identities[at] for at in told.tolist()]
        self._change(said, identities, effects, swept=swept)

    def _change(self, said: Said, identities: list[str], effects: Effects, *, swept: bool) -> None:
        rows, accounts = said.rows, self._accounts
        causes: list[Cause] = ["window"] * len(rows)
        if not swept:
            causes = ["event" if timely else "late" for timely in accounts.on_time[rows].tolist()]
        for at in np.flatnonzero(accounts.recast[rows]).tolist():
            causes[at] = "policy"
        values = self._writer.changes(said, identities, causes)
        effects.changes.extend(map(Message, accounts.index.keys_of(rows), values))
        effects.causes.update(causes)
        accounts.base_score[rows] = said.scored.scores
        accounts.base_parts[rows] = said.scored.contributions
        accounts.base_band[rows] = said.scored.bands
        accounts.recast[rows] = False

    def scores(self, rows: Rows, scored: Scored, as_of_ms: int, effects: Effects, *, catching_up: bool) -> None:
        """Publish the latest score of every given row."""
        values = self._writer.scores(self._said(rows, scored, as_of_ms, catching_up=catching_up))
        effects.scores.extend(map(Message, self._accounts.index.keys_of(rows), values))
        self._accounts.unsent[rows] = False

    def _said(self, rows: Rows, scored: Scored, as_of_ms: int, *, catching_up: bool) -> Said:
        return Said(rows, scored, self._moments(rows, as_of_ms), self._revisions(rows, as_of_ms), catching_up)

    def _moments(self, rows: Rows, as_of_ms: int) -> NDArray[np.int64]:
        """Since when each row's score holds: its last event or the last border, whichever is later."""
        border = as_of_ms // self._unit_ms * self._unit_ms
        return np.maximum(self._accounts.last_ms[rows], border)

    def _revisions(self, rows: Rows, as_of_ms: int) -> NDArray[np.int64]:
        """Grows with every event applied and every border passed."""
        return self._accounts.applied[rows] + as_of_ms // self._unit_ms

    def _states(self, said: Said, as_of_ms: int, *, swept: bool) -> list[bytes]:
        """What each row's next message follows from, as bytes: account, position, border, baseline, policy, score.

        The score is there because a crash between member pages and rows lets a replay see members early.
        """
        accounts, rows, scored = self._accounts, said.rows, said.scored
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
        record["flags"][:, 3] = said.catching_up
        blob, width = record.tobytes(), self._state_dtype.itemsize
        starts = range(0, len(blob), width)
        return [
            blob[start : start + width] + key for start, key in zip(starts, accounts.index.keys_of(rows), strict=True)
        ]

    def _alert(self, said: Said, at: int, identity: str, effects: Effects) -> None:
        accounts, bands, row = self._accounts, self._score.bands, int(said.rows[at])
        account = accounts.index.names[row]
        profile = accounts.profiles.get(row)
        name = profile.name if profile and profile.name else account
        if name != account:
            # A name is no part of the row's state: the same alert under another name is another content.
            identity = xxhash.xxh3_128_hexdigest((identity + name).encode())
        band, time_ms = int(said.scored.bands[at]), int(said.moments[at])
        deltas = (said.scored.contributions[at] - accounts.base_parts[row]).tolist()
        turn = Turn(account, name, float(said.scored.scores[at]), bands[band], time_ms, self._reason(deltas))
        old, new = int(accounts.alert_band[row]), NO_BAND if bands[band].alert is None else band
        messages = []
        if old != NO_BAND:
            messages.append(band_alert("r" + identity, turn, of=bands[old], started_ms=int(accounts.alert_ms[row])))
        if new != NO_BAND:
            messages.append(band_alert("f" + identity, turn, of=bands[new], started_ms=None))
            accounts.alert_ms[row] = time_ms
        for message in messages:
            effects.alerts.append(Message(account.encode(), encode(message)))
            effects.alerted[message.rule, message.status] += 1
        accounts.alert_band[row] = new

    def _reason(self, deltas: list[float]) -> str:
        """The few factors that moved a score most, in words: "support tickets -14.0, nps -2.5"."""
        telling = [pair for pair in zip(self._measures, deltas, strict=True) if abs(pair[1]) >= _TELLING]
        telling.sort(key=lambda pair: -abs(pair[1]))
        return ", ".join(f"{measure.replace('_', ' ')} {delta:+.1f}" for measure, delta in telling[:_TOLD])

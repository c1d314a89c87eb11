"""Merge accounts: what a control of kind `merge` does to the account that it names, and what the other one takes over.

Owns the order of a merge. The engine cuts a step after each such control, so what lies before it in the log is part of
the state that is handed over, and what lies after it is forwarded (`stream.ingest.merged_accounts`). In the partition
of the merged account B:

1. B's alerts are resolved, and B is published as ended, with a pointer to the other account A. Its row stays whole.
2. When that is saved, the worker sends B's state to A's partition (`state_of`), and empties B's row. Before that,
   it applies nothing else, so the state that was saved is the state that is sent, however often.

In the partition of A, `_receive` adds the state to A's row, once for each merge. Where all accounts are in one engine
(files), both are one step. A merge that follows from an alias (`stream.ingest.aliases`) is the same, but that an alias
that was merged before is no mistake if it counts for the account already. An account whose own state comes back to it
was part of a circle of merges, which were written at the same time: its merge is undone. Decisions 59 and 60 have the
reasons. Called by `stream.engine.engine`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from schemas.codecs import INVALID_FIELD, instant_ms
from schemas.events import CONTROL_SOURCE, PROFILE_SOURCE, ControlEvent, MergedState, RowState
from stream.accounts.accounts import Accounts
from stream.accounts.merges import MergedInto
from stream.alerts.emission import AlertEmitter
from stream.columns.columns import Rows
from stream.columns.row_schema import RowSchemaError
from stream.engine.time import StreamTime
from stream.engine.united_rows import ReceivedRow, row_state_of
from stream.ingest.batch import MERGE, Candidates
from stream.ingest.merged_accounts import target_of
from stream.publishing.effects import DeadLetter, Effects, Forward


class Host(NamedTuple):
    """What a merge needs of the engine in one step."""

    reach: Callable[[int, Mapping[str, int]], None]
    """Let time pass up to a stream time and clocks of sources, as an event of that time does."""
    publish: Callable[[Rows], None]
    """Score rows and publish them."""


class Merging:
    """Merges accounts of one partition."""

    def __init__(self, accounts: Accounts, alerts: AlertEmitter, time: StreamTime, *, local: bool) -> None:
        """Nothing is to be merged. With `local` all accounts are in this engine."""
        self._accounts, self._alerts, self._time, self._local = accounts, alerts, time, local
        self._set_aside: list[tuple[int, Candidates]] = []

    # -- one step -----------------------------------------------------------------------------------------------------

    def set_aside(self, number: int, candidates: Candidates) -> Candidates:
        """Set the controls that merge accounts aside, for `carry_out`; returns the others."""
        merging = candidates.of_kind(MERGE)
        if merging is None:
            return candidates
        self._set_aside.append((number, candidates.pick(merging)))
        return candidates.pick(~merging)

    def carry_out(self, positions: Mapping[str, int], reached: Mapping[str, int], host: Host, effects: Effects) -> None:
        """Carry out the merges that were set aside, after all else of their substep.

        `positions` are the offsets by source from which records have not been settled, `reached` those before which
        all records lie before the merge.
        """
        set_aside, self._set_aside = self._set_aside, []
        for number, candidates in set_aside:
            source, position = candidates.batch.source, positions[candidates.batch.input]
            for index in range(len(candidates.rows)):
                if candidates.offsets[index] < position:
                    effects.outcomes[source, "replayed"] += 1
                elif candidates.already_applied[index]:
                    effects.outcomes[source, "already_applied"] += 1
                else:
                    outcome = self._take(_Control(number, candidates, index), reached, host, effects)
                    effects.outcomes[source, outcome] += 1

    def _take(self, request: _Control, reached: Mapping[str, int], host: Host, effects: Effects) -> str:
        """Carry out one control; returns its outcome."""
        control, row = request.event, request.row
        if control.merged is not None and request.repartitioned:
            return self._receive(request, control.merged, host, effects)
        if control.alias:
            return self._claim(request, reached, host, effects)
        why = self._refusal(row, control)
        if why is not None:
            effects.dead_letters.append(request.dead_letter(why))
            return "rejected"
        if row not in self._accounts.merges.into:
            self._merge(request, reached, host, effects)
        return "applied"

    def _claim(self, request: _Control, reached: Mapping[str, int], host: Host, effects: Effects) -> str:
        """Merge an alias into the account whose profile names it. One that is merged already must count for it."""
        accounts, merges, control = self._accounts, self._accounts.merges, request.event
        into, sender = (control.into or "").strip(), request.forwarded_by
        row = target_of(request.row, accounts) if self._local else request.row
        name, pointer = accounts.index.names[row], merges.into.get(row)
        if into == name or into in merges.origins.get(row, {}) or (pointer is not None and pointer.account == into):
            return "applied"
        if pointer is not None:
            effects.forwards.append(Forward(request.number, request.offset, pointer.account, name))
            return "forwarded"
        if sender is not None or row != request.row:
            alias = sender or accounts.index.names[request.row]
            why = f'"{alias}" is an alias of "{into}", but counts for "{name}" already'
            what = "merge one of these accounts into the other, or remove the alias - at `$.aliases`"
            letter = DeadLetter(request.number, request.offset, INVALID_FIELD, f"{PROFILE_SOURCE}: {why}: {what}")
            effects.dead_letters.append(letter)
            return "rejected"
        profile = accounts.profiles.get(row)
        if profile is not None and into in (profile.aliases or ()) and name < into:
            return "applied"  # each names the other: that account is merged into this one
        self._merge(request, reached, host, effects)
        return "applied"

    def _refusal(self, row: int, control: ControlEvent) -> str | None:
        """Why an account can not be merged; None where it can, or was already."""
        if control.into is None:
            return "the state of an account is written by workers only - at `$.merged`"
        merges, name, into = self._accounts.merges, self._accounts.index.names[row], control.into.strip()
        pointer = merges.into.get(row)
        if into == name:
            return f'"{name}" can not be merged into itself - at `$.into`'
        if pointer is not None and pointer.account != into:
            return f'"{name}" was merged into "{pointer.account}": merge that account instead - at `$.account_id`'
        if pointer is None and into in merges.origins.get(row, {}):
            return f'"{into}" was merged into "{name}" before: the two would count for each other - at `$.into`'
        return None

    # -- the account that is merged -----------------------------------------------------------------------------------

    def _merge(self, request: _Control, reached: Mapping[str, int], host: Host, effects: Effects) -> None:
        accounts, row, control = self._accounts, request.row, request.event
        into, time_ms = (control.into or "").strip(), instant_ms(control.time)
        name = f"{control.id}/{time_ms}/{request.offset}" if control.alias else f"{control.id}/{time_ms}"
        self._alerts.end_all(row, self._time.as_of_ms or 0, effects, why=f"the account was merged into {into}")
        accounts.alerts.clear(row)
        accounts.alert_reasons.pop(row, None)
        accounts.acknowledgements.pop(row, None)
        accounts.merges.point(row, MergedInto(into, name, time_ms))
        accounts.profile_version[row] += 1
        offsets = np.array([reached[name] for name in accounts.sources.of_rows], dtype=np.int64) - 1
        accounts.applied_offsets[row] = np.maximum(accounts.applied_offsets[row], offsets)
        self._mark(row)
        host.publish(np.array([row]))
        if self._local:
            self._hand_over_here(row, host)

    def _hand_over_here(self, row: int, host: Host) -> None:
        """Add the state of a merged account to the account that records of it count for, in the same engine."""
        accounts, merges, name = self._accounts, self._accounts.merges, self._accounts.index.names[row]
        origins, target = [name, *merges.origins.get(row, {})], row
        while (pointer := merges.into.get(target)) is not None:
            target = accounts.index[pointer.account]
            accounts.reserve()
            merges.add_origins(target, origins)
        state = self.state_of(row)
        self.empty(row)
        self._add(target, name, ReceivedRow.read(state), host)

    def pending(self) -> list[int]:
        """The rows of merged accounts whose state was not sent."""
        return sorted(self._accounts.merges.unsent)

    def state_of(self, row: int) -> RowState:
        """The state of a row, as it is sent."""
        return row_state_of(self._accounts, row, self._time.as_of_ms or 0, self._time.source_clocks)

    def empty(self, row: int) -> None:
        """Forget what was sent of a merged account: what was published of it stays, and the pointer."""
        accounts = self._accounts
        accounts.merges.sent(row)
        accounts.clear(row)
        accounts.dirty[row] = accounts.score_pending[row] = accounts.changed[row] = True

    # -- the account that it is merged into ---------------------------------------------------------------------------

    def _receive(self, request: _Control, merged: MergedState, host: Host, effects: Effects) -> str:
        """Add the state of a merged account to a row, or forward it where this one was merged, too."""
        accounts, row = self._accounts, request.row
        merges, name = accounts.merges, accounts.index.names[row]
        known = merges.origin(row, merged.account_id).merges
        if merged.merge in known:
            return "duplicate"
        try:
            received = ReceivedRow.of(merged, accounts.plan.label)
        except RowSchemaError as error:
            why = f'the state of "{merged.account_id}" cannot be read: {error} - at `$.merged`'
            effects.dead_letters.append(request.dead_letter(why))
            return "rejected"
        pointer, is_home = merges.into.get(row), merged.account_id == name
        accounts.dirty[row] = True
        if pointer is not None and not is_home:
            known += [merged.merge] if merged.last else []
            effects.forwards.append(Forward(request.number, request.offset, pointer.account, name))
            return "forwarded"
        if pointer is not None:
            why = f'"{name}" was merged into "{pointer.account}", and that one into "{name}": the first is undone'
            effects.dead_letters.append(request.dead_letter(why))
            merges.undo(row)
        if merged.last:
            self._add(row, merged.account_id, received, host)
            known.append(merged.merge)
        else:
            host.reach(received.as_of_ms, received.clocks)
            received.add_pages(row, accounts.columns)
            self._mark(row)
        accounts.applied_offsets[row, accounts.sources.index[request.candidates.batch.input]] = request.offset
        return "applied"

    def _add(self, row: int, account: str, received: ReceivedRow, host: Host) -> None:
        """Add a state to a row, and score it anew."""
        accounts = self._accounts
        host.reach(received.as_of_ms, received.clocks)
        origins = [account, *received.add(row, accounts)]
        accounts.merges.add_origins(row, (each for each in origins if each != accounts.index.names[row]))
        accounts.profile_version[row] += 1
        self._mark(row)
        host.publish(np.array([row]))

    def _mark(self, row: int) -> None:
        accounts = self._accounts
        for flags in (accounts.dirty, accounts.changed, accounts.score_pending, accounts.on_time):
            flags[row] = True


class _Control(NamedTuple):
    """A control of kind `merge`: the number of its batch in the step, and which of the candidates it is."""

    number: int
    candidates: Candidates
    which: int

    @property
    def event(self) -> ControlEvent:
        """The control itself."""
        event = self.candidates.event(self.which)
        assert isinstance(event, ControlEvent), "only controls are set aside"
        return event

    @property
    def row(self) -> int:
        """The row of the account that it names, or that it is forwarded to."""
        return int(self.candidates.rows[self.which])

    @property
    def offset(self) -> int:
        """Its offset."""
        return int(self.candidates.offsets[self.which])

    @property
    def repartitioned(self) -> bool:
        """Whether it was read from the repartition topic."""
        return self.candidates.batch.repartitioned

    @property
    def forwarded_by(self) -> str | None:
        """The account whose partition has forwarded it, because that account was merged."""
        return self.candidates.forwarded_by(self.which)

    def dead_letter(self, why: str) -> DeadLetter:
        """The control as a dead letter."""
        return DeadLetter(self.number, self.offset, INVALID_FIELD, f"{CONTROL_SOURCE}: {why}")

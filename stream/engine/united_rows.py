"""The state of an account as it is handed over to another one, and adding it to the row of that one.

Owns what each field of a row becomes when two accounts are one. Aggregates of events are added exactly: the row is then
what it would be if all events had been its own. What is published, alert state, and bands and forecasts at boundaries
stay those of the row. Called by `stream.engine.merging`.

| of the two rows | the sum is |
|---|---|
| counts, sums, histograms by pane; numbers of events and profiles | added |
| minima, maxima, latest and first events, members, things, times of events | united |
| profile | of each field the latest value (`schemas.profiles.unite`) |
| override | the latest control |
| published scores, alerts, acknowledgements, bands held, forecasts | those of the row |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from schemas.events import MergedState, RowState
from schemas.profiles import unite
from stream.accounts.accounts import Accounts
from stream.accounts.row_codec import decode_rows, decode_texts, encode_rows, row_schema_of_accounts
from stream.columns.columns import LatestColumn, PaneColumn
from stream.columns.members import Members
from stream.columns.row_schema import RowSchema, RowSchemaError, header_of
from stream.columns.things import Things
from stream.measures.base import AnyColumn

_DIGEST = slice(1, None)
_CLOCK = "clock/"


def row_state_of(accounts: Accounts, row: int, as_of_ms: int, clocks: Mapping[str, int]) -> RowState:
    """The state of a row as of a stream time (epoch ms); `clocks` are those of sources that can go idle."""
    schema, rows = row_schema_of_accounts(accounts), np.array([row])
    (value,) = encode_rows(accounts, rows, as_of_ms, schema, clocks)
    pages = {
        column.name: entries
        for column in accounts.columns
        if isinstance(column, Members | Things) and (entries := column.entries_of(row))
    }
    return RowState(schema.describe(), value, pages)


@dataclass(frozen=True, slots=True)
class ReceivedRow:
    """A state that was handed over: the changelog row, its schema and the pages."""

    state: RowState
    schema: RowSchema

    @classmethod
    def of(cls, merged: MergedState, policy: str) -> ReceivedRow:
        """The state by a policy (its label), else by the policy that was live. Raises `RowSchemaError`."""
        state = merged.states.get(policy) or merged.states.get(merged.live)
        if state is None:
            message = f"it has no state by the policy {merged.live}"
            raise RowSchemaError(message)
        return cls.read(state)

    @classmethod
    def read(cls, state: RowState) -> ReceivedRow:
        """Read a state. Raises `RowSchemaError` when it is not whole."""
        received = cls(state, RowSchema.read(state.schema, header_of(state.row)[_DIGEST]))
        if len(state.row) < received.schema.dtype.itemsize:
            message = f"the row has {len(state.row)} of {received.schema.dtype.itemsize} bytes"
            raise RowSchemaError(message)
        return received

    @property
    def _record(self) -> np.ndarray[tuple[int], np.dtype[np.void]]:
        return np.frombuffer(self.state.row[: self.schema.dtype.itemsize], dtype=self.schema.dtype)

    @property
    def as_of_ms(self) -> int:
        """Stream time when it was handed over, 0 before the first event."""
        return int(self._record["as_of"][0])

    @property
    def clocks(self) -> dict[str, int]:
        """The clocks (epoch ms) of sources that can go idle."""
        record = self._record
        names = [name for name in record.dtype.names or () if name.startswith(_CLOCK)]
        return {name.removeprefix(_CLOCK): int(record[name][0]) for name in names}

    def add_pages(self, row: int, columns: Sequence[AnyColumn]) -> None:
        """Add members and things to a row, once or several times."""
        for column in columns:
            if isinstance(column, Members | Things) and column.name in self.state.pages:
                column.unite(row, self.state.pages[column.name])

    def add(self, row: int, accounts: Accounts) -> list[str]:
        """Add all to a row, whose columns are not behind; returns the accounts that were merged into this one."""
        theirs = self._loaded(accounts)
        for column, other in zip(accounts.columns, theirs.columns, strict=True):
            if isinstance(column, PaneColumn | LatestColumn):
                column.unite(row, other, 0)  # type: ignore[arg-type]  # both are built by one plan
        self.add_pages(row, accounts.columns)
        accounts.applied[row] += theirs.applied[0]
        accounts.profile_version[row] += theirs.profile_version[0]
        accounts.last_ms[row] = max(accounts.last_ms[row], theirs.last_ms[0])
        accounts.life_ms[row] = max(accounts.life_ms[row], theirs.life_ms[0])
        accounts.first_ms[row] = min(accounts.first_ms[row], theirs.first_ms[0])
        accounts.follow_first_events(np.array([row]))
        if 0 in theirs.profiles:
            profile = unite(accounts.profiles.get(row), theirs.profiles[0], accounts.index.names[row])
            if profile is not None:
                accounts.set_profile(row, profile)
        control = theirs.overrides.get(0) or theirs.ended_overrides.get(0)
        if control is not None:
            accounts.apply_override(row, control)
        return list(theirs.merges.origins.get(0, {}))

    def _loaded(self, accounts: Accounts) -> Accounts:
        """The state as the only row of accounts whose columns are at the newest panes of `accounts`."""
        plan = accounts.plan
        theirs = Accounts(plan, [column.build() for column in plan.columns], lambda _account: True)
        rows = theirs.index.rows_of_saved(["theirs"])
        theirs.reserve()
        for column, mine in zip(theirs.columns, accounts.columns, strict=True):
            column.newest = mine.newest
        decode_rows(theirs, rows, self._record, self.schema)
        decode_texts(theirs, 0, self.state.row[self.schema.dtype.itemsize :])
        return theirs

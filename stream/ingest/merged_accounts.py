"""Records of accounts that were merged into others: where they count, and that each counts once.

Owns two rules. A record of a merged account is forwarded to the account that it was merged into; where all accounts are
in one engine (files), it counts there at once. And a record that was forwarded counts only if its offset, in the
partition that it comes from, is larger than those before: a partition forwards in the order of offsets, and after a
crash some of them again. So no record counts twice, also where duplicates are not dropped by id.

Records that take effect at the account that they name, whatever it was merged into, are left alone: erasures, merges
and the state of merged accounts. Called by `stream.engine.engine`, after duplicates were dropped by id.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from schemas.events import ControlEvent, Event, ProfileEvent
from stream.accounts.accounts import Accounts
from stream.ingest.batch import ERASE, MERGE, Candidates
from stream.publishing.effects import Effects, Forward


def sort_out_merged(
    candidates: Candidates, number: int, accounts: Accounts, effects: Effects, *, local: bool
) -> Candidates:
    """The candidates that count for accounts of this partition; the others are counted and forwarded in `effects`.

    `number` is the batch's number in its step. With `local` all accounts are in this engine.
    """
    if candidates.batch.merged is not None:
        candidates = _once(candidates, accounts, effects)
    if not accounts.merges.into:
        return candidates
    return _of_others(candidates, number, accounts, effects, local=local)


def _once(candidates: Candidates, accounts: Accounts, effects: Effects) -> Candidates:
    """The candidates without those that were forwarded before; those that their row has applied stay."""
    merged = candidates.batch.merged
    assert merged is not None, "the batch has records that were forwarded because of a merge"
    first = np.ones(len(candidates.rows), dtype=np.bool_)
    for index in np.flatnonzero(~candidates.already_applied).tolist():
        if _is_control(candidates.event(index), ERASE):
            continue
        row, comes_from = int(candidates.rows[index]), merged[int(candidates.selected[index])]
        first[index] = accounts.merges.passes(row, *comes_from)
        accounts.dirty[row] = True
    effects.outcomes[candidates.batch.source, "duplicate"] += int((~first).sum())
    return candidates if first.all() else candidates.pick(first)


def _of_others(candidates: Candidates, number: int, accounts: Accounts, effects: Effects, *, local: bool) -> Candidates:
    """The candidates without those of accounts that were merged into another one."""
    into, outcomes, source = accounts.merges.into, effects.outcomes, candidates.batch.source
    keep, rows = np.ones(len(candidates.rows), dtype=np.bool_), candidates.rows.copy()
    for index in np.flatnonzero(~candidates.already_applied).tolist():
        if int(candidates.rows[index]) not in into:
            continue
        event = candidates.event(index)
        if _is_control(event, ERASE) or _is_control(event, MERGE):
            continue
        if isinstance(event, ProfileEvent) and event.deletes:
            # Of two customers that are merged, one profile is often deleted: it does not end the other one.
            outcomes[source, "applied"] += 1
            keep[index] = False
        elif local:
            rows[index] = target_of(int(rows[index]), accounts)
        else:
            target = into[int(rows[index])].account
            effects.forwards.append(Forward(number, int(candidates.offsets[index]), target, event.account_id.strip()))
            outcomes[source, "forwarded"] += 1
            keep[index] = False
    accounts.reserve()
    candidates = replace(candidates, rows=rows)
    return candidates if keep.all() else candidates.pick(keep)


def target_of(row: int, accounts: Accounts) -> int:
    """The row that records of a row count for, where all accounts are in one engine."""
    while (pointer := accounts.merges.into.get(row)) is not None:
        row = accounts.index[pointer.account]
    return row


def _is_control(event: Event, kind: str) -> bool:
    return isinstance(event, ControlEvent) and event.kind == kind

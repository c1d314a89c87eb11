"""Overrides: a score or band that a person sets for an account, until it expires or is cleared.

Owns when an override is active, when its start or end has to be published, and how long its latest control is kept. The
computed score does not change. Called by `stream.publishing` and `stream.recovery.changelog`.

An override that has ended, and whose end was published, moves from `Accounts.overrides` to `ended_overrides`: time
changes nothing for it any more. There it only keeps an older override, which arrives late, from becoming active. When
every older override would be dropped as late, it is pruned, with its part of the changelog row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xxhash
from numpy.typing import NDArray

from schemas.codecs import instant_ms
from schemas.events import ControlEvent
from schemas.outputs import Override, ScoreChange
from stream.accounts.accounts import Accounts
from stream.columns.columns import Rows

NONE_PUBLISHED = 0
OTHER_PUBLISHED = 1


def override_of(control: ControlEvent | None, as_of_ms: int) -> Override | None:
    """The override that a control makes and that is active at `as_of_ms` (epoch ms), or None."""
    if control is None or control.kind != "override" or control.reason is None or control.expires_at is None:
        return None
    expires_at = instant_ms(control.expires_at)
    if expires_at <= as_of_ms:
        return None
    return Override(control.reason, instant_ms(control.time), expires_at, control.score, control.band, control.by)


def publish_overrides(rows: Rows, accounts: Accounts, as_of_ms: int) -> NDArray[np.intp]:
    """Indexes in `rows` whose override started or ended since it was published last; it is published from now on."""
    changed = []
    for index in np.flatnonzero(np.isin(rows, list(accounts.overrides))).tolist():
        row = int(rows[index])
        now = _published_form(accounts.overrides[row], as_of_ms)
        if now != int(accounts.override_published[row]):
            accounts.override_published[row] = now
            accounts.score_pending[row] = accounts.dirty[row] = True
            changed.append(index)
        if now == NONE_PUBLISHED:
            accounts.ended_overrides[row] = accounts.overrides.pop(row)
    return np.array(changed, dtype=np.intp)


def rebase_override(row: int, change: ScoreChange, accounts: Accounts) -> None:
    """Make the override in a change that was published before a crash, or its end, the last published one."""
    control = accounts.overrides.get(row) or accounts.ended_overrides.get(row)
    if change.override is None:
        accounts.override_published[row] = NONE_PUBLISHED
        return
    if control is not None and override_of(control, change.override.expires_at - 1) == change.override:
        accounts.override_published[row] = _name(control)
    else:
        accounts.override_published[row] = OTHER_PUBLISHED
    if row in accounts.ended_overrides:  # its end is still to be published
        accounts.overrides[row] = accounts.ended_overrides.pop(row)


def settle_ended(accounts: Accounts, as_of_ms: int) -> None:
    """Move overrides that have ended, and whose end was published, to `ended_overrides`, after rows were loaded."""
    for row, control in list(accounts.overrides.items()):
        if _published_form(control, as_of_ms) == int(accounts.override_published[row]) == NONE_PUBLISHED:
            accounts.ended_overrides[row] = accounts.overrides.pop(row)


def reopen_ended(accounts: Accounts) -> None:
    """Look at all ended overrides again, after `override_published` was taken from elsewhere."""
    accounts.overrides.update(accounts.ended_overrides)
    accounts.ended_overrides.clear()


def prune_ended(accounts: Accounts, are_late: Callable[[NDArray[np.int64]], NDArray[np.bool_]]) -> None:
    """Remove ended overrides where every older one would be late; their rows are written without them.

    `are_late` says of event times (ms) which are late from now on. Call it between steps: within a step, events before
    the last one are judged by an earlier time.
    """
    if accounts.ended_overrides:
        rows = np.fromiter(accounts.ended_overrides, dtype=np.int64)
        times = np.array([instant_ms(control.time) for control in accounts.ended_overrides.values()], dtype=np.int64)
        for row in rows[are_late(times)].tolist():
            del accounts.ended_overrides[row]
            accounts.dirty[row] = True


def _published_form(control: ControlEvent, as_of_ms: int) -> int:
    """The value of `override_published` when the override that a control makes at a moment, or none, is published."""
    return NONE_PUBLISHED if override_of(control, as_of_ms) is None else _name(control)


def _name(control: ControlEvent) -> int:
    """The number of a control in `override_published`, different from the two that name no control."""
    return max(xxhash.xxh3_64_intdigest(control.id.encode()), OTHER_PUBLISHED + 1)

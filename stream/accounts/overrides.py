"""Overrides: a person's word on an account, until it expires or is taken back.

Owns when an override holds and when its beginning or end has to be told. The computed score is not touched by it. Pure
but for `override_published` of the rows it is asked about; called by `stream.publishing.publisher` and
`stream.publishing.encoding`.
"""

from __future__ import annotations

import numpy as np
import xxhash
from numpy.typing import NDArray

from schemas.codecs import instant_ms
from schemas.events import ControlEvent
from schemas.outputs import Override, ScoreChange
from stream.accounts.accounts import Accounts
from stream.columns.columns import Rows

NONE_TOLD = 0
OTHER_TOLD = 1


def override_of(control: ControlEvent | None, as_of_ms: int) -> Override | None:
    """The override that a control makes at a moment, or None."""
    if control is None or control.kind != "override" or control.reason is None or control.expires_at is None:
        return None
    expires_at = instant_ms(control.expires_at)
    if expires_at <= as_of_ms:
        return None
    return Override(control.reason, instant_ms(control.time), expires_at, control.score, control.band, control.by)


def overruled(rows: Rows, accounts: Accounts, as_of_ms: int) -> NDArray[np.intp]:
    """Places in `rows` whose override began or ended since it was told last; from now on it is told."""
    changed = []
    for place, row in enumerate(rows.tolist()):
        control = accounts.overrides.get(row)
        if control is None:
            continue
        now = NONE_TOLD
        if override_of(control, as_of_ms) is not None:
            now = _name(control)
        if now != int(accounts.override_published[row]):
            accounts.override_published[row] = now
            accounts.score_pending[row] = accounts.dirty[row] = True
            changed.append(place)
    return np.array(changed, dtype=np.intp)


def rebase_override(row: int, change: ScoreChange, accounts: Accounts) -> None:
    """Take the beginning or end of an override that readers heard of for the one that was told last."""
    control = accounts.overrides.get(row)
    if change.override is None:
        accounts.override_published[row] = NONE_TOLD
    elif control is not None and override_of(control, change.override.expires_at - 1) == change.override:
        accounts.override_published[row] = _name(control)
    else:
        accounts.override_published[row] = OTHER_TOLD


def _name(control: ControlEvent) -> int:
    """What stands for a control among those told; neither of the two that name none."""
    return max(xxhash.xxh3_64_intdigest(control.id.encode()), OTHER_TOLD + 1)

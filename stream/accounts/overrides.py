"""Overrides: a score or band that a person sets for an account, until it expires or is cleared.

Owns when an override is active and when its start or end has to be published. The computed score does not change. Pure
except that it writes `override_published` and marks rows; called by `stream.publishing.publisher`,
`stream.publishing.encoding` and `stream.publishing.baseline`.
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
    for index, row in enumerate(rows.tolist()):
        control = accounts.overrides.get(row)
        if control is None:
            continue
        now = NONE_PUBLISHED
        if override_of(control, as_of_ms) is not None:
            now = _name(control)
        if now != int(accounts.override_published[row]):
            accounts.override_published[row] = now
            accounts.score_pending[row] = accounts.dirty[row] = True
            changed.append(index)
    return np.array(changed, dtype=np.intp)


def rebase_override(row: int, change: ScoreChange, accounts: Accounts) -> None:
    """Make the override in a change that was published before a crash, or its end, the last published one."""
    control = accounts.overrides.get(row)
    if change.override is None:
        accounts.override_published[row] = NONE_PUBLISHED
    elif control is not None and override_of(control, change.override.expires_at - 1) == change.override:
        accounts.override_published[row] = _name(control)
    else:
        accounts.override_published[row] = OTHER_PUBLISHED


def _name(control: ControlEvent) -> int:
    """The number of a control in `override_published`, different from the two that name no control."""
    return max(xxhash.xxh3_64_intdigest(control.id.encode()), OTHER_PUBLISHED + 1)

"""The life of an alert: which state follows which.

Owns every transition there is, for one alert and for arrays of them; `stream.alerts.emission` decides what happened
and says what came of it. Pure.

```
            HOLDS            DUE                 ACKNOWLEDGE
  IDLE ----------> PENDING --------> FIRING --------------------> ACKNOWLEDGED
   ^ ^                |               |  ^ |                        |      |
   | |      ENDS      |               |  | | SNOOZE                 |      | SNOOZE
   | +----------------+          ENDS |  | +-----> SNOOZED <---------------+
   |                                  |  | DUE        |             |
   |                                  |  +------------+             |
   +----------------------------------+---------------+-------------+  ENDS: resolved
```

An alert has two lives by this table. What is *held* goes from border to border and knows IDLE, PENDING and FIRING. What
is *told*, in `health.alerts`, follows at once and knows IDLE and the three open states.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

FLAP_MS = 24 * 3_600_000
"""A firing so soon after the last resolving of the same alert is a flap."""
_MOST_FLAPS = 30_000


class Phase(IntEnum):
    """The state of an alert."""

    IDLE = 0
    PENDING = 1
    FIRING = 2
    ACKNOWLEDGED = 3
    SNOOZED = 4


class Turn(IntEnum):
    """What happens to an alert: its condition does not hold; holds, but may not fire yet; holds; a person's word."""

    ENDS = 0
    HOLDS = 1
    DUE = 2
    ACKNOWLEDGE = 3
    SNOOZE = 4


_P = Phase
TRANSITIONS: dict[Phase, tuple[Phase, Phase, Phase, Phase, Phase]] = {
    # on:             ENDS     HOLDS            DUE              ACKNOWLEDGE      SNOOZE
    _P.IDLE: (_P.IDLE, _P.PENDING, _P.FIRING, _P.FIRING, _P.SNOOZED),
    _P.PENDING: (_P.IDLE, _P.PENDING, _P.FIRING, _P.FIRING, _P.SNOOZED),
    _P.FIRING: (_P.IDLE, _P.FIRING, _P.FIRING, _P.ACKNOWLEDGED, _P.SNOOZED),
    _P.ACKNOWLEDGED: (_P.IDLE, _P.ACKNOWLEDGED, _P.ACKNOWLEDGED, _P.ACKNOWLEDGED, _P.SNOOZED),
    _P.SNOOZED: (_P.IDLE, _P.SNOOZED, _P.FIRING, _P.ACKNOWLEDGED, _P.SNOOZED),
}
"""Next state by state and turn. The turns ACKNOWLEDGE and SNOOZE are for conditions that hold."""

_TABLE = np.array([TRANSITIONS[phase] for phase in Phase], dtype=np.int8)


def follow(phases: NDArray[np.int8], turns: NDArray[np.int8]) -> NDArray[np.int8]:
    """The states that follow, same shape."""
    return np.asarray(_TABLE[phases, turns])


def is_open(phases: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Whether an alert has been told and not resolved, same shape."""
    return phases >= Phase.FIRING


def flaps_of(before: int, ended_ms: int, began_ms: int) -> int:
    """Flaps in a row of an alert that fires at `began_ms`, `before` of them at its last firing; `ended_ms` 0: never."""
    if not ended_ms or began_ms - ended_ms >= FLAP_MS:
        return 0
    return min(before + 1, _MOST_FLAPS)

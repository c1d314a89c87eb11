"""The lifecycle of an alert: its phases, its inputs, and all allowed transitions, in two tables.

Every alert (one account, one rule) has a *published* phase, the one that `health.alerts` shows, which `PUBLISHED` moves
at once. A rule with `for`, `clear`, `cooldown`, `max_per_day` or a past to compare with also has a *boundary* phase,
which `BOUNDARY` moves only at window boundaries, where scores are exact. `stream.alerts.emission` and
`stream.alerts.boundary_state` decide the inputs. Pure.

```
  BOUNDARY          WAIT                FIRE            PUBLISHED               ACKNOWLEDGE
           IDLE ----------> PENDING ----------> FIRING           IDLE   FIRING -------------> ACKNOWLEDGED
            | ^                |                 ^  |             | |    ^ ^ |                  |      ^
            | +---- CLEAR -----+                 |  |             | +----+ | +----+      SNOOZE |      |
            | +---- CLEAR -----------------------+--+             |  FIRE  |      | SNOOZE      |      | ACKNOWLEDGE
            +------ FIRE ------------------------+                |   FIRE |      v             v      |
                                                                  |        +--- SNOOZED <-------+      |
                                                                  +------------> |  |                  |
                                                                        SNOOZE      +------------------+
                                                              CLEAR leads from every open phase to IDLE: resolved
```

`for`, `cooldown` and `max_per_day` are guards, not phases: they decide whether a condition that is true gives FIRE or
WAIT. A rule in cooldown is therefore IDLE or PENDING.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

FLAP_MS = 24 * 3_600_000
"""An alert that fires so soon after it was resolved is a flap."""
_MOST_FLAPS = 30_000
_ILLEGAL = -1


class Phase(IntEnum):
    """The phase of an alert. The numbers are saved in the changelog: they never change."""

    IDLE = 0
    PENDING = 1
    """The condition is true at boundaries, but not for long enough, or a guard keeps the alert from firing."""
    FIRING = 2
    ACKNOWLEDGED = 3
    SNOOZED = 4


class AlertInput(IntEnum):
    """What moves an alert from phase to phase. ACKNOWLEDGE and SNOOZE include that the alert may fire."""

    CLEAR = 0
    """The condition is false."""
    WAIT = 1
    """The condition is true, but the alert may not fire yet."""
    FIRE = 2
    """The condition is true, and the alert may fire."""
    ACKNOWLEDGE = 3
    """As FIRE, and an acknowledgement of this episode is current."""
    SNOOZE = 4
    """As FIRE, and a snooze is active."""


class IllegalTransitionError(ValueError):
    """An input that is not allowed in the phase of an alert: the state or the caller is wrong."""


class Lifecycle:
    """A table of transitions: next phase by phase and input. What is not in the table is illegal."""

    def __init__(self, name: str, transitions: Mapping[Phase, Mapping[AlertInput, Phase]]) -> None:
        """`name` is used in errors."""
        self.name = name
        self.transitions = transitions
        self._table = np.full((len(Phase), len(AlertInput)), _ILLEGAL, dtype=np.int8)
        for phase, by_input in transitions.items():
            for alert_input, next_phase in by_input.items():
                self._table[phase, alert_input] = next_phase

    def next(self, phases: NDArray[np.int8], inputs: NDArray[np.int8]) -> NDArray[np.int8]:
        """The next phase of each alert, int8, same shape; raises `IllegalTransitionError`."""
        after = np.asarray(self._table[phases, inputs])
        if np.count_nonzero(after < 0):
            index = tuple(np.argwhere(after < 0)[0])
            phase, alert_input = Phase(phases[index]), AlertInput(inputs[index])
            msg = f"{self.name} phase of an alert: no transition from {phase.name} on {alert_input.name}"
            raise IllegalTransitionError(msg)
        return after


_P, _I = Phase, AlertInput

PUBLISHED = Lifecycle(
    "published",
    {
        _P.IDLE: {_I.CLEAR: _P.IDLE, _I.FIRE: _P.FIRING, _I.SNOOZE: _P.SNOOZED},
        _P.FIRING: {
            _I.CLEAR: _P.IDLE,
            _I.FIRE: _P.FIRING,
            _I.ACKNOWLEDGE: _P.ACKNOWLEDGED,
            _I.SNOOZE: _P.SNOOZED,
        },
        _P.ACKNOWLEDGED: {
            _I.CLEAR: _P.IDLE,
            _I.FIRE: _P.ACKNOWLEDGED,
            _I.ACKNOWLEDGE: _P.ACKNOWLEDGED,
            _I.SNOOZE: _P.SNOOZED,
        },
        _P.SNOOZED: {
            _I.CLEAR: _P.IDLE,
            _I.FIRE: _P.FIRING,
            _I.ACKNOWLEDGE: _P.ACKNOWLEDGED,
            _I.SNOOZE: _P.SNOOZED,
        },
    },
)
"""The phase that `health.alerts` shows. An acknowledgement is of an open episode, so IDLE has no ACKNOWLEDGE."""

BOUNDARY = Lifecycle(
    "boundary",
    {
        _P.IDLE: {_I.CLEAR: _P.IDLE, _I.WAIT: _P.PENDING, _I.FIRE: _P.FIRING},
        _P.PENDING: {_I.CLEAR: _P.IDLE, _I.WAIT: _P.PENDING, _I.FIRE: _P.FIRING},
        _P.FIRING: {_I.CLEAR: _P.IDLE, _I.WAIT: _P.FIRING, _I.FIRE: _P.FIRING},
    },
)
"""The phase at the last window boundary, of rules with boundary state."""


def is_open(phases: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Whether an alert has been published as firing and not as resolved, same shape."""
    return phases >= int(Phase.FIRING)


def flaps_of(before: int, ended_ms: int, began_ms: int) -> int:
    """Number of flaps in a row, of an alert that fires at `began_ms` (epoch ms) and had `before` at its last firing.

    `ended_ms` (epoch ms) is when it was resolved last, 0 for never.

    >>> flaps_of(1, ended_ms=1_000, began_ms=1_000 + FLAP_MS - 1)
    2
    >>> flaps_of(1, ended_ms=1_000, began_ms=1_000 + FLAP_MS)
    0
    """
    if not ended_ms or began_ms - ended_ms >= FLAP_MS:
        return 0
    return min(before + 1, _MOST_FLAPS)

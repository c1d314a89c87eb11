"""Triggers: why the engine scores accounts.

Owns the four triggers. A trigger decides which causes a score change may have, and which alerts may end. Used by
`stream.engine.engine` and `stream.alerts.emission`.
"""

from __future__ import annotations

from enum import Enum


class Trigger(Enum):
    """What made the engine score accounts."""

    EVENTS = "events"
    """Events or profiles of these accounts were applied."""
    TIME = "time"
    """Time advanced, to a moment that need not be a window boundary, or a peer table came."""
    BOUNDARY = "boundary"
    """A window boundary passes: scores are exact there, and boundary state moves."""
    CAUGHT_UP = "caught up"
    """Catching up is over: changes and alerts that were not published are, if they hold now."""

"""Why accounts are scored: it decides what causes a change has, and which alerts may end.

Owns the four occasions. Used by `stream.engine.engine`, `stream.alerts.emission` and `stream.publishing.publisher`.
"""

from __future__ import annotations

from enum import Enum


class Trigger(Enum):
    """What made the engine score accounts."""

    EVENTS = "events"
    """Something came for these accounts."""
    TIME = "time"
    """Time has passed, to a moment that need not be a border."""
    BOUNDARY = "border"
    """A border is being passed: scores are exact there, and what is held moves."""
    CAUGHT_UP = "arrival"
    """Catching up is over: what was held back is told if it is still true."""

"""The oracle's status of an account: active, new, without data, or ended, from all its events up to a moment.

Owns a second reading of docs/reference/policy/status.md. Must not know scores, order or the product's own code. Called
by `tests.oracle.scores`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.oracle.policy import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.oracle.events import Event
    from tests.oracle.policy import Policy

ACTIVE, NEW, NO_DATA, ENDED = "active", "new", "no-data", "ended"
UNSCORED = (NO_DATA, ENDED)


def is_alive_by(event: Event) -> bool:
    """Say whether an event is one of the account: what people say about it is not, but for a pulse."""
    return event.source != "controls" or event.texts["kind"] == "pulse"


def has_ended(policy: Policy, events: Sequence[Event], profile: Event | None, as_of_ms: int) -> bool:
    """Say whether an event or the profile ended the account, and nothing happened after it."""
    lives = [event.time_ms for event in events if event.time_ms <= as_of_ms and is_alive_by(event)]
    for ending in events:
        if ending.time_ms > as_of_ms or not any(
            ending.source == source and all(ending.texts.get(field) in values for field, values in where.items())
            for source, where in policy.ended_by
        ):
            continue
        if all(time_ms <= ending.time_ms for time_ms in lives):
            return True
    if profile is None or "ended_at" not in profile.times_ms:
        return False
    end_day = profile.times_ms["ended_at"] // DAY_MS
    return end_day <= as_of_ms // DAY_MS and all(time_ms // DAY_MS <= end_day for time_ms in lives)


def status_of(policy: Policy, events: Sequence[Event], profile: Event | None, as_of_ms: int, *, has_score: bool) -> str:
    """Return the status at a moment; `has_score` says whether any score has a value then."""
    if has_ended(policy, events, profile, as_of_ms):
        return ENDED
    past = [event for event in events if event.time_ms <= as_of_ms]
    days = [as_of_ms // DAY_MS - event.time_ms // DAY_MS for event in past if is_alive_by(event)]
    if not has_score or not any(day < policy.dormant_days for day in days):
        return NO_DATA
    if policy.new_days is not None and as_of_ms // DAY_MS - past[0].time_ms // DAY_MS < policy.new_days:
        return NEW
    return ACTIVE

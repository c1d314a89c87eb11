"""The state of one account in the Python rivals: 30 daily panes of two measures, and the score last published.

Owns the work as plain Python, so that engines written in Python differ in the engine alone. Must need nothing but the
standard library: every rival has a Python environment of its own. Called by all Python rivals.
"""

from __future__ import annotations

from typing import Any

from tests.bench.rules import DAY_MS, EVENTS_HUNDRED_AT, MIN_CHANGE, VOLUME_HUNDRED_AT, WINDOW_DAYS

Row = dict[str, Any]
"""State as JSON can hold it: `day`, `published`, `events` and `volume`."""


def new_row() -> Row:
    """An account without events."""
    return {"day": 0, "published": None, "events": [0] * WINDOW_DAYS, "volume": [0] * WINDOW_DAYS}


def add(row: Row, time_ms: int, count: int) -> None:
    """Add an event to its day, and empty the days that the window has left."""
    day = time_ms // DAY_MS
    for past in range(max(row["day"] + 1, day - WINDOW_DAYS + 1), day + 1):
        row["events"][past % WINDOW_DAYS] = 0
        row["volume"][past % WINDOW_DAYS] = 0
    row["day"] = max(row["day"], day)
    if day > row["day"] - WINDOW_DAYS:
        row["events"][day % WINDOW_DAYS] += 1
        row["volume"][day % WINDOW_DAYS] += count


def score(row: Row) -> float:
    """The mean of the points of both measures, 0..100."""
    event_points: float = min(100.0, 100.0 * sum(row["events"]) / EVENTS_HUNDRED_AT)
    volume_points: float = min(100.0, 100.0 * sum(row["volume"]) / VOLUME_HUNDRED_AT)
    return (event_points + volume_points) / 2


def moved(published: float | None, current: float) -> bool:
    """Whether a score is to be published."""
    return published is None or abs(current - published) >= MIN_CHANGE


def change_after(row: Row, event: dict[str, Any]) -> dict[str, Any] | None:
    """Add an event; return the change to publish if the score has moved by a point."""
    add(row, event["time"], event["count"])
    current, published = score(row), row["published"]
    if not moved(published, current):
        return None
    row["published"] = current
    return change(event["account_id"], event["time"], published, current)


def change(account_id: str, time_ms: int, published: float | None, current: float) -> dict[str, Any]:
    """A published change, as every engine writes it."""
    return {"account_id": account_id, "time": time_ms, "score": "health", "from": published, "to": current}

"""The benchmark's work in Faust as its documentation writes it: one agent, one model, one table, one write an event.

Owns the Faust rival. Must not know how it is measured. Started by `engines` as
`python -m tests.bench.faust_documented BROKER_URL APP_ID INPUT OUTPUT DATA_FOLDER`.
"""

from __future__ import annotations

import sys
from typing import Any

import faust

from tests.bench.workload import (
    DAY_MS,
    EVENTS_HUNDRED_AT,
    MIN_CHANGE,
    PARTITIONS,
    VOLUME_HUNDRED_AT,
    WINDOW_DAYS,
)


class UsageEvent(faust.Record, serializer="json"):
    """One event of the input topic."""

    id: str
    account_id: str
    time: int
    user_id: str = ""
    feature: str = ""
    count: int = 1


class ScoreChange(faust.Record, serializer="json"):
    """One published change."""

    account_id: str
    time: int
    score: str
    from_score: float | None
    to: float


def new_row() -> dict[str, Any]:
    """An account without events."""
    return {"day": 0, "published": None, "events": [0] * WINDOW_DAYS, "volume": [0] * WINDOW_DAYS}


def add(row: dict[str, Any], time_ms: int, count: int) -> None:
    """Add an event to its day, and empty the days that the window has left."""
    day = time_ms // DAY_MS
    for past in range(max(row["day"] + 1, day - WINDOW_DAYS + 1), day + 1):
        row["events"][past % WINDOW_DAYS] = 0
        row["volume"][past % WINDOW_DAYS] = 0
    row["day"] = max(row["day"], day)
    if day > row["day"] - WINDOW_DAYS:
        row["events"][day % WINDOW_DAYS] += 1
        row["volume"][day % WINDOW_DAYS] += count


def score(row: dict[str, Any]) -> float:
    """The mean of the points of both measures, 0..100."""
    event_points: float = min(100.0, 100.0 * sum(row["events"]) / EVENTS_HUNDRED_AT)
    volume_points: float = min(100.0, 100.0 * sum(row["volume"]) / VOLUME_HUNDRED_AT)
    return (event_points + volume_points) / 2


def build_app(broker: str, app_id: str, source: str, output: str, folder: str) -> faust.App:
    """The Faust program; nothing runs yet."""
    app = faust.App(
        app_id,
        broker=broker,
        store="memory://",
        topic_partitions=PARTITIONS,
        broker_commit_interval=1.0,
        web_enabled=False,
        datadir=folder,
    )
    usage = app.topic(source, value_type=UsageEvent)
    changes = app.topic(output, value_type=ScoreChange)
    accounts = app.Table("accounts", default=new_row, partitions=PARTITIONS)

    async def count_usage(events: faust.StreamT[UsageEvent]) -> None:
        async for event in events:
            row = accounts[event.account_id]
            add(row, event.time, event.count)
            current = score(row)
            published = row["published"]
            if published is None or abs(current - published) >= MIN_CHANGE:
                row["published"] = current
                change = ScoreChange(
                    account_id=event.account_id, time=event.time, score="health", from_score=published, to=current
                )
                await changes.send(key=event.account_id, value=change)
            accounts[event.account_id] = row

    app.agent(usage)(count_usage)
    return app


if __name__ == "__main__":
    built = build_app(*sys.argv[1:6])
    built.worker_init()
    faust.Worker(built, loglevel="WARN").execute_from_commandline()

"""The benchmark's work in Faust as its documentation writes it: one agent, one model, one table, one write an event.

Owns the Faust rival. It has no timers: the score of a silent account stays as it is until the account's next event.
Must not know how it is measured. Started by `commands` as
`python -m tests.bench.rivals.faust_documented BROKER_URL APP_ID INPUT OUTPUT DATA_FOLDER`.
"""

from __future__ import annotations

import sys

import faust

from tests.bench.rivals.account import add, moved, new_row, score
from tests.bench.rules import PARTITIONS


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
            if moved(published, current):
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

"""Event files as the records of topics that a board reads: what a worker would have published for them.

Owns nothing but the order: profiles, changes, alerts, then the latest scores. Called by `vitals board FILES`.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from agents.board.state.board import Record
from agents.files.replay import Replay
from schemas.events import PROFILE_SOURCE, ProfileEvent
from schemas.profiles import values_of
from schemas.topics import ALERTS, CHANGES, SCORES

_encode = msgspec.json.encode


def records_of(replay: Replay) -> Iterator[Record]:
    """The records of a replay in mode HEAD, with the replay's moment as their time."""
    as_of_ms = replay.engine.as_of
    if as_of_ms is None:
        return
    for timed in replay.records:
        if timed.source == PROFILE_SOURCE and timed.time_ms <= as_of_ms and isinstance(timed.event, ProfileEvent):
            yield _profile(timed.event, timed.time_ms)
    for topic, messages in ((CHANGES, replay.changes), (ALERTS, replay.alerts), (SCORES, replay.scores.values())):
        for message in messages:
            yield Record(topic, message.key, message.value, as_of_ms)


def _profile(profile: ProfileEvent, time_ms: int) -> Record:
    fields = {
        "id": profile.id,
        "account_id": profile.account_id,
        "time": time_ms,
        **dict.fromkeys(profile.cleared),
        **values_of(profile),
    }
    return Record(PROFILE_SOURCE, profile.account_id.encode(), None if profile.deletes else _encode(fields), time_ms)

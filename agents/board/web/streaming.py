"""Server-sent events of changes (`GET /api/stream`).

Owns the names and ids of events, resuming, and the pace. A client has a position in the journal and one chunk on its
way, so a client that does not read needs no memory. Called by `agents.board.web.app`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from sse_starlette import ServerSentEvent

from agents.board.state.journal import Journal
from agents.board.state.state import State
from agents.board.views.overall_types import Summary
from agents.board.views.rows import alert_view, row_of

SUMMARY_KEY = "s"
HEARTBEAT_S = 5.0
PACE_S = 0.25
"""A client that is up to date gets at most four chunks a second; a key that changes meanwhile is sent once."""
CHUNK = 100
"""Events in a chunk, about 60 kB."""
MOST_FRAMES = 5_000
RETRY_MS = 2_000

_encode = msgspec.json.Encoder().encode


class Frames:
    """Encoded events, each encoded once for all clients. Memory: the latest 5,000, about 3 MB."""

    def __init__(self, state: State, summary: Callable[[], Summary]) -> None:
        """`summary` returns the present figures over all accounts."""
        self.boot = secrets.token_hex(4)
        """The id of this run of the board: positions of another run are not valid here."""
        self._state, self._summary = state, summary
        self._encoded: OrderedDict[str, tuple[int, bytes]] = OrderedDict()

    def frame(self, position: int, key: str) -> bytes:
        """The event of a key with its present data."""
        encoded = self._encoded.get(key)
        if encoded is not None and encoded[0] == position:
            self._encoded.move_to_end(key)
            return encoded[1]
        name, data = self._event(key)
        frame = event(name, data, f"{self.boot}-{position}")
        self._encoded[key] = (position, frame)
        self._encoded.move_to_end(key)
        if len(self._encoded) > MOST_FRAMES:
            self._encoded.popitem(last=False)
        return frame

    def _event(self, key: str) -> tuple[str, Any]:
        if key == SUMMARY_KEY:
            return "summary", self._summary()
        if key.startswith("a"):
            account = self._state.accounts.get(key[1:])
            return ("gone", {"account_id": key[1:]}) if account is None else ("account", row_of(self._state, account))
        fingerprint, partition, account_id = key[1:].split("/", 2)
        alert = self._state.episodes.get(account_id, (fingerprint, partition))
        return ("gone", {"account_id": account_id}) if alert is None else ("alert", alert_view(self._state, alert))


def event(name: str, data: Any, identity: str | None = None) -> bytes:
    """Encode one server-sent event."""
    return ServerSentEvent(_encode(data).decode(), event=name, id=identity, sep="\n").encode()


class Streams:
    """The streams of all clients."""

    def __init__(self, journal: Journal, frames: Frames, heartbeat: Callable[[], Any]) -> None:
        """`heartbeat` returns the data of a heartbeat."""
        self.clients = 0
        self._journal, self._frames, self._heartbeat = journal, frames, heartbeat

    def position_of(self, last_event_id: str | None) -> int | None:
        """The position in an event id; None if there is no id or it is of another run."""
        boot, _, position = (last_event_id or "").partition("-")
        digits = position.isascii() and position.isdecimal() and len(position) <= len(str(2**63))
        return int(position) if boot == self._frames.boot and digits else None

    def newest_id(self) -> str:
        """The id of an event at the present position: a stream that continues after it misses nothing from now on."""
        return self._id(self._journal.position)

    async def stream(
        self, last_event_id: str | None, accounts: frozenset[str] | None, is_over: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[bytes]:
        """Events for one client until `is_over`. `accounts`: the accounts whose rows it wants, None for all."""
        self.clients += 1
        try:
            async for chunk in self._chunks(last_event_id, accounts, is_over):
                yield chunk
        finally:
            self.clients -= 1

    async def _chunks(
        self, last_event_id: str | None, accounts: frozenset[str] | None, is_over: Callable[[], bool]
    ) -> AsyncIterator[bytes]:
        journal, wanted = self._journal, _wanted(accounts)
        position = self.position_of(last_event_id)
        yield ServerSentEvent(retry=RETRY_MS, sep="\n").encode()
        if position is None:
            position = journal.position
            reset = event("reset", {"reason": "restarted"}, self._id(position)) if last_event_id else b""
            yield reset + self._frames.frame(position, SUMMARY_KEY)
        beat_s = 0.0
        while not is_over():
            if not journal.can_resume(position):
                position = journal.position
                journal.resets += 1
                yield event("reset", {"reason": "too_far_behind"}, self._id(position))
            changed, position = journal.since(position, CHUNK, wanted)
            if changed:
                yield b"".join([self._frames.frame(changed_at, key) for changed_at, key in changed])
            if time.monotonic() >= beat_s:
                beat_s = time.monotonic() + HEARTBEAT_S
                yield event("heartbeat", self._heartbeat())
            await asyncio.sleep(0 if len(changed) == CHUNK else PACE_S)

    def _id(self, position: int) -> str:
        return f"{self._frames.boot}-{position}"


def _wanted(accounts: frozenset[str] | None) -> Callable[[str], bool] | None:
    if accounts is None:
        return None
    return lambda key: not key.startswith("a") or key[1:] in accounts

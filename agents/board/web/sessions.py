"""Sessions of people who are signed in to a board, in the board's memory.

Owns how long a session lasts and how it ends: by time, by signing out, or with the board's process. A cookie holds only
a random id. Called by `agents.board.web.auth`.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass

SESSION_S = 12 * 3600
MOST_SESSIONS = 10_000
"""About 3 MB. Only people who know the token can begin sessions."""


@dataclass(slots=True)
class Session:
    """The session of `user`, until a time of the monotonic clock, or until it is ended."""

    user: str
    until_s: float
    is_ended: bool = False

    def is_over(self) -> bool:
        """Whether the session has ended or expired."""
        return self.is_ended or time.monotonic() >= self.until_s


class Sessions:
    """The sessions of one board, by the hash of their ids."""

    def __init__(self) -> None:
        """No session."""
        self._sessions: dict[bytes, Session] = {}

    def begin(self, user: str) -> str:
        """Begin a session; returns its id, the value of the cookie. The oldest session makes room if there are many."""
        while len(self._sessions) >= MOST_SESSIONS:
            self._sessions.pop(next(iter(self._sessions))).is_ended = True
        identity = secrets.token_urlsafe(32)
        self._sessions[_hash(identity)] = Session(user, time.monotonic() + SESSION_S)
        return identity

    def find(self, identity: str) -> Session | None:
        """The session with an id, unless it is over."""
        session = self._sessions.get(_hash(identity))
        return None if session is None or session.is_over() else session

    def end(self, session: Session) -> None:
        """End a session, and its event streams."""
        session.is_ended = True
        self._sessions = {key: each for key, each in self._sessions.items() if not each.is_over()}


def _hash(identity: str) -> bytes:
    """A key whose comparison with others shows nothing about the id."""
    return hashlib.sha256(identity.encode(errors="replace")).digest()

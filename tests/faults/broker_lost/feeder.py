"""Feeds a deployment while faults are injected: a few records at a time, from a thread.

Owns the thread. Must not know which fault is injected. Called by the tests of this folder.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tests.faults.deployment import Deployment
    from tests.faults.topic_log import Message

RECORDS = 200
"""Records that are sent at once, so that there is always something to commit."""
PAUSE_S = 0.5


class Feeder:
    """Sends records a few at a time, until it is left or finishes."""

    def __init__(self, deployment: Deployment, messages: list[Message]) -> None:
        """Nothing is sent yet."""
        self._deployment = deployment
        self._messages = iter([messages[first : first + RECORDS] for first in range(0, len(messages), RECORDS)])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Send nothing more."""
        self._stop.set()
        self._thread.join()

    def finish(self) -> None:
        """Send all the rest without pauses."""
        self.__exit__()
        for messages in self._messages:
            self.sent += self._deployment.send(messages)

    def _run(self) -> None:
        for messages in self._messages:
            self.sent += self._deployment.send(messages)
            if self._stop.wait(PAUSE_S):
                return

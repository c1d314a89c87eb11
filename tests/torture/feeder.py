"""Sends the records of a round while faults happen, from a thread.

Owns the thread. Must not know the faults: who disturbs the broker holds the feeder meanwhile, so that every record is
acknowledged once and the topics hold what the plan says. Called by `tests.torture.rounds`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from aiokafka.errors import KafkaError

from tests.torture.plan import PIECE_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.deployment import Deployment
    from tests.faults.topic_log import Message


class Feeder:
    """Sends piece after piece. As a context manager it begins on entry, and sends nothing more after exit."""

    def __init__(self, deployment: Deployment, pieces: Sequence[Sequence[Message]]) -> None:
        """Nothing is sent yet."""
        self._deployment = deployment
        self._pieces = iter(pieces)
        self._stop = threading.Event()
        self._free = threading.Lock()
        self._is_held = False
        self._thread = threading.Thread(target=self._run)
        self._left: Sequence[Message] = ()
        """A piece that was not sent any more when the end came."""
        self._error: KafkaError | None = None
        self.sent = 0

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Send nothing more."""
        self._stop.set()
        if self._is_held:
            self.release()
        self._thread.join()

    def hold(self) -> None:
        """Send nothing until `release`; what is on its way is acknowledged first."""
        self._free.acquire()
        self._is_held = True

    def release(self) -> None:
        """Go on."""
        self._is_held = False
        self._free.release()

    def finish(self) -> None:
        """Send all the rest at once: pieces are not in order of time, and what comes piece after piece can be late.

        Raises:
            aiokafka.errors.KafkaError: a record was refused.

        """
        self.__exit__()
        if self._error is not None:
            raise self._error
        rest = [message for messages in (self._left, *self._pieces) for message in messages]
        self.sent += self._deployment.send(rest, at_once=True) if rest else 0

    def _run(self) -> None:
        try:
            for messages in self._pieces:
                with self._free:
                    if self._stop.is_set():
                        self._left = messages
                        return
                    self.sent += self._deployment.send(messages, at_once=True)
                if self._stop.wait(PIECE_S):
                    return
        except KafkaError as error:
            self._error = error

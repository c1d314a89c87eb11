"""What people say of alerts: acknowledgements and snoozes, written to the topic `controls`.

Owns their form and the producer. What becomes of them is the engine's: the board learns of it from `health.alerts`, as
everybody does. Called by `agents.board.web.app`, off the event loop.
"""

from __future__ import annotations

import secrets
import threading
import time
from typing import Literal, Protocol

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError
from msgspec import UNSET, Struct, UnsetType

from agents.board.web.responses import UnavailableError
from agents.settings.settings import Settings
from schemas.events import CONTROL_SOURCE

_SEND_WITHIN_S = 10.0


def _identity() -> str:
    """An id that sorts by when it was made: controls of one moment apply in the order of their ids."""
    return f"{time.time_ns():016x}{secrets.token_hex(8)}"


class AlertControl(Struct):
    """An event of `controls` about the alert of a rule on an account."""

    account_id: str
    time: int
    kind: Literal["acknowledge", "snooze"]
    rule: str
    by: str
    until: int | UnsetType = UNSET
    id: str = msgspec.field(default_factory=_identity)


class Controls(Protocol):
    """Takes controls to where the workers read them."""

    def send(self, control: AlertControl) -> None:
        """Return when it is safely there. Raises `UnavailableError`."""

    def close(self) -> None:
        """Let go of the broker."""


class NoControls:
    """Of a board without a broker."""

    def send(self, control: AlertControl) -> None:
        """Refuse."""
        del control
        msg = "this board shows a recording: nobody would read what is written"
        raise UnavailableError(msg)

    def close(self) -> None:
        """Nothing to let go of."""


class KafkaControls:
    """A producer, connected when it is first needed."""

    def __init__(self, settings: Settings) -> None:
        """Keep the settings."""
        self._settings = settings
        self._lock = threading.Lock()
        self._producer: KafkaProducer | None = None

    def send(self, control: AlertControl) -> None:
        """Write it, keyed by the account. Raises `UnavailableError` when the broker does not take it in time."""
        try:
            with self._lock:
                if self._producer is None:
                    self._producer = KafkaProducer(
                        **self._settings.kafka_python(),
                        acks="all",
                        enable_idempotence=False,  # a repeat has the same id, and the engine knows it
                        request_timeout_ms=int(_SEND_WITHIN_S * 1000),
                        max_block_ms=int(_SEND_WITHIN_S * 1000),
                    )
                sent = self._producer.send(
                    CONTROL_SOURCE, key=control.account_id.encode(), value=msgspec.json.encode(control)
                )
                self._producer.flush(_SEND_WITHIN_S)
            sent.get(timeout=_SEND_WITHIN_S)
        except (KafkaError, OSError, ValueError) as error:
            msg = f"the broker did not take it ({type(error).__name__}); try again"
            raise UnavailableError(msg) from error

    def close(self) -> None:
        """Let go of the broker."""
        if self._producer is not None:
            self._producer.close(timeout=1)

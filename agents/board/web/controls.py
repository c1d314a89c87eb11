"""Write acknowledgements and snoozes of alerts to the topic `controls`.

Owns their form and the producer. The engine applies them; the board reads the result from `health.alerts`. Called by
`agents.board.web.app`, off the event loop.
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
    """An id in the order of creation: controls with the same time apply in the order of their ids."""
    return f"{time.time_ns():016x}{secrets.token_hex(8)}"


class AlertControl(Struct):
    """An event of `controls` for the alert of a rule on an account."""

    account_id: str
    time: int
    kind: Literal["acknowledge", "snooze"]
    rule: str
    by: str
    until: int | UnsetType = UNSET
    id: str = msgspec.field(default_factory=_identity)


class Controls(Protocol):
    """Sends controls to the workers."""

    def send(self, control: AlertControl) -> None:
        """Return when the broker has the control. Raises `UnavailableError`."""

    def close(self) -> None:
        """Close the connection."""


class NoControls:
    """The controls of a board without a broker."""

    def send(self, control: AlertControl) -> None:
        """Reject the control."""
        del control
        msg = "this board shows a recording and cannot write controls"
        raise UnavailableError(msg)

    def close(self) -> None:
        """Do nothing."""


class KafkaControls:
    """Writes controls with a producer, which connects for the first one."""

    def __init__(self, settings: Settings, topic: str = CONTROL_SOURCE) -> None:
        """Store the settings and the topic of controls."""
        self._settings, self._topic = settings, topic
        self._lock = threading.Lock()
        self._producer: KafkaProducer | None = None

    def send(self, control: AlertControl) -> None:
        """Write a control, keyed by its account. Raises `UnavailableError` if the broker does not answer in time."""
        try:
            with self._lock:
                if self._producer is None:
                    self._producer = KafkaProducer(
                        **self._settings.kafka_python(),
                        acks="all",
                        enable_idempotence=False,  # a repeat has the same id, so the engine applies it once
                        request_timeout_ms=int(_SEND_WITHIN_S * 1000),
                        max_block_ms=int(_SEND_WITHIN_S * 1000),
                    )
                sent = self._producer.send(
                    self._topic, key=control.account_id.encode(), value=msgspec.json.encode(control)
                )
                self._producer.flush(_SEND_WITHIN_S)
            sent.get(timeout=_SEND_WITHIN_S)
        except (KafkaError, OSError, ValueError) as error:
            msg = f"the control could not be written ({type(error).__name__}); try again"
            raise UnavailableError(msg) from error

    def close(self) -> None:
        """Close the connection."""
        if self._producer is not None:
            self._producer.close(timeout=1)

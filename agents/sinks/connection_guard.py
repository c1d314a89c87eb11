"""Refuses connections to forbidden addresses in code that opens its own connections, such as apprise's services.

Owns an audit hook of the interpreter: Python calls it with the address of every connection, after name resolution and
before the first packet, whichever library connects. It judges only inside `connections_guarded`. Called by
`agents.sinks.receiver`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

Refusal = Callable[[str], str | None]

_EVENTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_active: ContextVar[_Guarded | None] = ContextVar("guarded_connections", default=None)


class RefusedConnectionError(ConnectionRefusedError):
    """The guard refuses the address."""


class _Guarded:
    """The rule, and why it refused addresses."""

    def __init__(self, refusal: Refusal) -> None:
        self._refusal = refusal
        self.reasons: list[str] = []

    def check(self, address: Any) -> None:
        """Raise `RefusedConnectionError` for a forbidden address, a path, or a name that is not resolved."""
        host = address[0] if isinstance(address, tuple) and address else None
        try:
            reason = self._refusal(host) if isinstance(host, str) else "it is not an internet address"
        except ValueError:
            reason = "it is not an address"
        if reason is not None:
            self.reasons.append(reason)
            raise RefusedConnectionError(reason)


@contextmanager
def connections_guarded(refusal: Refusal) -> Iterator[list[str]]:
    """Refuse connections of this thread, and of those that inherit its context, to addresses that `refusal` refuses.

    Gives a list to which the reasons of refused connections are added.
    """
    _install()
    guarded = _Guarded(refusal)
    token = _active.set(guarded)
    try:
        yield guarded.reasons
    finally:
        _active.reset(token)


@cache
def _install() -> None:
    """Add the hook, once: the interpreter keeps it until it ends."""
    sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _EVENTS and (guarded := _active.get()) is not None and (address := arguments[1]) is not None:
        guarded.check(address)

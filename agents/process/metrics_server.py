"""Where a process listens: a server for metrics alone, and a look at a port before anything else is begun.

Owns what is said of a port that can not be had; no process goes on without its metrics. Must not know what is measured.
Called by the commands that serve something; worker and board have servers of their own (`agents.worker.web`,
`agents.board`).
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from agents.settings.settings import SettingsError


@contextmanager
def metrics_server(registry: CollectorRegistry, host: str, port: int, setting: str) -> Iterator[int]:
    """Serve a registry meanwhile; gives the port. Raises `SettingsError` that names `setting`, the port's."""
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise _not_to_be_had(host, port, setting, error) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def require_port(host: str, port: int, setting: str) -> None:
    """See that a port can be listened on. Raises `SettingsError` that names `setting`, the port's."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen()
    except OSError as error:
        raise _not_to_be_had(host, port, setting, error) from error


def _not_to_be_had(host: str, port: int, setting: str, error: OSError) -> SettingsError:
    say = f"set another {setting}, or end what listens there"
    return SettingsError([f"{setting}: {host}:{port} can not be listened on: {error.strerror or error}; {say}"])

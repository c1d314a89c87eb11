"""The HTTP server of a process's Prometheus metrics, and a check that a port is free.

Owns the error for a port that is in use: no process runs without its metrics. Must not know what is measured. Called by
sinks, roll-ups and peer tables; worker and board have servers of their own (`agents.worker.monitoring.web`,
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
    """Serve a registry inside the `with` block; gives the port. Raises `SettingsError` that names `setting`."""
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise _port_error(host, port, setting, error) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def require_port(host: str, port: int, setting: str) -> None:
    """Check that a port is free. Raises `SettingsError` that names `setting`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen()
    except OSError as error:
        raise _port_error(host, port, setting, error) from error


def _port_error(host: str, port: int, setting: str, error: OSError) -> SettingsError:
    advice = f"set another {setting}, or stop the process that uses the port"
    return SettingsError([f"{setting}: cannot listen on {host}:{port}: {error.strerror or error}; {advice}"])

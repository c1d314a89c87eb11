"""The HTTP server of a process's Prometheus metrics and health, and a check that a port is free.

Owns the error for a port that is in use: no process runs without its metrics. Must not know what is measured. Called by
sinks, roll-ups and peer tables; worker and board have servers of their own (`agents.worker.monitoring.web`,
`agents.board`).
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from agents.settings.settings import SettingsError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Problems = Callable[[], list[str]]

_REQUEST_S = 10.0


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = _REQUEST_S  # a connection that sends no request ends, and with it its thread

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is wsgiref's
        """Log nothing."""


@contextmanager
def metrics_server(
    registry: CollectorRegistry, host: str, port: int, setting: str, health: Mapping[str, Problems] | None = None
) -> Iterator[int]:
    """Serve a registry at `/metrics` inside the `with` block; gives the port. Raises `SettingsError` for `setting`.

    `health`: what lists the problems at a path such as `/readyz`, which answers 503 if there are any.
    """
    app = _application(make_wsgi_app(registry), health or {})
    kind = _ServerV6 if ":" in host else _Server
    try:
        server = make_server(host, port, app, server_class=kind, handler_class=_Handler)
    except OSError as error:
        raise _port_error(host, port, setting, error) from error
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _application(metrics: WSGIApplication, health: Mapping[str, Problems]) -> WSGIApplication:
    def answer(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] not in health:
            return metrics(environ, start)
        problems = health[environ["PATH_INFO"]]()
        start("503 Service Unavailable" if problems else "200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"ok": not problems, "problems": problems}).encode()]

    return answer


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

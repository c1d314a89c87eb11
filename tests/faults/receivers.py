"""Receivers of alerts in tests: a web server with the answers of a test, a real Alertmanager; and the sinks.

Owns starting and stopping them, and the requests they got. Must not know which alerts a test sends.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from tests.broker.child import ChildProcess
from tests.broker.jars import tool
from tests.broker.kafka_server import free_port
from tests.faults.worker_process import ROOT, clean_environment

if TYPE_CHECKING:
    from pathlib import Path

_READY_WITHIN_S = 30.0
_PAUSE_S = 0.05
NO_ANSWER = 0
"""In place of a status: do not answer until the client closes the connection."""


class Request(NamedTuple):
    """One request, and the status of its answer."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int

    def json(self) -> Any:
        """Return the body, decoded."""
        return json.loads(self.body)


class Receiver:
    """A web server on 127.0.0.1. `answer` gives the status for a path, headers and body."""

    def __init__(self, answer: Callable[[str, Mapping[str, str], bytes], int] | None = None) -> None:
        """Listen from `start` on; without `answer` every request gets 200."""
        self._answer = answer or (lambda *_: 200)
        self._requests: list[Request] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", free_port()), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        """Serve."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        """The port."""
        return int(self._server.server_address[1])

    def got(self, path: str) -> list[Request]:
        """Return the requests to a path, in order of arrival."""
        with self._lock:
            return [request for request in self._requests if request.path == path]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with receiver._lock:
                    status = receiver._answer(self.path, headers, body)
                    receiver._requests.append(Request(self.path, headers, body, status))
                if status == NO_ANSWER:
                    receiver._closing.wait(3)
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", "0")
                if status in {301, 302, 307, 308}:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class Alertmanager:
    """A real Alertmanager that forwards each alert at once, in a request of its own, to a path of a receiver."""

    def __init__(self, folder: Path, url: str) -> None:
        """Keep its data in `folder`; nothing runs before `start`."""
        self._folder = folder
        self.port = free_port()
        self._process: ChildProcess | None = None
        hook = {"url": url, "send_resolved": True, "max_alerts": 0}
        route = {"receiver": "hook", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
        config = {
            "route": {**route, "repeat_interval": "1h"},
            "receivers": [{"name": "hook", "webhook_configs": [hook]}],
        }
        (folder / "alertmanager.yml").write_text(json.dumps(config), "utf-8")

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until it is ready."""
        command = [
            tool("prometheus-alertmanager"),
            f"--config.file={self._folder / 'alertmanager.yml'}",
            f"--storage.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]
        self._process = ChildProcess(command, log=self._folder / "alertmanager.log")
        deadline = time.monotonic() + _READY_WITHIN_S
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=1):
                    return
            except OSError:
                assert self._process.poll() is None, self._process.log_tail()
                assert time.monotonic() < deadline, self._process.log_tail()
                time.sleep(_PAUSE_S)

    def kill(self) -> None:
        """SIGKILL: its alerts are lost."""
        if self._process is not None:
            self._process.kill()
            self._process = None


def start_sink(name: str, settings: Mapping[str, object], log: Path) -> ChildProcess:
    """Start `vitals sink NAME` with these settings only."""
    command = [sys.executable, "-m", "agents", "sink", name]
    return ChildProcess(command, log=log, env=clean_environment(settings), cwd=ROOT)

"""A real board in its own process, with a broker or a recording.

Owns the process and waits until it is ready. Knows nothing of pages. Called by the tests of this folder.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.broker.child import ChildProcess
from tests.broker.kafka_server import free_port
from tests.faults.worker_process import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0
_PAUSE_S = 0.05


class Board:
    """`vitals board` on a loopback port, which stays the same when the board is killed and started again."""

    def __init__(self, log: Path, *arguments: str, settings: Mapping[str, object] | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log, self._arguments = log, arguments
        self._settings = {**(settings or {}), "board_port": self.port}
        self._child: ChildProcess | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it has read its topics."""
        command = [sys.executable, "-m", "agents", "board", *self._arguments]
        self._child = ChildProcess(command, log=self._log, env=clean_environment(self._settings), cwd=ROOT)
        until = time.monotonic() + PATIENCE_S
        while not self._is_ready():
            status = self._child.wait(_PAUSE_S)
            assert status is None, f"the board ended with {status}:\n{self._child.log_tail()}"
            assert time.monotonic() < until, f"the board is not ready:\n{self._child.log_tail()}"

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._child is not None:
            self._child.kill()

    def ask(self, path: str) -> Any:
        """The answer of its API."""
        token = self._settings.get("board_token")
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"{self.url}{path}", headers=headers)  # noqa: S310  loopback, our own scheme
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  as above
            return json.load(answer)

    def _is_ready(self) -> bool:
        try:
            return bool(self.ask("/api/summary")["ready"])
        except (OSError, urllib.error.HTTPError):
            return False


class Recording:
    """A file of records for `vitals board --from`; records can be added while the board follows it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def add(self, records: Iterable[tuple[str, str, dict | None, int]]) -> None:
        """Append records: topic, key, value, record time (epoch ms)."""
        lines = (
            json.dumps({"topic": topic, "key": key, "value": value, "timestamp": stamp})
            for topic, key, value, stamp in records
        )
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))

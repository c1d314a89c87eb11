"""A real redis-server on 127.0.0.1 that stores nothing on disk unless asked to.

Owns the process and its arguments. Must not know who uses it. Called by tests of the Redis sink.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.broker.child import ChildProcess
from tests.broker.jars import tool
from tests.broker.kafka_server import free_port

if TYPE_CHECKING:
    from pathlib import Path

_READY_WITHIN_S = 120.0


class RedisServer:
    """One server. As a context manager it starts on entry and is killed on exit."""

    def __init__(self, folder: Path, *arguments: str, tls: dict[str, str] | None = None) -> None:
        """`arguments` are added to the command line; `tls` are the options of a client when it speaks TLS only."""
        self.port = free_port()
        self.tls = tls
        ports = ["--port", "0", "--tls-port", str(self.port)] if tls else ["--port", str(self.port)]
        fixed = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
        self._command = [tool("redis-server"), *ports, *fixed, *arguments]
        self._log = folder / "redis.log"
        self._process: ChildProcess | None = None

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill."""
        self.kill()

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:port`, or rediss."""
        return f"{'rediss' if self.tls else 'redis'}://127.0.0.1:{self.port}"

    @property
    def process(self) -> ChildProcess:
        """The running server."""
        assert self._process is not None
        return self._process

    def client(self, **options: Any) -> Any:
        """Return a client that does not retry; answers are text."""
        tls = self.tls or {}
        retry = Retry(NoBackoff(), 0)
        return redis.Redis.from_url(self.url, decode_responses=True, protocol=2, retry=retry, **{**tls, **options})

    def start(self) -> None:
        """Start, again after `kill` too, and wait until it answers."""
        self._process = ChildProcess(self._command, log=self._log)
        deadline = time.monotonic() + _READY_WITHIN_S
        while time.monotonic() < deadline:
            # Waiting for the process to end is the pause between two questions.
            assert self._process.wait(timeout_s=0.05) is None, self._process.log_tail()
            with self.client() as client:
                try:
                    client.ping()
                except redis.ConnectionError:
                    continue
                return
        raise AssertionError(self._process.log_tail())

    def kill(self) -> None:
        """SIGKILL: what is not on disk is gone."""
        if self._process is not None:
            self._process.kill()
            self._process = None

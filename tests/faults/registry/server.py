"""A real schema registry, Apicurio, with the HTTP API of Confluent's.

Owns how it is fetched, unpacked and started. It keeps schemas in memory. Must not know what the schemas say. Called by
`tests.faults.test_registry`.
"""

from __future__ import annotations

import http.client
import os
import tarfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.broker.child import ChildProcess
from tests.broker.jars import fetch_jars, filled_once, tool
from tests.broker.kafka_server import free_port

if TYPE_CHECKING:
    from types import TracebackType

_POM = Path(__file__).with_name("pom.xml")
_API = "/apis/ccompat/v7"
_STARTS_WITHIN_S = 300.0  # it takes 27 s alone on two cores
_PAUSE_S = 0.2


class ApicurioRegistry:
    """One registry process. As a context manager it is started on entry and killed at the end."""

    def __init__(self, folder: Path) -> None:
        """Nothing is fetched or started yet; its log goes into `folder`."""
        self._log = folder / "registry.log"
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}{_API}"
        self.process: ChildProcess

    def __enter__(self) -> Self:
        """Start it, and wait until it answers."""
        jar = next(_unpacked().glob("apicurio-registry-app-*-runner.jar"))
        environment = {**os.environ, "QUARKUS_HTTP_HOST": "127.0.0.1", "QUARKUS_HTTP_PORT": str(self._port)}
        self.process = ChildProcess(
            [tool("java"), "-Xmx384m", "-XX:TieredStopAtLevel=1", "-jar", str(jar)],
            log=self._log,
            env=environment,
            cwd=jar.parent,
        )
        end_s = time.monotonic() + _STARTS_WITHIN_S
        while not self._answers():
            # Waiting for the process to end is the pause between two questions.
            assert self.process.wait(_PAUSE_S) is None, f"the registry has ended:\n{self.process.log_tail()}"
            assert time.monotonic() < end_s, f"the registry does not answer:\n{self.process.log_tail()}"
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Kill it."""
        self.process.kill()

    def _answers(self) -> bool:
        address = f"http://127.0.0.1:{self._port}{_API}/subjects"
        with suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == http.client.OK)
        return False


def _unpacked() -> Path:
    """The folder of the registry's jars, unpacked once."""
    fetched = fetch_jars(_POM, "registry")

    def unpack(folder: Path) -> None:
        with tarfile.open(next(fetched.glob("*.tar.gz"))) as archive:
            archive.extractall(folder, filter="data")

    return filled_once(fetched.with_name(f"{fetched.name}-unpacked"), unpack)

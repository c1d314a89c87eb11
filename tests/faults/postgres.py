"""A PostgreSQL of a test on 127.0.0.1, in a folder that is removed with it.

Owns the server and its data. Must not know what is stored. PostgreSQL refuses to run as root, so a test that does runs
it as `nobody`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from tests.broker.jars import tool
from tests.broker.kafka_server import free_port

USER = "vitals"
DATABASE = "postgres"
_READY_WITHIN_S = 120.0


class Postgres:
    """One server, between entry and exit."""

    def __init__(self) -> None:
        """Prepare; nothing runs before entry. Raises `MissingToolError`."""
        self._psql = tool("psql")
        # Debian has the programs of a server beside each other, and not in PATH.
        folders = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
        path = os.pathsep.join([*folders, os.environ["PATH"]])
        self._programs = {name: shutil.which(name, path=path) or tool(name) for name in ("initdb", "postgres")}
        self._user = "nobody" if os.geteuid() == 0 else None
        self.port = free_port()

    def __enter__(self) -> Self:
        """Create the data and start."""
        self._home = Path(tempfile.mkdtemp(prefix="vitals-postgres-"))
        self._home.chmod(0o755)
        data = self._home / "data"
        data.mkdir(mode=0o700)
        if self._user is not None:
            shutil.chown(data, self._user)
        initdb = [self._programs["initdb"], "-D", str(data), "-U", USER, "-A", "trust", "--no-sync"]
        subprocess.run(initdb, user=self._user, cwd="/", check=True, stdout=subprocess.DEVNULL)
        command = [self._programs["postgres"], "-D", str(data), "-p", str(self.port), "-k", str(data)]
        self._process = subprocess.Popen(
            [*command, "-h", "127.0.0.1", "-F"], user=self._user, cwd="/", stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _READY_WITHIN_S
        while self.query("SELECT 1") != ["1"]:
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        """End the server, and remove its data."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._home)

    def query(self, statement: str) -> list[str]:
        """The rows of an answer, columns separated by `|`; empty after an error, such as a missing table."""
        command = [self._psql, "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", DATABASE, "-X", "-A", "-t"]
        done = subprocess.run([*command, "-c", statement], capture_output=True, text=True, check=False)
        return done.stdout.splitlines()

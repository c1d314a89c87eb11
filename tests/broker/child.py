"""A child process that never outlives its parent, whatever ends the parent: an error, Ctrl-C, SIGKILL.

Owns processes that tests start. Must not know what they are. Called by `kafka_server` and the benchmark.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import IO, TYPE_CHECKING

from tests.broker.jars import tool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# Waits for a line from the parent. End of file instead of a line means that the parent is gone. A kernel "parent death
# signal" would fire already when the *thread* that started the child ends, which tests do.
_GUARD = 'read -r _ || kill -9 "$1" 2>/dev/null'


class ChildProcess:
    """A started process, in a session of its own so that Ctrl-C reaches it only through its parent."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdout: int | IO[bytes] | None = None,
    ) -> None:
        """Start `command`; stderr is appended to `log`, and stdout too unless `stdout` says otherwise."""
        self.command = list(command)
        self.log = log
        shell = tool("sh")
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=sink if stdout is None else stdout,
                stderr=sink,
                env=None if env is None else dict(env),
                cwd=cwd,
                start_new_session=True,
            )
        self._guard = subprocess.Popen(
            [shell, "-c", _GUARD, "guard", str(self._process.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        code = self._process.poll()
        if code is not None:
            self._release()
        return code

    def wait(self, timeout_s: float) -> int | None:
        """Wait up to `timeout_s` seconds; return the exit code, or None when it still runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return self.poll()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def suspend(self) -> None:
        """SIGSTOP, and return once it stands still."""
        self.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def kill(self) -> None:
        """SIGKILL and reap; does nothing when it has ended."""
        self.send_signal(signal.SIGKILL)
        self._process.wait()
        self._release()

    def terminate(self, timeout_s: float) -> int:
        """SIGTERM, then SIGKILL after `timeout_s` seconds; return the exit code (-9 when it had to be killed)."""
        self.send_signal(signal.SIGCONT)
        self.send_signal(signal.SIGTERM)
        if self.wait(timeout_s) is None:
            self.kill()
        return self._process.returncode

    def log_tail(self, lines: int = 30) -> str:
        """Return the last lines of the log, for error messages."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])

    def _release(self) -> None:
        """Let the guard go, so that it can't hit another process that gets this id later."""
        if self._guard.stdin is not None and not self._guard.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.write(b"ended\n")
                self._guard.stdin.flush()
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.close()
            self._guard.wait()

"""Start and stop child processes that never outlive the demo, and find free ports for them.

Called by `agents.demo.broker`, `agents.demo.board` and `agents.demo.worker`.
"""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from agents.process.children import dying_with_parent

LAST_LINES = 15


def free_port() -> int:
    """A TCP port that nothing listens on at the loopback address right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Child:
    """One process with its output in a file. Create it on the main thread: it ends with the thread that started it."""

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                start_new_session=True,  # the demo handles Ctrl-C and stops its children in order
                preexec_fn=dying_with_parent(),  # noqa: PLW1509  one system call, prepared before the fork
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative after a signal."""
        return self._process.poll()

    def kill(self) -> None:
        """Send SIGKILL and wait for its end."""
        self._process.kill()
        self._process.wait()

    def stop(self, by: signal.Signals, patience_s: float) -> None:
        """Send the signal, and SIGKILL if it is still running after `patience_s` seconds."""
        if self.exit_code is None:
            self._process.send_signal(by)
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                self.kill()

    def last_lines(self) -> str:
        """The last lines it wrote, for an error message."""
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LAST_LINES:]) or "(it wrote nothing)"

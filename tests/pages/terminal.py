"""A terminal with a shell in it, as a person uses one: commands one after the other, Ctrl-C, one current folder.

Owns the pseudo-terminal and the shell. Must not know what is typed. Called by the test of the tutorial. When the
process of the test ends for any reason, the terminal hangs up, and the kernel ends what still runs in it.
"""

from __future__ import annotations

import codecs
import os
import pty
import select
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Self

from tests.broker.jars import tool

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping
    from pathlib import Path

_END = "--- end of output, status"
_PRINT_STATUS = f"printf -- '{_END} %d\\n' $?\n"
_COLUMNS = 120
# The shell leads a session of its own whose controlling terminal is its standard input: that makes Ctrl-C work. And it
# does not ignore it, as all do that a run of tests starts which was itself started with `&` in a script.
_TAKE_TERMINAL = (
    "import fcntl, os, signal, sys, termios; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
_PLAIN = {
    "PS1": "",
    "PS2": "",
    "VIRTUAL_ENV_DISABLE_PROMPT": "1",
    "TERM": "dumb",
    "NO_COLOR": "1",
    # Both, or Rich takes a dumb terminal to be 80 columns wide.
    "COLUMNS": str(_COLUMNS),
    "LINES": "50",
}


class TerminalError(AssertionError):
    """A command did not end, or not print what was waited for, in time; the message has what it printed."""


class Terminal:
    """One terminal; as a context manager it hangs up on exit."""

    def __init__(self, folder: Path, environment: Mapping[str, str], patience_s: float = 480.0) -> None:
        """Open it in `folder`. A command that takes longer than `patience_s` seconds is an error."""
        self._patience_s = patience_s
        self._output = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._ours, theirs = pty.openpty()
        _make_plain(theirs)
        self._shell = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, tool("bash"), "--norc", "--noprofile", "--noediting", "-i"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
            env={**environment, **_PLAIN},
            start_new_session=True,
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        """Return the terminal, which is open since it was made."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up, and end the shell."""
        os.close(self._ours)
        self._shell.kill()
        self._shell.wait()

    def run(self, command: str) -> tuple[str, int]:
        """Type a command, wait until it has ended, and return what it printed and its exit status."""
        self._type(f"{command}\n")
        return self._end()

    def start(self, command: str, shown: re.Pattern[str]) -> None:
        """Type a command that goes on running, and wait until its output matches from the beginning.

        Raises TerminalError when it ends before.
        """
        self._type(f"{command}\n{_PRINT_STATUS}")  # Ctrl-C discards the second line if the command still runs
        self._read_until(lambda output: shown.match(output) is not None or _has_ended(output), command)
        if _has_ended(self._output):
            message = f"{command} ended; the terminal shows:\n{self._output}"
            raise TerminalError(message)

    def interrupt(self) -> tuple[str, int]:
        """Press Ctrl-C, and return all that the command printed and its exit status."""
        self._type("\x03")
        return self._end()

    def _type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def _end(self) -> tuple[str, int]:
        self._type(_PRINT_STATUS)
        self._read_until(_has_ended, "the end of a command")
        output, _, status = self._output.partition(f"{_END} ")
        self._output = ""
        return output, int(status)

    def _read_until(self, is_enough: Callable[[str], bool], what: str) -> None:
        deadline = time.monotonic() + self._patience_s
        while not is_enough(self._output):
            ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                message = f"waited {self._patience_s:.0f} s for {what}; the terminal shows:\n{self._output}"
                raise TerminalError(message)
            self._output += self._decoder.decode(os.read(self._ours, 65536))


def _has_ended(output: str) -> bool:
    return f"{_END} " in output and output.endswith("\n")


def _make_plain(terminal: int) -> None:
    """Switch off the echo, and the change of line ends that only screens need; make it wide enough for tables."""
    attributes = termios.tcgetattr(terminal)
    attributes[1] &= ~termios.OPOST
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)
    termios.tcsetwinsize(terminal, (50, _COLUMNS))

"""An import from its files to the topics: where it is saved, and how it goes on after a kill.

Owns the order of steps: a list of events is saved as sent when the broker has acknowledged all of it, so after a kill
at most one list is sent again, with the same ids. Called by `vitals import`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from agents.files.playback import BadLine
from agents.imports.rejects import Rejects
from agents.imports.sender import Sender
from agents.imports.spool import Spool
from agents.process.progress import Progress

AT_ONCE = 5_000
"""Events that are sent before the progress is saved."""


def spool_path(folder: Path, broker: str, paths: Sequence[Path]) -> Path:
    """Where the import of these files to this broker is saved; the same for the same command."""
    named = "\0".join([broker, *(path.as_posix() for path in paths)])
    return folder / f"{hashlib.sha256(named.encode()).hexdigest()[:16]}.sqlite3"


def send_all(spool: Spool, sender: Sender, rejects: Rejects, progress: Progress) -> None:
    """Send what is not sent. Raises `BrokerError`, SpoolError, OSError; then the same call goes on later."""
    state, total = spool.state, spool.state.plan.events
    for events in spool.unsent(AT_ONCE):
        refused = sender.send(events)
        for event, reason, message in refused:
            rejects.add(BadLine(event.file, event.line, reason, message), event.value)
        rejects.flush()
        spool.mark_sent(events, len(refused))
        progress("events sent", state.sent + state.refused, total)
    spool.finish()

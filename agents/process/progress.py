"""A bar for work that takes its time: on a terminal, and nothing elsewhere.

Owns what a bar shows: what is done, how much of it, the rate and the time left. Called by commands.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int | None], None]
"""Called with what is being done, how much is done, and the total if it is known."""


def unseen(_what: str, _done: int, _total: int | None) -> None:
    """Show no progress."""


@contextmanager
def progress_bar(after_s: float = 0.5) -> Iterator[Progress]:
    """A bar on stderr if it is a terminal; it is gone when the work is done.

    Work that is done within `after_s` shows none.
    """
    if not sys.stderr.isatty():
        yield unseen
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415 -- as below
    from rich.progress import Progress as Bars  # noqa: PLC0415 -- slow, and for a terminal only

    from agents.process.console import SafeConsole  # noqa: PLC0415 -- as above

    console = SafeConsole(stderr=True)
    if console.is_dumb_terminal:  # it cannot take a bar away, and would keep an empty line
        yield unseen
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    bars = Bars(*columns, console=console, transient=True)
    bar = bars.add_task("", total=None, rate="")
    began, shown = time.monotonic(), ""

    def show(what: str, done: int, total: int | None) -> None:
        nonlocal shown
        if time.monotonic() - began < after_s:
            return
        if what != shown:
            shown = what
            bars.reset(bar, description=what, total=total, rate="")
            bars.start()
        speed = bars.tasks[0].speed
        bars.update(bar, completed=done, total=total, rate=f"{speed:,.0f}/s" if speed else "")

    try:
        yield show
    finally:
        if shown:
            bars.stop()

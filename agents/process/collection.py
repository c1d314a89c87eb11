"""Garbage collection in processes that work on many objects.

Owns when the interpreter looks for cycles of objects. Called by commands that read event files, and by workers.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_THRESHOLDS = 50_000, 50, 100
"""New objects for a collection, and collections for a larger and for a full one: those are rare."""


def collect_rarely() -> None:
    """Look for cycles rarely, and not among the objects that exist now, of which most stay until the process ends."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


@contextmanager
def rare_collections() -> Iterator[None]:
    """`collect_rarely` while a command runs: its events and messages are hundreds of thousands of objects."""
    before = gc.get_threshold()
    collect_rarely()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()

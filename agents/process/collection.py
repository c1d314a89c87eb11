"""Garbage collection while a command works on many objects.

Owns when the interpreter looks for cycles of objects. Called by commands that read event files.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_THRESHOLDS = 50_000, 20, 100
"""As many new objects for a collection as one of 1,000 lines makes a few times over; full ones are rare."""


@contextmanager
def rare_collections() -> Iterator[None]:
    """Look for cycles rarely, and not among the objects that exist now.

    Events, messages and modules are hundreds of thousands of objects that stay until a command ends, and every
    collection would go through them.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()

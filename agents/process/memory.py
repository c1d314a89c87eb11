"""Memory that was freed and that the C library keeps for later.

Owns giving it back to the system. Called where much was freed at once and as much is not needed again soon.
"""

from __future__ import annotations

import ctypes
import sys


def give_back_memory() -> None:
    """Give memory that was freed back to the system, where the C library can do that: glibc.

    By itself glibc gives back only what lies behind all that is in use. After a restore that is next to nothing: names
    of accounts lie between the records that they were read from.
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)

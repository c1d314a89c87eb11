"""Memory that was freed goes back to the system, where the C library can do that."""

from __future__ import annotations

import platform

import psutil

from agents.process.memory import give_back_memory

MEGABYTE = 1024 * 1024


def resident() -> int:
    return int(psutil.Process().memory_info().rss)


def test_memory_that_was_freed_goes_back_though_something_lies_behind_it() -> None:
    small = [bytes(2000) for _ in range(50_000)]
    last = bytes(2000)
    before = resident()
    small.clear()
    give_back_memory()
    if platform.libc_ver()[0] == "glibc":  # with others it must do no harm
        assert resident() < before - 50 * MEGABYTE
    assert len(last) == 2000

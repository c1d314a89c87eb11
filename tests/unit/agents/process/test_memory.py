"""Memory that was freed goes back to the system, where the C library can do that."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from agents.process.memory import give_back_memory

MEGABYTE = 1024 * 1024


def resident() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can")
def test_memory_that_was_freed_goes_back_though_something_lies_behind_it() -> None:
    small = [bytes(2000) for _ in range(50_000)]
    last = bytes(2000)
    before = resident()
    small.clear()
    give_back_memory()
    assert resident() < before - 50 * MEGABYTE
    assert len(last) == 2000

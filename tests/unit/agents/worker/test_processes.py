"""Workers of one pool end together, and each is asked to once: a second signal would end it in the middle."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from agents.settings.settings import load_settings
from agents.worker import processes as pool


class Child:
    """A worker that ends when it is asked to, at once or after the loop has turned for a while."""

    def __init__(self, pid: int, *, turns: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.asked = 0
        self._turns = turns
        self._ending = asyncio.Event()

    def terminate(self) -> None:
        self.asked += 1
        self._ending.set()

    async def wait(self) -> int:
        await self._ending.wait()
        for _ in range(self._turns):
            await asyncio.sleep(0)
        self.returncode = 0
        return 0


def test_a_worker_that_ends_slowly_is_not_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[Child] = []

    async def start(*_: object, **__: object) -> Child:
        children.append(Child(1 + len(children), turns=100 * len(children)))
        if len(children) == 2:
            # The pool listens for signals before it next waits.
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        return children[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    assert pool.run_pool(load_settings(web_port=7000), 2, []) == 0
    assert [child.asked for child in children] == [1, 1]

"""Several worker processes under one command: Python uses one core a process.

Owns the child processes: starts them, passes signals on, and ends them all when one ends. Must not know what a worker
does.
Called by `vitals worker --processes`.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence

import structlog

from agents.process.children import dying_with_parent
from agents.settings.settings import Settings, child_environment

log = structlog.get_logger()


def run_pool(settings: Settings, processes: int, options: Sequence[str]) -> int:
    """Run `processes` workers until a signal, or the end of one of them, ends all; return the first bad status, or 0.

    Each child gets `options`, and an instance and a web port of its own: `instance` followed by its number, and
    `web_port` plus its number.
    """
    return asyncio.run(_run(settings, processes, options))


async def _run(settings: Settings, processes: int, options: Sequence[str]) -> int:
    children = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "account_vitals", "worker", *options),
            env=child_environment(**_own(settings, number)),
            start_new_session=True,  # Ctrl-C in the terminal reaches the children only through us
            preexec_fn=dying_with_parent(),
        )
        for number in range(processes)
    ]

    signalled: set[int] = set()

    def stop() -> None:
        # Once each: a second signal would end a worker at once, in the middle of its last commit.
        for child in children:
            if child.returncode is None and child.pid not in signalled:
                signalled.add(child.pid)
                child.terminate()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    ends = [asyncio.create_task(child.wait()) for child in children]
    done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for end in done:
        if end.result():
            log.error("worker_ended", status=end.result(), then="the others are stopped, so that all start again")
    stop()
    return next((status for status in await asyncio.gather(*ends) if status), 0)


def _own(settings: Settings, number: int) -> dict[str, object]:
    own: dict[str, object] = {"web_port": settings.web_port + number if settings.web_port else 0}
    return {**own, "instance": f"{settings.instance}-{number}"} if settings.instance else own

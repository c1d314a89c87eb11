"""Watch the session: notice at once that it is lost, and begin anew with the broker as soon as that answers.

Owns what follows from a lease that ran out. It is looked at several times a second, because nothing else is sure to
happen: the rebalance that a lost session causes may be minutes away when the network is broken. While the group is
silent, the broker is asked on a connection of its own (`agents.worker.client.probe`); when it answers again, all other
connections are closed, because what was lost on them would be waited for until requests time out. Run by
`agents.worker.wiring`. Decision 30 says why.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from agents.worker.commit.lease import SILENT_S, Lease

log = structlog.get_logger()

CHECK_S = 0.2
ASK_S = 1.0
AGAIN_S = 60.0
"""After so long without a lease, though the broker answers, connections are closed once more."""


class SessionWatch:
    """Watches the lease of one worker."""

    def __init__(
        self,
        lease: Lease,
        *,
        session_lost: Callable[[], bool],
        answers: Callable[[], Awaitable[bool]],
        reconnect: Callable[[], None],
    ) -> None:
        """`session_lost` closes tasks where the lease is lost; `answers` asks the broker; `reconnect` begins anew."""
        self._lease = lease
        self._session_lost = session_lost
        self._answers = answers
        self._reconnect = reconnect
        self._held = False
        self._owes_reconnect = False
        self._reconnected_at = time.monotonic()
        self.away = False
        """Whether the broker is known not to answer."""

    async def run(self) -> None:
        """Watch for ever."""
        await asyncio.gather(self._watch(), self._ask())

    def problem(self) -> str | None:
        """Why the worker is not ready, as far as the session says."""
        if self.away:
            return "the broker does not answer"
        silent_s = self._lease.silent_s()
        if self._held and silent_s > SILENT_S:
            return f"the group has not answered a heartbeat for {silent_s:.0f} s"
        if not self._lease.holds():
            return "this worker is not in the consumer group"
        return None

    def check(self) -> None:
        """Close the tasks of a lease that was lost since the last check."""
        holds = self._lease.holds()
        if self._session_lost() or (self._held and not holds):
            self._owes_reconnect = True
        self._held = holds

    async def _watch(self) -> None:
        while True:
            self.check()
            await asyncio.sleep(CHECK_S)

    async def _ask(self) -> None:
        while True:
            if self._lease.silent_s() < SILENT_S:
                self.away = False
                await asyncio.sleep(CHECK_S)
                continue
            await self.ask()
            await asyncio.sleep(ASK_S)

    async def ask(self) -> None:
        """Ask the broker once; begin anew with it when it answers and the session was lost."""
        answers, was_away = await self._answers(), self.away
        self.away = not answers
        if not answers:
            if not was_away:
                log.error("broker_does_not_answer", will="retry")
            return
        long_ago = time.monotonic() - self._reconnected_at > AGAIN_S and not self._lease.holds()
        if was_away or self._owes_reconnect or long_ago:
            log.info("reconnect", then="the group is joined again")
            self._owes_reconnect, self._reconnected_at = False, time.monotonic()
            self._reconnect()

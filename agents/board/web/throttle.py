"""Limits how often wrong tokens may be tried, for each client and over all clients, and logs the attempts.

Owns both limits, the log lines and the counts. Knows no tokens. Called by `agents.board.web.auth`.
"""

from __future__ import annotations

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

import structlog

from agents.board.web.addresses import client_key

OF_ONE_CLIENT = (10, 6.0)
"""Wrong tokens at once, and seconds until one more may be tried."""
OF_ALL_CLIENTS = (100, 1.0)
MOST_CLIENTS = 10_000
LOG_EVERY_S = 10.0

_log = structlog.get_logger(__name__)


class ThrottledError(RuntimeError):
    """Too many wrong tokens were tried; the token of this request was not compared."""

    def __init__(self, wait_s: float) -> None:
        """`wait_s`: when the client may try again."""
        self.retry_after = str(math.ceil(wait_s))
        super().__init__(f"too many wrong tokens; try again in {self.retry_after} seconds")


class _Bucket:
    """A token bucket that is stored as the time at which it is full again (GCRA)."""

    def __init__(self, size: int, refill_s: float) -> None:
        self._largest_s, self._refill_s = size * refill_s, refill_s
        self._full_at_s = 0.0

    def wait_s(self, now_s: float) -> float:
        """Seconds until the bucket has one more; 0 if it has one now."""
        return max(0.0, self._full_at_s + self._refill_s - self._largest_s - now_s)

    def take(self, now_s: float) -> None:
        """Take one out."""
        self._full_at_s = max(self._full_at_s, now_s) + self._refill_s


class Throttle:
    """The attempts of all clients. A client that once had the right token is not subject to the limit over all."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        """No attempts yet."""
        self.outcomes = Counter({"accepted": 0, "refused": 0, "throttled": 0})
        self._clock_s = clock_s
        self._all = _Bucket(*OF_ALL_CLIENTS)
        self._clients: OrderedDict[str, _Bucket] = OrderedDict()
        self._accepted: OrderedDict[str, None] = OrderedDict()
        self._unlogged, self._logged_s = 0, -LOG_EVERY_S

    def check(self, address: str) -> None:
        """Raise `ThrottledError` if the client may not try a token now."""
        client, now_s = client_key(address), self._clock_s()
        bucket = self._clients.get(client)
        wait_s = 0.0 if bucket is None else bucket.wait_s(now_s)
        if client not in self._accepted:
            wait_s = max(wait_s, self._all.wait_s(now_s))
        if wait_s:
            self.outcomes["throttled"] += 1
            self._unlogged += 1
            if now_s - self._logged_s >= LOG_EVERY_S:
                _log.warning("sign_ins_throttled", address=address, attempts=self._unlogged)
                self._unlogged, self._logged_s = 0, now_s
            raise ThrottledError(wait_s)

    def refused(self, address: str) -> None:
        """Count and log a wrong token."""
        client, now_s = client_key(address), self._clock_s()
        self.outcomes["refused"] += 1
        self._all.take(now_s)
        self._clients.setdefault(client, _Bucket(*OF_ONE_CLIENT)).take(now_s)
        _shorten(self._clients, client)
        _log.warning("sign_in_refused", address=address)  # the limits bound these lines too

    def accepted(self, address: str) -> None:
        """Count a right token, and forget the client's wrong ones."""
        client = client_key(address)
        self.outcomes["accepted"] += 1
        self._clients.pop(client, None)
        self._accepted[client] = None
        _shorten(self._accepted, client)


def _shorten(clients: OrderedDict[str, _Bucket] | OrderedDict[str, None], latest: str) -> None:
    """Drop the client that tried the longest ago if there are too many."""
    clients.move_to_end(latest)
    if len(clients) > MOST_CLIENTS:
        clients.popitem(last=False)

"""A lease that has run out stays lost until the next assignment."""

from __future__ import annotations

import math
import time

from agents.worker.commit.lease import Lease


def test_no_lease_is_held_before_the_first_assignment() -> None:
    lease = Lease(10)
    lease.renew(time.monotonic())
    assert not lease.holds()
    assert lease.silent_s() == math.inf


def test_an_answered_heartbeat_renews_a_lease_from_the_moment_it_was_sent() -> None:
    lease, now = Lease(10), time.monotonic()
    lease.begin(now - 8)
    assert lease.holds()
    assert 8 <= lease.silent_s() < 9
    lease.renew(now - 1)
    assert 1 <= lease.silent_s() < 2
    lease.renew(now - 5)
    assert lease.silent_s() < 2, "an older heartbeat that is answered later takes nothing away"


def test_a_heartbeat_that_is_answered_late_does_not_bring_a_lost_lease_back() -> None:
    lease, now = Lease(10), time.monotonic()
    lease.begin(now - 11)
    lease.renew(now)
    assert not lease.holds()
    lease.begin(now)
    assert lease.holds()


def test_a_lease_ends_when_the_group_says_so() -> None:
    lease = Lease(10)
    lease.begin(time.monotonic())
    lease.end()
    lease.renew(time.monotonic())
    assert not lease.holds()
    assert lease.silent_s() == math.inf

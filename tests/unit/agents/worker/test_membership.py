"""Before it joins, a worker finds out whether another living worker has its instance name."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agents.kafka.client import BrokerError
from agents.settings.settings import Settings
from agents.worker import membership as membership_module
from agents.worker.fatal import RefusedError
from agents.worker.identity import Client
from agents.worker.membership import Membership

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

THIS = Client("1.0", "cafe", "7-aa", "here")
PREDECESSOR = THIS._replace(token="6-bb").client_id()
ELSEWHERE = Client("1.0", "cafe", "7-cc", "there").client_id()


class Clock:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(membership_module, "time", made)
    return made


def raised(error: BaseException) -> None:
    raise error


def member(
    folder: Path, holders: Sequence[str | None] | Callable[[], str | None], instance: str | None = "one"
) -> Membership:
    """A worker whose name is held by one after the other; the last one keeps it."""
    left = [] if callable(holders) else list(holders)

    def holder() -> str | None:
        return left.pop(0) if len(left) > 1 else left[0]

    return Membership(
        Settings(instance=instance, session_timeout_s=10),
        THIS,
        on_fatal=raised,
        holder=holders if callable(holders) else holder,
        dismiss=lambda: None,
        folder=folder,
    )


def test_a_free_name_is_taken_at_once(tmp_path: Path, clock: Clock) -> None:
    member(tmp_path, [None]).check()
    assert clock.now == 0


def test_the_dead_predecessor_of_the_same_host_is_not_waited_for(tmp_path: Path, clock: Clock) -> None:
    member(tmp_path, [PREDECESSOR]).check()
    assert clock.now == 0


def test_a_dead_worker_of_another_host_is_waited_for(tmp_path: Path, clock: Clock) -> None:
    member(tmp_path, [ELSEWHERE] * 8 + [None]).check()
    assert clock.now == 8


def test_a_living_worker_of_another_host_is_named_after_a_session_timeout(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(RefusedError) as caught:
        member(tmp_path, [ELSEWHERE]).check()
    assert 15 < clock.now < 20
    assert "have the instance name 'one': worker 'one' on there, version 1.0, which runs" in str(caught.value)
    assert "worker 'one' on here, this one" in str(caught.value)
    assert "VITALS_INSTANCE of its own" in caught.value.way_out


def test_a_living_worker_of_the_same_host_is_found_by_the_lock_at_once(tmp_path: Path, clock: Clock) -> None:
    first, second = member(tmp_path, [None]), member(tmp_path, [PREDECESSOR])
    first.check()
    with pytest.raises(RefusedError, match="have the instance name 'one'"):
        second.check()
    assert clock.now == 0


def test_a_worker_whose_name_was_taken_while_it_was_away_does_not_take_it_back(tmp_path: Path, clock: Clock) -> None:
    worker = member(tmp_path, [None, THIS.client_id(), PREDECESSOR])
    worker.check()
    worker.check()
    with pytest.raises(RefusedError):
        worker.check()
    assert clock.now == 0


def test_a_worker_of_an_earlier_version_is_waited_for(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(RefusedError, match=r"another host \(client id faust-0\.15\.3\)"):
        member(tmp_path, ["faust-0.15.3"]).check()
    assert clock.now > 10


def test_a_broker_that_does_not_describe_the_group_is_no_reason_to_wait(tmp_path: Path, clock: Clock) -> None:
    def refuses() -> str | None:
        raise BrokerError("not authorised")

    member(tmp_path, refuses).check()
    assert clock.now == 0


def test_a_worker_without_a_name_asks_nobody(tmp_path: Path) -> None:
    def asked() -> str | None:
        raise AssertionError

    asyncio.run(member(tmp_path, asked, instance=None).before_join())


def test_a_rival_ends_the_process(tmp_path: Path, clock: Clock) -> None:
    del clock
    with pytest.raises(RefusedError):
        asyncio.run(member(tmp_path, [ELSEWHERE]).before_join())


def test_only_a_predecessor_that_can_not_run_any_more_is_dismissed(tmp_path: Path, clock: Clock) -> None:
    dismissed: list[str] = []

    def check(holder: str | None, name: str) -> None:
        worker = Membership(
            Settings(instance=name, session_timeout_s=10),
            THIS,
            on_fatal=raised,
            holder=lambda: holder,
            dismiss=lambda: dismissed.append(name),
            folder=tmp_path,
        )
        worker.check()

    check(None, "free")
    check(PREDECESSOR, "here")
    with pytest.raises(RefusedError):
        check(ELSEWHERE, "there")
    assert dismissed == ["here"]
    assert clock.now > 10


def test_a_worker_joins_although_its_predecessor_can_not_be_dismissed(tmp_path: Path, clock: Clock) -> None:
    def refuses() -> None:
        raise BrokerError("not authorised")

    Membership(
        Settings(instance="one"), THIS, on_fatal=raised, holder=lambda: PREDECESSOR, dismiss=refuses, folder=tmp_path
    ).check()
    assert clock.now == 0

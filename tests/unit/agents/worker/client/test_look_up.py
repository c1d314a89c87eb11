"""Look-ups wait for a broker that does not answer, and raise what waiting can not mend."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import (
    IllegalStateError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    TopicAuthorizationFailedError,
)

from agents.worker.client import look_up as look_ups
from agents.worker.client.look_up import look_up


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_ups, "FIRST_PAUSE_S", 0.0)


@pytest.mark.parametrize("error", [KafkaTimeoutError(), TimeoutError(), KafkaConnectionError(), NodeNotReadyError()])
def test_a_look_up_is_tried_again_until_the_broker_answers(error: Exception) -> None:
    errors = [error] * 3

    async def ask(number: int) -> int:
        if errors:
            raise errors.pop()
        return number + 1

    assert asyncio.run(look_up("offsets", ask, 1)) == 2
    assert not errors


@pytest.mark.parametrize("error", [IllegalStateError(), TopicAuthorizationFailedError("t")])
def test_an_error_that_does_not_pass_is_raised(error: KafkaError) -> None:
    async def ask() -> None:
        raise error

    with pytest.raises(type(error)):
        asyncio.run(look_up("offsets", ask))


def test_a_look_up_ends_when_whoever_asks_is_cancelled() -> None:
    """A recovery that is overtaken by the next rebalance."""

    async def ask() -> None:
        raise KafkaTimeoutError

    async def scenario() -> None:
        asking = asyncio.ensure_future(look_up("offsets", ask))
        for _ in range(5):
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(scenario())

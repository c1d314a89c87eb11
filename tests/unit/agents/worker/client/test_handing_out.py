"""Records are handed out before aiokafka looks for what to fetch next, with aiokafka's own fetcher."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.protocol.fetch import FetchResponse_v4
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import TopicPartition

from agents.worker.client.thread import handing_out_first

TP = TopicPartition("events", 0)
FETCHES = 20


class Client:
    """A broker that answers each fetch with one record."""

    _metadata_max_age_ms = 300_000

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.cluster = self

    def leader_for_partition(self, tp: TopicPartition) -> int:
        assert tp == TP
        return 1

    async def send(self, _node: int, request: Any) -> FetchResponse_v4:
        await asyncio.sleep(0)
        offset = request.topics[0][1][0][1]
        builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1000)
        builder.append(0, timestamp=1, key=b"key", value=b"value", headers=[])
        batch = offset.to_bytes(8, "big") + bytes(builder.build())[8:]
        return FetchResponse_v4(0, [(TP.topic, [(0, 0, offset + 1, offset + 1, [], batch)])])


async def looks(*, first: bool) -> int:
    """How often aiokafka looks for what to fetch while so many records are taken, one after the other."""
    subscriptions = SubscriptionState()
    subscriptions.subscribe({TP.topic})
    subscriptions.assign_from_subscribed({TP})
    subscriptions.subscription.assignment.state_value(TP).seek(0)
    fetches: Any = Fetcher(Client(), subscriptions)
    look, count = fetches._get_actions_per_node, 0

    def counted(assignment: Any) -> Any:
        nonlocal count
        count += 1
        return look(assignment)

    fetches._get_actions_per_node = counted
    if first:
        fetches._proc_fetch_request = handing_out_first(fetches, fetches._proc_fetch_request)
    try:
        for expected in range(FETCHES):
            records = (await fetches.fetched_records({TP}, timeout=10))[TP]
            assert [record.offset for record in records] == [expected]
    finally:
        await fetches.close()
    return count


@pytest.mark.parametrize(("first", "times"), [(False, 2), (True, 1)])
def test_aiokafka_looks_once_for_each_fetch(first: bool, times: int) -> None:
    assert asyncio.run(looks(first=first)) == pytest.approx(times * FETCHES, abs=2)

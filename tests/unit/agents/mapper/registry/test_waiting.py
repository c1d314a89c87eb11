"""The mapper waits for a registry that is away: it writes and commits nothing, says so, and goes on by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agents.kafka.client import BrokerError
from agents.mapper import mapper as module
from agents.mapper.mapper import Mapper
from agents.mapper.metrics import MapperTelemetry
from agents.settings.settings import load_settings
from schemas.sources import BUILT_IN
from tests.driving.schema_registry import SchemaRegistry
from tests.unit.agents.mapper.registry.test_registry import MAPPING, avro_value
from tests.unit.agents.mapper.test_mapper import Producer
from tests.unit.agents.mapper.test_records import Consumed

if TYPE_CHECKING:
    from collections.abc import Callable


class Polled:
    """A consumer that has these records in its first poll."""

    def __init__(self, records: list[Any]) -> None:
        self._records, self.commits = records, 0

    def subscribe(self, topics: list[str]) -> None:
        assert topics

    def poll(self, timeout_ms: int) -> dict[str, list[Any]]:
        assert timeout_ms
        records, self._records = self._records, []
        return {"orders-0": records}

    def commit(self) -> None:
        self.commits += 1


def mapper_of(registry: SchemaRegistry, monkeypatch: pytest.MonkeyPatch, on_pause: Callable[[Any], None]) -> Any:
    """A mapper whose pauses call `on_pause` with it."""
    producer = Producer()
    monkeypatch.setattr(module, "consumer_of", lambda *_, **__: None)
    monkeypatch.setattr(module, "producer_of", lambda *_, **__: producer)
    settings = load_settings(registry_url=registry.url)
    mapper: Any = Mapper(settings, MAPPING, ["orders"], BUILT_IN, MapperTelemetry())
    monkeypatch.setattr(mapper.relay, "pause", lambda _seconds: on_pause(mapper))
    return mapper


def test_records_wait_until_the_registry_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[list[str]] = []
    with SchemaRegistry() as registry:
        record = Consumed(avro_value(registry))
        registry.away = 503

        def pause(mapper: Any) -> None:
            said.append(mapper.unready())
            assert not mapper._producer.written
            if len(said) == 3:
                registry.away = None

        mapper = mapper_of(registry, monkeypatch, pause)
        assert mapper._map([record]) == 1
        assert [topic for topic, _ in mapper._producer.written] == ["billing"]
    assert len(said) == 3
    assert all("answers 503" in problem for (problem,) in said)
    assert mapper.unready() == []


@pytest.mark.parametrize("once", [True, False])
def test_a_mapper_that_ends_meanwhile_commits_nothing(monkeypatch: pytest.MonkeyPatch, *, once: bool) -> None:
    """With `--once` it fails after some tries, else it ends when it is asked to; neither commits the poll."""
    with SchemaRegistry() as registry:
        record = Consumed(avro_value(registry))
        registry.away = 500
        pauses: list[Any] = []

        def pause(mapper: Any) -> None:
            pauses.append(mapper)
            if not once:
                mapper.relay.stop()

        mapper = mapper_of(registry, monkeypatch, pause)
        mapper._once = once
        consumer = mapper._consumer = Polled([record])
        mapper.relay._consumer = consumer
        if once:
            with pytest.raises(BrokerError, match="nothing of this and later records was written"):
                mapper.relay.run(["orders"], mapper._map)
        else:
            assert mapper.relay.run(["orders"], mapper._map) == 0
        assert not consumer.commits
        assert len(pauses) == (4 if once else 1)
        assert not mapper._producer.written

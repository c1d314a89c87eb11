"""Fixtures for tests that need a real broker: one JVM a session, names of its own for every test."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from tests.broker.kafka_server import KafkaServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer]:
    """Give the session's broker. Tests share it: they take their topic names from `topic_prefix`."""
    with KafkaServer() as server:
        yield server


@pytest.fixture
def topic_prefix() -> str:
    """Give a prefix for topics that no other test uses, such as `t3f9a1c2-`."""
    return f"t{uuid.uuid4().hex[:8]}-"


@pytest.fixture
def group() -> str:
    """Give the name of a consumer group that no other test uses."""
    return f"g{uuid.uuid4().hex[:8]}"

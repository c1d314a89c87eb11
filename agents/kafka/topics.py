"""Lists the topics on a broker with their problems, and creates the missing ones.

Owns the calls of the broker's admin API (kafka-python). The wanted topics are data in `schemas.topics`.
Called by `vitals topics`, `vitals check`, `vitals demo` and by a worker before it starts.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from agents.kafka.client import BrokerError, connect
from agents.settings.settings import Settings, load_settings
from schemas.topics import Topic, all_topics

_BOOTSTRAP_MS = 10_000
_METADATA_S = 30.0
_METADATA_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it should be, its partitions on the broker (None: it is missing), and what is wrong with it."""

    topic: Topic
    partitions: int | None
    problem: str | None


def _connect(settings: Settings) -> KafkaAdminClient:
    return connect(
        settings,
        lambda: KafkaAdminClient(
            **settings.kafka_python(),
            client_id="vitals-admin",
            request_timeout_ms=15_000,
            bootstrap_timeout_ms=_BOOTSTRAP_MS,
        ),
    )


def describe_topics(settings: Settings) -> list[TopicState]:
    """Every topic of the deployment and its state on the broker. Raises `BrokerError`."""
    admin = _connect(settings)
    try:
        return _describe(admin, settings)
    except KafkaError as error:
        msg = f"the broker did not answer: {type(error).__name__} {error}"
        raise BrokerError(msg) from error
    finally:
        admin.close()


def _describe(admin: KafkaAdminClient, settings: Settings) -> list[TopicState]:
    wanted = all_topics(settings.group)
    existing = set(admin.list_topics())
    names = [topic.name for topic in wanted if topic.name in existing]
    described = admin.describe_topics(names) if names else []
    counts = {str(entry.get("name") or entry.get("topic")): len(entry["partitions"]) for entry in described}
    return [
        TopicState(topic, counts.get(topic.name), _problem(topic, counts.get(topic.name), settings)) for topic in wanted
    ]


def _problem(topic: Topic, partitions: int | None, settings: Settings) -> str | None:
    if partitions is None:
        return "missing: run `vitals topics --create`"
    if topic.role in {"input", "internal"} and partitions != settings.partitions:
        return (
            f"has {partitions} partitions, the setting `partitions` says {settings.partitions}: "
            "an account's events must share one partition number in all input and internal topics"
        )
    if partitions < settings.partitions:
        return f"has {partitions} partitions, fewer than the setting `partitions` ({settings.partitions}): add some"
    return None


def create_missing(settings: Settings) -> list[str]:
    """Create the missing topics and return their names. Raises `BrokerError`."""
    admin = _connect(settings)
    try:
        missing = [state.topic for state in _describe(admin, settings) if state.partitions is None]
        for topic in missing:
            new = NewTopic(
                topic.name,
                num_partitions=settings.partitions,
                replication_factor=settings.replication,
                topic_configs=topic.config(),
            )
            try:
                admin.create_topics([new])
            except TopicAlreadyExistsError:
                continue  # another process was faster
        _wait_for(admin, missing, settings)
        return [topic.name for topic in missing]
    except KafkaError as error:
        msg = f"topics could not be created: {type(error).__name__} {error}. `vitals topics` lists them."
        raise BrokerError(msg) from error
    finally:
        admin.close()


def _wait_for(admin: KafkaAdminClient, topics: list[Topic], settings: Settings) -> None:
    """Wait until the broker lists topics that it has just created: its metadata is updated later."""
    names = {topic.name for topic in topics}
    deadline = time.monotonic() + _METADATA_S
    while names:
        missing = {state.topic.name for state in _describe(admin, settings) if state.partitions is None} & names
        if not missing:
            return
        if time.monotonic() > deadline:
            msg = f"created, but the broker does not list them after {_METADATA_S:.0f} s: {', '.join(sorted(missing))}"
            raise BrokerError(msg)
        time.sleep(_METADATA_PAUSE_S)


def create_topics(broker: str, partitions: int, group: str = "account-vitals") -> list[str]:
    """Create all topics of a group on a broker without credentials; returns the names that were missing."""
    return create_missing(load_settings(broker=broker, partitions=partitions, group=group))

"""Lists the topics on a broker with their problems, and creates the missing ones.

Owns the calls of the broker's admin API (kafka-python). The wanted topics are data in `schemas.topics`.
Called by `vitals topics`, `vitals check`, `vitals demo` and by a worker before it starts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ConfigFilterType, ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from agents.kafka.client import BrokerError, admin_of, is_kafka
from agents.kafka.topic_settings import READ, mismatches
from agents.process.errors import error_text
from agents.settings.settings import Settings, load_settings
from schemas.topics import Topic, all_topics

_METADATA_S = 30.0
_METADATA_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it should be, what it is on the broker, and what is wrong with it."""

    topic: Topic
    partitions: int | None
    """None: it is missing."""
    problem: str | None
    refused: bool = False
    """Whether a worker must not start with this problem."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings on the broker; empty where this client may not read them."""
    topic_id: str | None = None


def describe_topics(settings: Settings) -> list[TopicState]:
    """Every topic of the deployment and its state on the broker. Raises `BrokerError`."""
    admin = admin_of(settings)
    try:
        return _describe(admin, settings)
    except KafkaError as error:
        msg = f"the broker did not answer: {error_text(error)}"
        raise BrokerError(msg) from error
    finally:
        admin.close()


def _describe(admin: KafkaAdminClient, settings: Settings) -> list[TopicState]:
    wanted = all_topics(settings.group)
    existing = set(admin.list_topics())
    names = [topic.name for topic in wanted if topic.name in existing]
    described = {str(entry["name"]): entry for entry in (admin.describe_topics(names) if names else [])}
    configured = _settings_of(admin, names)
    by_topic = {topic.name: None if configured is None else configured.get(topic.name, {}) for topic in wanted}
    return [_state(topic, described.get(topic.name), by_topic[topic.name], settings) for topic in wanted]


def _settings_of(admin: KafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]] | None:
    """Settings of topics on the broker; of those that this client may not describe, none.

    None where topics have no settings: the embedded broker of the demo ignores them, and closes the connection when it
    is asked for single ones.
    """
    if not names:
        return {}
    if not is_kafka(admin):
        return None
    resources = [ConfigResource(ConfigResourceType.TOPIC, name, list(READ)) for name in names]
    described = admin.describe_configs(resources, config_filter=ConfigFilterType.ALL).get("topic", {})
    return {
        name: {setting: str(entry["value"]) for setting, entry in entries.items() if entry["value"] is not None}
        for name, entries in described.items()
    }


def _state(
    topic: Topic, described: Mapping[str, Any] | None, configured: Mapping[str, str] | None, settings: Settings
) -> TopicState:
    partitions = None if described is None else len(described["partitions"])
    problem = _problem(topic, partitions, settings)
    wrong = [] if configured is None else mismatches(topic, configured)
    servers = ",".join(settings.bootstrap_servers())
    unread = "its settings can not be read: this client needs the right DESCRIBE_CONFIGS on it"
    problems = [
        *([problem] if problem else []),
        *([] if described is None or configured is None or configured else [unread]),
        *(mismatch.text(topic.name, servers) for mismatch in wrong),
    ]
    refused = problem is not None or any(mismatch.loses_state for mismatch in wrong)
    topic_id = None if described is None else id_of(described)
    return TopicState(topic, partitions, "; ".join(problems) or None, refused, configured or {}, topic_id)


def id_of(described: Mapping[str, Any]) -> str | None:
    """The id of a topic (KIP-516) in its description; None where the broker gives none."""
    topic_id = str(described.get("topic_id") or "")
    return topic_id if topic_id.strip("0-") else None


def _problem(topic: Topic, partitions: int | None, settings: Settings) -> str | None:
    if partitions is None:
        return "missing: run `vitals topics --create`"
    if topic.role in {"input", "internal"} and partitions != settings.partitions:
        way_out = f"Run `vitals state repartition --partitions {partitions}`, then set VITALS_PARTITIONS={partitions}"
        return (
            f"has {partitions} partitions, the setting `partitions` says {settings.partitions}: "
            "an account's events must share one partition number in all input and internal topics"
            + (f". {way_out}" if topic.role == "input" and partitions > settings.partitions else "")
        )
    if partitions < settings.partitions:
        return f"has {partitions} partitions, fewer than the setting `partitions` ({settings.partitions}): add some"
    return None


def create_missing(settings: Settings) -> list[str]:
    """Create the missing topics and return their names. Raises `BrokerError`."""
    admin = admin_of(settings)
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
        msg = f"topics could not be created: {error_text(error)}. `vitals topics` lists them."
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

"""Lists the topics on a broker with their problems, and creates the missing ones.

Owns the calls of the broker's admin API (kafka-python). The wanted topics are data in `schemas.topics`.
Called by `vitals topics`, `vitals check`, `vitals demo`, `vitals dlq`, `vitals mapper`, and a worker before it starts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ConfigFilterType, ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError, TopicAuthorizationFailedError

from agents.kafka.client import BrokerError, admin_of, is_kafka
from agents.kafka.topic_settings import READ, mismatches
from agents.process.errors import error_text
from agents.settings.settings import Settings, load_settings
from schemas.sources import BUILT_IN, Sources
from schemas.topics import Topic, all_topics

_METADATA_S = 30.0
_METADATA_PAUSE_S = 0.1
_HIDDEN = "missing or hidden: this client has no right DESCRIBE on it; `vitals check --role ROLE` lists missing rights"


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


def describe_topics(settings: Settings, sources: Sources) -> list[TopicState]:
    """Every topic of the deployment and its state on the broker. Raises `BrokerError`."""
    admin = admin_of(settings)
    try:
        return _describe(admin, settings, sources)
    except KafkaError as error:
        msg = f"the broker did not answer: {error_text(error)}"
        raise BrokerError(msg) from error
    finally:
        admin.close()


def _describe(admin: KafkaAdminClient, settings: Settings, sources: Sources) -> list[TopicState]:
    wanted = all_topics(settings.group, sources)
    existing = set(admin.list_topics())
    names = [topic.name for topic in wanted if topic.name in existing]
    described = {str(entry["name"]): entry for entry in (admin.describe_topics(names) if names else [])}
    configured = _settings_of(admin, names)
    by_topic = {topic.name: None if configured is None else configured.get(topic.name, {}) for topic in wanted}
    states = [_state(topic, described.get(topic.name), by_topic[topic.name], settings) for topic in wanted]
    hidden = _hidden(admin, [topic.name for topic in wanted if topic.name not in existing])
    return [replace(state, problem=_HIDDEN) if state.topic.name in hidden else state for state in states]


def _hidden(admin: KafkaAdminClient, names: list[str]) -> set[str]:
    """Those of these topics that this client may not describe: a broker does not tell it whether they exist."""
    if not names or not is_kafka(admin):
        return set()
    denied = TopicAuthorizationFailedError.errno
    return {str(entry["name"]) for entry in admin.describe_topics(names) if entry["error_code"] == denied}


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


def create_missing(settings: Settings, sources: Sources) -> list[str]:
    """Create the missing topics of a deployment and return their names. Raises `BrokerError`."""
    admin = admin_of(settings)
    try:
        existing = set(admin.list_topics())
        missing = [topic for topic in all_topics(settings.group, sources) if topic.name not in existing]
        _create_all(admin, settings, missing)
        _wait_for(admin, missing)
        return [topic.name for topic in missing]
    except KafkaError as error:
        msg = f"topics could not be created: {error_text(error)}. `vitals topics` lists them."
        raise BrokerError(msg) from error
    finally:
        admin.close()


def ensure_topic(settings: Settings, topic: Topic, *, partitions: int | None = None) -> bool:
    """Create one topic if it is missing; returns whether this did it. Raises `BrokerError`.

    For topics that are no part of every deployment; `topic` is without the prefix. `partitions` None: as many as the
    inputs have.
    """
    topic = topic.under(settings.topic_prefix)
    admin = admin_of(settings)
    try:
        if topic.name in set(admin.list_topics()):
            return False
        is_new = _create(admin, settings, topic, partitions)
        _wait_for(admin, [topic])
    except KafkaError as error:
        problem = error_text(error)
        raise BrokerError(f"the topic {topic.name} cannot be created: {problem}") from error
    else:
        return is_new
    finally:
        admin.close()


def _create_all(admin: KafkaAdminClient, settings: Settings, topics: list[Topic]) -> None:
    """Create topics in one request, or one by one where another process has made some of them. Raises `KafkaError`."""
    if not topics:
        return
    try:
        admin.create_topics([_new(settings, topic) for topic in topics])
    except TopicAlreadyExistsError:
        for topic in topics:
            _create(admin, settings, topic)


def _create(admin: KafkaAdminClient, settings: Settings, topic: Topic, partitions: int | None = None) -> bool:
    """Create a topic; False if another process was faster. Raises `KafkaError`."""
    try:
        admin.create_topics([_new(settings, topic, partitions)])
    except TopicAlreadyExistsError:
        return False
    return True


def _new(settings: Settings, topic: Topic, partitions: int | None = None) -> NewTopic:
    return NewTopic(
        topic.name,
        num_partitions=settings.partitions if partitions is None else partitions,
        replication_factor=settings.replication,
        topic_configs=topic.config(),
    )


def _wait_for(admin: KafkaAdminClient, topics: list[Topic]) -> None:
    """Wait until topics that were just created are listed with leaders: the broker's metadata is updated later."""
    if not topics:
        return
    names = sorted(topic.name for topic in topics)
    deadline = time.monotonic() + _METADATA_S
    while missing := set(names) - {str(entry["name"]) for entry in admin.describe_topics(names) if _has_leaders(entry)}:
        if time.monotonic() > deadline:
            msg = (
                f"created, but the broker does not list them after {_METADATA_S:.0f} s: {', '.join(sorted(missing))}. "
                "It is slow, or this client has no right DESCRIBE on them"
            )
            raise BrokerError(msg)
        time.sleep(_METADATA_PAUSE_S)


def _has_leaders(described: Mapping[str, Any]) -> bool:
    return not described["error_code"] and all(entry["leader_id"] >= 0 for entry in described["partitions"])


def create_topics(
    broker: str, partitions: int, group: str = "account-vitals", sources: Sources = BUILT_IN, prefix: str = ""
) -> list[str]:
    """Create all topics of a group on a broker without credentials; returns the names that were missing."""
    settings = load_settings(broker=broker, partitions=partitions, group=group, topic_prefix=prefix)
    return create_missing(settings, sources.under(prefix))

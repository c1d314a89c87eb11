"""One topic is created where it is missing, whichever program needs it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kafka.errors import KafkaError, TopicAlreadyExistsError, TopicAuthorizationFailedError

from agents.kafka import topics
from agents.kafka.client import ONLY_KAFKA, BrokerError, partitions_of
from agents.kafka.topics import create_missing, describe_topics, ensure_topic
from agents.settings.settings import load_settings
from agents.worker import run
from schemas.sources import BUILT_IN, source_of_fields
from schemas.topics import DLQ_PROGRESS, MAPPER_DLQ, Topic, all_topics

SETTINGS = load_settings(partitions=6, replication=3)


class Admin:
    """The admin API of a broker that lists a topic some questions after it was created."""

    def __init__(self, *existing: str, failing: KafkaError | None = None, lists_after: int = 0) -> None:
        self.existing, self.created, self.closed = set(existing), list[Any](), False
        self._failing, self._pending, self._wait = failing, set[str](), lists_after

    def list_topics(self) -> list[str]:
        self._wait -= bool(self._pending)
        if self._wait <= 0:
            self.existing |= self._pending
        return sorted(self.existing)

    def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        existing = self.list_topics()
        return [
            {"name": name, "error_code": 0 if name in existing else 3, "partitions": [{"leader_id": 1}]}
            for name in names
        ]

    def create_topics(self, new: list[Any]) -> None:
        if self._failing is not None:
            self._pending |= {each.name for each in new}
            raise self._failing
        self._pending |= {each.name for each in new}
        self.created += new

    def close(self) -> None:
        self.closed = True


def ensured(monkeypatch: pytest.MonkeyPatch, admin: Admin, topic: Topic, partitions: int | None = None) -> bool:
    monkeypatch.setattr(topics, "admin_of", lambda *_: admin)
    monkeypatch.setattr(topics, "_METADATA_PAUSE_S", 0)
    try:
        return ensure_topic(SETTINGS, topic, partitions=partitions)
    finally:
        assert admin.closed


def test_a_topic_that_is_missing_is_created_as_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Admin("orders", lists_after=3)
    assert ensured(monkeypatch, admin, MAPPER_DLQ)
    (new,) = admin.created
    assert (new.name, new.num_partitions, new.replication_factor) == ("vitals-mapper.dlq", 6, 3)
    assert new.topic_configs == MAPPER_DLQ.config()
    assert MAPPER_DLQ.name in admin.existing, "it waits until the broker lists the topic"


def test_the_progress_of_dead_letters_is_one_compacted_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Admin()
    assert ensured(monkeypatch, admin, DLQ_PROGRESS, 1)
    (new,) = admin.created
    assert (new.name, new.num_partitions) == ("vitals-dlq-progress", 1)
    assert new.topic_configs["cleanup.policy"] == "compact"


def test_a_topic_that_is_there_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Admin(MAPPER_DLQ.name)
    assert not ensured(monkeypatch, admin, MAPPER_DLQ)
    assert not admin.created


def test_another_process_may_be_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Admin(failing=TopicAlreadyExistsError())
    assert not ensured(monkeypatch, admin, MAPPER_DLQ)


def test_a_refusal_names_the_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Admin(failing=TopicAuthorizationFailedError("no"))
    with pytest.raises(BrokerError, match=r"the topic vitals-mapper\.dlq cannot be created"):
        ensured(monkeypatch, admin, MAPPER_DLQ)


SOURCES = BUILT_IN.renamed({"billing": "erp.billing"}).extended([source_of_fields("licences", "crm.licences", ())])
"""Those of a policy that adds one and gives a built-in one another topic."""


def test_topics_of_sources_and_their_dead_letters_are_created_with_the_settings_of_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    admin = Admin()
    monkeypatch.setattr(topics, "admin_of", lambda *_: admin)
    monkeypatch.setattr(topics, "_METADATA_PAUSE_S", 0)
    assert {"crm.licences", "crm.licences.dlq", "erp.billing", "erp.billing.dlq"} <= set(
        create_missing(SETTINGS, SOURCES)
    )
    made = {new.name: (new.num_partitions, new.topic_configs) for new in admin.created}
    assert "billing" not in made
    for name in ("crm.licences", "erp.billing"):
        assert (made[name], made[name + ".dlq"]) == (made["engagement"], made["engagement.dlq"])


def test_a_topic_of_a_source_with_other_partitions_keeps_a_worker_from_its_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With VITALS_CREATE_TOPICS=false, one that is missing does so, too, and nothing is created."""
    names = {topic.name for topic in all_topics(SETTINGS.group, SOURCES)} - {"crm.licences.dlq"}
    admin: Any = Admin(*names)
    admin.api_versions = set  # of a broker without settings
    admin.describe_topics = lambda names: [
        {"name": name, "error_code": 0, "partitions": [{"leader_id": 1}] * (3 if name == "crm.licences" else 6)}
        for name in names
    ]
    ended: list[Any] = []
    monkeypatch.setattr(topics, "admin_of", lambda *_: admin)
    monkeypatch.setattr(run, "require_rights", lambda *_, **__: None)
    monkeypatch.setattr(run, "fatal", ended.append)
    run._prepare_topics(SETTINGS.model_copy(update={"create_topics": False}), SOURCES)
    (error,) = ended
    assert "crm.licences: has 3 partitions, the setting `partitions` says 6" in str(error)
    assert "crm.licences.dlq: missing: run `vitals topics --create`" in str(error)
    assert not admin.created


class Authorizing:
    """The admin API of a broker that hides `health.alerts` from this client, and has no `health.scores`."""

    def list_topics(self) -> list[str]:
        return []

    def api_versions(self) -> set[int]:
        return {ONLY_KAFKA}

    def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        return [{"name": name, "error_code": 29 if name == "health.alerts" else 3} for name in names]

    def close(self) -> None:
        pass


def test_a_topic_that_is_not_listed_is_missing_or_may_be_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "admin_of", lambda *_: Authorizing())
    problems = {state.topic.name: state.problem for state in describe_topics(SETTINGS, BUILT_IN)}
    assert problems["health.scores"] == "missing: run `vitals topics --create`"
    assert problems["health.alerts"] == (
        "missing or hidden: this client has no right DESCRIBE on it; `vitals check --role ROLE` lists missing rights"
    )


def test_a_reader_that_does_not_find_a_topic_names_both_causes() -> None:
    consumer: Any = SimpleNamespace(partitions_for_topic=lambda _topic: None)
    with pytest.raises(BrokerError) as error:
        partitions_of(consumer, "health.scores")
    assert str(error.value) == (
        "the broker lists no topic health.scores: it is missing (create it with `vitals topics --create`), or this "
        "client has no right DESCRIBE on it (`vitals check --role ROLE` lists missing rights)"
    )

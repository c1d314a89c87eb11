"""Whether a worker runs, as the members of its consumer group say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import GroupAuthorizationFailedError

from agents.board.state import freshness
from agents.board.state.board import Checked
from agents.board.state.freshness import BrokerChecks
from agents.board.views.overall_types import TopicCount
from agents.kafka.client import ONLY_KAFKA
from schemas.sources import BUILT_IN
from schemas.topics import MAPPER_DLQ
from tests.driving.boards import settings


class Admin:
    """As kafka-python's, of a broker without topics; `members` is the group, or the error of a question for it."""

    members: list[dict[str, Any]] | Exception = []  # noqa: RUF012  each test sets it

    def __init__(self, **_: object) -> None:
        pass

    def list_topics(self) -> list[str]:
        return []

    def describe_groups(self, groups: list[str]) -> dict[str, Any]:
        if isinstance(self.members, Exception):
            raise self.members
        return {group: {"group_state": "Stable", "error": None, "members": self.members} for group in groups}

    def api_versions(self) -> set[int]:
        return {ONLY_KAFKA}

    def close(self) -> None:
        pass


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> BrokerChecks:
    monkeypatch.setattr(freshness, "KafkaAdminClient", Admin)
    return BrokerChecks(settings(), BUILT_IN)


def test_a_group_without_members_has_no_worker_since_it_was_first_seen(
    checks: BrokerChecks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Admin, "members", [{}, {}])
    running = checks.ask(Checked(), 1_000)
    assert (running.workers, running.no_worker_since_ms) == (2, None)
    monkeypatch.setattr(Admin, "members", [])
    ended = checks.ask(running, 2_000)
    assert (ended.workers, ended.no_worker_since_ms) == (0, 2_000)
    later = checks.ask(ended, 3_000)
    assert (later.workers, later.no_worker_since_ms) == (0, 2_000)
    assert later.figures() == ended.figures() != running.figures(), "the stream gets what changes"
    monkeypatch.setattr(Admin, "members", [{}])
    assert checks.ask(later, 4_000).no_worker_since_ms is None


def test_without_the_right_to_describe_the_group_workers_are_not_known(
    checks: BrokerChecks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Admin, "members", GroupAuthorizationFailedError())
    checked = checks.ask(Checked(), 1_000)
    assert (checked.workers, checked.no_worker_since_ms, checked.problem) == (None, None, None)


def test_dead_letters_of_the_mapper_are_counted(checks: BrokerChecks, monkeypatch: pytest.MonkeyPatch) -> None:
    def offsets(of: dict[TopicPartition, Any]) -> dict[TopicPartition, Any]:
        return {
            partition: SimpleNamespace(offset=2 if which is OffsetSpec.EARLIEST else 5)
            for partition, which in of.items()
        }

    monkeypatch.setattr(Admin, "list_topics", lambda _: [MAPPER_DLQ.name])
    monkeypatch.setattr(
        Admin, "describe_topics", lambda _, names: [{"name": n, "partitions": [0]} for n in names], raising=False
    )
    monkeypatch.setattr(Admin, "list_partition_offsets", lambda _, of: offsets(of), raising=False)
    monkeypatch.setattr(Admin, "list_group_offsets", lambda *_: {}, raising=False)
    assert checks.ask(Checked(), 1_000).dead_letters == [TopicCount(MAPPER_DLQ.name, 3)]

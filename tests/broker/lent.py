"""Brokers that tests of one process use in turn: to start one costs more than most tests do on it.

Owns which broker is free, and that the next test gets it as if it were new: without topics, groups and records. Must
not know what a test does. Called by `tests.faults.deployment`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kafka.admin import MemberToRemove
from kafka.errors import KafkaError

from tests.broker.kafka_server import KafkaServer, KafkaServerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kafka import KafkaAdminClient

_OF_KAFKA = "__"
"""Names of topics of Kafka itself begin with it."""
_DONE = "OK"
_PATIENCE_S = 30.0

_free: dict[frozenset[tuple[str, str]], KafkaServer] = {}


def borrow(settings: Mapping[str, str]) -> KafkaServer:
    """Return a running broker with these settings that holds nothing: a free one, else a new one.

    Raises:
        KafkaServerError: it did not start.

    """
    server = _free.pop(frozenset(settings.items()), None)
    if server is not None:
        return server
    end_free_ones()  # a process keeps no idle broker beside the one that it uses
    return KafkaServer(settings=settings).start()


def give_back(server: KafkaServer, settings: Mapping[str, str]) -> None:
    """Empty a broker for the next test; one that does not become empty, or is a second one, is ended."""
    key = frozenset(settings.items())
    try:
        with server.admin() as admin:
            _empty(admin)
    except (KafkaError, KafkaServerError, OSError):
        _end(server)
    else:
        if (other := _free.pop(key, None)) is not None:
            _end(other)
        _free[key] = server


def end_free_ones() -> None:
    """End the brokers that nobody has borrowed, and remove their data."""
    while _free:
        _, server = _free.popitem()
        _end(server)


def _end(server: KafkaServer) -> None:
    server.kill()
    server.stop()


def _empty(admin: KafkaAdminClient) -> None:
    """Remove all groups, with the members that tests have killed, and all topics."""
    groups = [group["group_id"] for group in admin.list_groups()]
    for group, described in admin.describe_groups(groups).items() if groups else ():
        members = [MemberToRemove(member["member_id"], member["group_instance_id"]) for member in described["members"]]
        if members:
            admin.remove_group_members(group, members)
    answers = admin.delete_groups(groups) if groups else {}
    if any(answer != _DONE for answer in answers.values()):
        message = f"the broker keeps groups: {answers}"
        raise KafkaServerError(message)
    topics = _topics(admin)
    if topics:
        admin.delete_topics(topics)
    deadline = time.monotonic() + _PATIENCE_S
    while left := _topics(admin):
        if time.monotonic() > deadline:
            message = f"topics that were deleted are still listed after {_PATIENCE_S:.0f} s: {', '.join(left)}"
            raise KafkaServerError(message)


def _topics(admin: KafkaAdminClient) -> list[str]:
    return [topic for topic in admin.list_topics() if not topic.startswith(_OF_KAFKA)]

"""What a broker says of a consumer group, as kafka-python returns it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from kafka.errors import KafkaError

from agents.kafka.client import ONLY_KAFKA, BrokerError
from agents.kafka.groups import NOBODY, describe_group, require_description

if TYPE_CHECKING:
    from kafka import KafkaAdminClient

NOT_FOUND = "[Error 69] GroupIdNotFoundError: Group g not found."


class Admin:
    """A broker that lists these kinds of requests and describes its only group so."""

    def __init__(
        self, state: str = "Stable", error: str | None = None, *, requests: tuple[int, ...] = (ONLY_KAFKA,)
    ) -> None:
        self.answer = {"group_state": state, "error": error, "members": [{"client_id": "c"}] if error is None else []}
        self.requests = requests

    def api_versions(self) -> tuple[int, ...]:
        return self.requests

    def describe_groups(self, groups: list[str]) -> dict[str, Any]:
        assert self.requests, "the embedded broker's answer cannot be read"
        return dict.fromkeys(groups, self.answer)


def admin(*arguments: str, **options: Any) -> KafkaAdminClient:
    return cast("KafkaAdminClient", Admin(*arguments, **options))


def test_a_group_has_its_state_and_members() -> None:
    assert describe_group(admin(), "g") == ("Stable", [{"client_id": "c"}])


def test_a_group_that_nobody_has_joined_has_no_members() -> None:
    assert describe_group(admin(NOBODY, NOT_FOUND), "g") == (NOBODY, [])


def test_an_error_of_the_broker_is_not_a_group_without_members() -> None:
    with pytest.raises(KafkaError, match="not authorized"):
        describe_group(admin("", "[Error 30] GroupAuthorizationFailedError: not authorized"), "g")


def test_the_embedded_broker_is_not_asked() -> None:
    assert describe_group(admin(requests=()), "g") is None
    with pytest.raises(BrokerError, match="cannot describe consumer groups"):
        require_description(admin(requests=()), "g")

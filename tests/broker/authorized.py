"""A real Kafka with an authorizer: a user for each role, and its rights as access control lists.

Owns users, rights and their removal. Must not know what the roles do. Called by `tests.broker.test_rights`.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)

from agents.kafka.rights import ROLES, Right, rights_of
from agents.kafka.rights_check import missing_rights
from agents.settings.settings import Settings, load_settings
from tests.broker.kafka_server import free_port
from tests.faults.deployment import GROUP, Deployment

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
_KINDS = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional id": ResourceType.TRANSACTIONAL_ID,
}
_KNOWN_WITHIN_S = 60.0


class Authorized:
    """A deployment whose broker asks users for their password and refuses what they have no right to."""

    def __init__(self, folder: Path, prefix: str = "") -> None:
        """`folder` keeps logs; all topics have the `prefix`."""
        users = " ".join(f'user_{role}="{self.password(role)}"' for role in ROLES)
        self._port = free_port()
        self.deployment = Deployment(
            folder,
            broker={
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",  # the port without passwords, for the test and for the broker itself
                "sasl.enabled.mechanisms": "PLAIN",
                "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{_LOGIN} required {users};",
            },
            listeners={"SASL_PLAINTEXT": self._port},
            prefix=prefix,
        )
        self._stack = ExitStack()
        self._admin: KafkaAdminClient

    def __enter__(self) -> Self:
        """Start the broker; nobody has a right."""
        self._stack.enter_context(self.deployment)
        self._admin = self._stack.enter_context(self.deployment.kafka.admin())
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._stack.close()

    @staticmethod
    def password(role: str) -> str:
        """The password of a role's user, which has the role's name."""
        return f"password-of-{role}-7319"

    def settings(self, role: str) -> dict[str, Any]:
        """The settings of a process with this role."""
        return {
            **self.deployment.settings,
            "broker": f"kafka://127.0.0.1:{self._port}",
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_username": role,
            "sasl_password": self.password(role),
        }

    def loaded(self, role: str) -> Settings:
        """The same, loaded."""
        return load_settings(**self.settings(role))

    def rights(self, role: str) -> list[Right]:
        """The rights of the table; as the reference says, names of topics have the prefix, and no other names."""
        prefix = self.deployment.prefix
        rights = rights_of(role, GROUP)
        return [right._replace(name=prefix + right.name) if right.kind == "topic" else right for right in rights]

    def grant(self, role: str) -> list[Right]:
        """Give a role exactly the rights of the table, and return them."""
        rights = self.rights(role)
        self.allow(role, rights)
        self.until_missing(role, [])
        return rights

    def allow(self, role: str, rights: Iterable[Right]) -> None:
        """Give a role some rights."""
        lists = [
            ACL(f"User:{role}", "*", ACLOperation[right.operation], ACLPermissionType.ALLOW, _pattern(right))
            for right in rights
        ]
        assert not self._admin.create_acls(lists)["failed"]

    def deny(self, role: str, right: Right) -> None:
        """Take one right."""
        pattern = _pattern(right)
        resource = ResourcePatternFilter(pattern.resource_type, pattern.resource_name, pattern.pattern_type)
        operation = ACLOperation[right.operation]
        self._admin.delete_acls([ACLFilter(f"User:{role}", "*", operation, ACLPermissionType.ALLOW, resource)])

    def until_missing(self, role: str, expected: list[Right]) -> None:
        """Wait until exactly these rights are missing: a broker applies access control lists a moment later."""
        deadline_s = time.monotonic() + _KNOWN_WITHIN_S
        while (missing := missing_rights(self.loaded(role), role)) != expected:
            assert time.monotonic() < deadline_s, f"{role} without {expected}: missing are {missing}"
            time.sleep(0.02)


def _pattern(right: Right) -> ResourcePattern:
    if right.name.endswith("*") and right.name != "*":  # Kafka's name for all
        return ResourcePattern(_KINDS[right.kind], right.name[:-1], ACLResourcePatternType.PREFIXED)
    return ResourcePattern(_KINDS[right.kind], right.name, ACLResourcePatternType.LITERAL)

"""Compares the rights of a role with what the broker allows this client.

Owns the requests: the operations that a broker allows come with the metadata of a topic and the description of a group;
for a transactional id, a request that the broker refuses in any case shows by its error whether it is allowed. Nothing
is changed. Called by `vitals check` and by every process before it starts.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from kafka.admin import ACLOperation
from kafka.protocol.admin import DescribeGroupsRequest
from kafka.protocol.metadata import FindCoordinatorRequest, MetadataRequest
from kafka.protocol.producer import InitProducerIdRequest

from agents.kafka.client import BrokerError, FinalBrokerError
from agents.kafka.probe import Connection, ConnectionFailedError, connect_first, signed_in
from agents.kafka.rights import Right, rights_of
from agents.settings.settings import Settings
from schemas.sources import BUILT_IN, Sources

_TOPIC_DENIED, _GROUP_DENIED, _TRANSACTIONAL_ID_DENIED = 29, 30, 53
_NO_COORDINATOR = frozenset({14, 15, 16})
_COORDINATOR_WITHIN_S, _PAUSE_S = 5.0, 0.2
_TOO_LONG_MS = 2**31 - 1
"""No broker allows a transaction so long: the request creates nothing."""
_IMPLY_DESCRIBE = frozenset({"READ", "WRITE", "ALTER", "DELETE"})
_UNKNOWN_WITHOUT_DESCRIBE = frozenset({"CREATE", "DESCRIBE_CONFIGS"})
"""What a client without `DESCRIBE` on a topic may do nevertheless; only `DESCRIBE` is known to be missing."""

log = structlog.get_logger()
Allowed = frozenset[str] | None
"""The operations that a broker allows; None: it does not say, as brokers without an authorizer or before Kafka 2.3."""


def missing_rights(settings: Settings, role: str, sources: Sources | None = None) -> list[Right]:
    """The rights of a role that this client does not have. Raises `BrokerError`.

    `sources` are those of the deployment, for roles that read or write input topics.
    """
    try:
        with contextlib.closing(connect_first(settings)) as connection:
            wanted = rights_of(role, settings.group, sources or BUILT_IN.under(settings.topic_prefix))
            return list(_missing(connection, settings, wanted))
    except ConnectionFailedError as problem:
        kind = FinalBrokerError if problem.is_final else BrokerError
        raise kind(f"no Kafka broker ({settings.security_protocol}): {problem}") from problem


def require_rights(settings: Settings, role: str, command: str = "", *, sources: Sources | None = None) -> None:
    """Log the rights that a role does not have. Raises `FinalBrokerError` if it cannot start, and `BrokerError`.

    With a subcommand, the rights that it needs are those without which the table says that it does not work; nothing is
    logged of the others.
    """
    missing = missing_rights(settings, role, sources)
    needed = [right for right in missing if not right.without or (command and f"`{command}`" in right.without)]
    if needed:
        raise FinalBrokerError(f"{denied(settings, needed)}; docs/how-to/secure.md lists the rights of each role")
    if missing and not command:
        log.warning("rights_missing", problem=denied(settings, missing))


def denied(settings: Settings, rights: Iterable[Right]) -> str:
    """One line: who is denied what, and what does not work without it."""
    texts = (f"{right} ({right.without})" if right.without else str(right) for right in rights)
    return f"{client_name(settings)} is denied {', '.join(texts)}"


def client_name(settings: Settings) -> str:
    """How the broker knows this client."""
    if settings.security_protocol.startswith("SASL"):
        return f"user {settings.sasl_username}"
    return f"the client certificate {settings.tls_cert}" if settings.tls_cert else "a client without credentials"


def _missing(connection: Connection, settings: Settings, rights: Sequence[Right]) -> Iterable[Right]:
    topics = _allowed_on_topics(connection, sorted({right.name for right in rights if right.kind == "topic"}))
    for right in rights:
        if right.kind == "topic":
            allowed = topics.get(right.name)
        elif right.kind == "group":
            allowed = _allowed_on_group(connection, settings, _any_name(right.name))
        else:
            allowed = _allowed_on_transactional_id(connection, _any_name(right.name))
        if allowed is not None and right.operation not in allowed:
            yield right


def _any_name(name: str) -> str:
    """A name that a prefix covers."""
    return name.removesuffix("*") + "check" if name.endswith("*") else name


def _names(operations: Iterable[int] | None) -> Allowed:
    if operations is None:
        return None
    names = {ACLOperation(number).name for number in operations if number in set(ACLOperation)}
    return frozenset(names | ({"DESCRIBE"} if names & _IMPLY_DESCRIBE else set()))


def _allowed_on_topics(connection: Connection, names: Sequence[str]) -> dict[str, Allowed]:
    """What is allowed on each topic, also on one that does not exist; `CREATE` on the cluster counts for all."""
    if not connection.has(MetadataRequest, 8):
        return {}
    answer = connection.ask(
        MetadataRequest(
            version=8,
            topics=[MetadataRequest.MetadataRequestTopic(name=_any_name(name)) for name in names],
            allow_auto_topic_creation=False,
            include_cluster_authorized_operations=True,
            include_topic_authorized_operations=True,
        )
    )
    on_cluster = (_names(answer.authorized_operations) or frozenset()) & {"CREATE"}
    described = {topic.name: topic for topic in answer.topics}
    return {name: _on_topic(described.get(_any_name(name)), on_cluster) for name in names}


def _on_topic(topic: Any, on_cluster: frozenset[str]) -> Allowed:
    if topic is not None and topic.error_code == _TOPIC_DENIED:
        return _UNKNOWN_WITHOUT_DESCRIBE | on_cluster
    allowed = None if topic is None else _names(topic.authorized_operations)
    return None if allowed is None else allowed | on_cluster


def _allowed_on_group(connection: Connection, settings: Settings, group: str) -> Allowed:
    if not connection.has(DescribeGroupsRequest, 3):
        return None
    deadline_s = time.monotonic() + _COORDINATOR_WITHIN_S
    while True:
        coordinator = connection.ask(FindCoordinatorRequest(version=2, key=group, key_type=0))
        if coordinator.error_code not in _NO_COORDINATOR or time.monotonic() > deadline_s:
            break
        time.sleep(_PAUSE_S)  # the first question about a group makes the broker create its topic for offsets
    if coordinator.error_code:
        return frozenset() if coordinator.error_code == _GROUP_DENIED else None
    with contextlib.closing(signed_in(settings, f"{coordinator.host}:{coordinator.port}")) as at_coordinator:
        answer = at_coordinator.ask(
            DescribeGroupsRequest(version=3, groups=[group], include_authorized_operations=True)
        )
    (described,) = answer.groups
    if described.error_code:
        return frozenset() if described.error_code == _GROUP_DENIED else None
    return _names(described.authorized_operations)


def _allowed_on_transactional_id(connection: Connection, name: str) -> Allowed:
    if not connection.has(InitProducerIdRequest, 1):
        return None
    answer = connection.ask(
        InitProducerIdRequest(version=1, transactional_id=name, transaction_timeout_ms=_TOO_LONG_MS)
    )
    return frozenset() if answer.error_code == _TRANSACTIONAL_ID_DENIED else None

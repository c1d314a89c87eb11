"""What a worker needs to be allowed so that it can shut out the worker before, on a broker with an authorizer."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ACLResourcePatternType, ResourcePattern, ResourceType

from agents.kafka.topics import create_topics
from agents.settings.settings import load_settings
from agents.worker.client.app import faust_app
from agents.worker.client.broker import Broker
from agents.worker.commit.fencing import FencingError, TaskProducers
from schemas.topics import ALERTS, SCORES
from tests.broker.kafka_server import KafkaServer, free_port

if TYPE_CHECKING:
    from agents.settings.settings import Settings

pytestmark = pytest.mark.broker

GROUP, USER, PASSWORD = "rights", "worker", "password-of-worker-7319"
LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
KNOWN_WITHIN_S = 60.0


async def errors_of_a_takeover(settings: Settings) -> list[str]:
    """Take a task over and write with its producer; return the errors that end a worker."""
    app = faust_app(settings, "test")
    await app.producer.start()
    errors: list[BaseException] = []
    producers = TaskProducers(Broker(app), GROUP, (SCORES, ALERTS), may_write=lambda: True, on_fatal=errors.append)
    try:
        await asyncio.wait_for(producers.take_over([2]), 60)
        if (producer := producers.of(2)) is not None:
            for topic in (SCORES, ALERTS):
                await producer.client.send_and_wait(topic, b"v", key=b"k", partition=2)
    finally:
        await producers.stop()
        await app.producer.stop()
    assert all(isinstance(error, FencingError) for error in errors)
    return [str(error) for error in errors]


def test_the_documented_rights_are_enough_and_the_message_names_those_that_are_missing() -> None:
    port = free_port()
    broker = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{LOGIN} required user_{USER}="{PASSWORD}";',
    }
    with KafkaServer(settings=broker, listeners={"SASL_PLAINTEXT": port}) as kafka, kafka.admin() as admin:
        create_topics(kafka.bootstrap, 4, GROUP)
        settings = load_settings(
            broker=f"kafka://127.0.0.1:{port}",
            group=GROUP,
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="PLAIN",
            sasl_username=USER,
            sasl_password=PASSWORD,
        )

        def allow(kind: ResourceType, name: str, pattern: ACLResourcePatternType, *operations: ACLOperation) -> None:
            resource = ResourcePattern(kind, name, pattern)
            lists = [ACL(f"User:{USER}", "*", each, ACLPermissionType.ALLOW, resource) for each in operations]
            assert not admin.create_acls(lists)["failed"]

        def until(problem: str | None) -> None:
            """Wait until a takeover has this problem: a broker applies access control lists a moment later."""
            deadline_s = time.monotonic() + KNOWN_WITHIN_S
            while True:
                errors = asyncio.run(errors_of_a_takeover(settings))
                if problem in errors[0] if problem and errors else not (problem or errors):
                    return
                assert time.monotonic() < deadline_s, f"{errors} instead of {problem}"

        until(f"grant WRITE and DESCRIBE on TransactionalId {GROUP}- (prefixed)")
        write, describe = ACLOperation.WRITE, ACLOperation.DESCRIBE
        allow(ResourceType.TRANSACTIONAL_ID, f"{GROUP}-", ACLResourcePatternType.PREFIXED, write, describe)
        until("TopicAuthorizationFailedError")
        for topic in (SCORES, ALERTS):
            allow(ResourceType.TOPIC, topic, ACLResourcePatternType.LITERAL, write, describe)
        until(None)

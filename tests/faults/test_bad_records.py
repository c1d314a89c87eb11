"""Row 10: records that are no events, and events in the wrong place."""

from __future__ import annotations

import gzip
import json
from functools import partial
from typing import TYPE_CHECKING, get_args

import pytest
from aiokafka.errors import MessageSizeTooLargeError
from kafka.admin import ConfigResource, ConfigResourceType

from schemas.topics import LARGEST_RECORD
from tests.faults import topic_log, verdict
from tests.faults.deployment import Deployment
from tests.faults.events import BILLING, END_MS, HOUR_MS, SURVEYS, TICKETS, USAGE, accounts_of, event, misplaced
from tests.faults.topic_log import PARTITIONS, Codec, Message
from tests.oracle import engine as oracle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.broker

TIME_MS = END_MS - HOUR_MS
TEN_MB = 10_000_000
GOOD = b'{"id":"%s","account_id":"acct-1","time":%d,%s}'


def broken(identity: str, fields: str) -> bytes:
    """Return an event of which only `fields` are wrong."""
    return GOOD % (identity.encode(), TIME_MS, fields.encode())


BAD: dict[str, tuple[str, bytes | None]] = {
    "bad UTF-8": (USAGE, b'{"id":"b1","account_id":"acct-1","time":%d,"feature":"\xff\xfe"}' % TIME_MS),
    "truncated JSON": (USAGE, broken("b2", '"count":1')[:-9]),
    "nested 10,000 deep": (USAGE, broken("b3", '"extra":' + "[" * 10_000 + "]" * 10_000)),
    "nested 10,000 deep for a text": (USAGE, broken("b19", '"feature":' + '{"a":' * 10_000 + "1" + "}" * 10_000)),
    "NaN": (USAGE, broken("b4", '"count":NaN')),
    "1e400": (USAGE, broken("b5", '"count":1e400')),
    "text for a number": (USAGE, broken("b6", '"count":"7"')),
    "array": (USAGE, b"[1, 2, 3]"),
    "bare number": (USAGE, b"17"),
    "nothing at all": (USAGE, b""),
    "two events in one": (USAGE, broken("b8", '"count":1') + b"\n" + broken("b9", '"count":1')),
    "no account": (USAGE, b'{"id":"b10","time":%d}' % TIME_MS),
    "no time": (USAGE, b'{"id":"b11","account_id":"acct-1"}'),
    "local time": (USAGE, b'{"id":"b12","account_id":"acct-1","time":"2025-06-30T10:00:00"}'),
    "below zero": (USAGE, broken("b13", '"count":-1')),
    "unknown status": (TICKETS, broken("b14", '"ticket_id":"t","status":"lost"')),
    "beyond the scale": (SURVEYS, broken("b15", '"kind":"nps","score":11')),
    "too large a number": (BILLING, broken("b16", '"kind":"invoice_paid","amount":1e13')),
    "null value": (USAGE, None),
    "null value with a key on billing": (BILLING, None),
    "compressed garbage": (USAGE, gzip.compress(broken("b17", '"count":1'), mtime=0)),
    "10 MB cut off": (USAGE, broken("b18", '"feature":"' + "x" * TEN_MB + '"')[:-1]),
}

CLOUD_EVENT = (
    b'{"specversion":"1.0","type":"t","source":"/","id":"r3","subject":"acct-1","time":"2025-06-30T10:00:00Z",'
    b'"data":{"user_id":"u-cloud"}}'
)
TRACK = (
    b'{"type":"track","messageId":"r4","userId":"u-track","event":"Opened","context":{"groupId":"acct-1"},'
    b'"timestamp":"2025-06-30T10:00:00.000Z"}'
)
RECOGNISED: dict[str, tuple[str, bytes]] = {
    "number for a text": (USAGE, broken("r1", '"user_id":7')),
    "header of a schema registry": (USAGE, b"\0\0\0\0\x07" + broken("r2", '"user_id":"u-framed"')),
    "CloudEvent": (USAGE, CLOUD_EVENT),
    "track call": (USAGE, TRACK),
    "status in another case": (TICKETS, broken("r5", '"ticket_id":7,"status":"OPENED"')),
    "connect envelope": (BILLING, b'{"schema":{},"payload":%s}' % broken("r6", '"kind":"renewed"')),
}


def allow_large_records(deployment: Deployment) -> None:
    """Let the usage topic take as much as its dead letters can."""
    with deployment.kafka.admin() as admin:
        limit = {"max.message.bytes": str(LARGEST_RECORD)}
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, USAGE, limit)])


def is_taken(deployment: Deployment, message: Message) -> bool:
    """Send a record; False while the broker does not yet apply the new limit of the topic."""
    try:
        return deployment.send([message]) == 1
    except MessageSizeTooLargeError:
        return False


def neighbours(count: int, prefix: str) -> list[Message]:
    """Return good events of several accounts and all partitions."""
    return [
        event(USAGE, f"{prefix}{number}", f"acct-{number % 40}", TIME_MS - number * 1000, user_id=f"u{number % 7}")
        for number in range(count)
    ]


def test_bad_records_are_dead_lettered_and_their_neighbours_applied(tmp_path: Path, fault: Callable) -> None:
    good = neighbours(400, "n")
    key = b"acct-1"
    headers = (("trace", b"\x00\xff"), ("trace", b"again"), ("empty", None))
    bad = [Message(topic, key, value, TIME_MS, headers) for topic, value in BAD.values()]
    good += [Message(topic, key, value, TIME_MS, headers) for topic, value in RECOGNISED.values()]
    bad += [Message(topic, None, value, TIME_MS, (), 3) for topic, value in list(BAD.values())[:6]]
    large = event(USAGE, "large", "acct-1", TIME_MS, user_id="u-large", padding="x" * TEN_MB)
    with Deployment(tmp_path) as deployment:
        allow_large_records(deployment)
        mixed = [message for pair in zip(good, bad, strict=False) for message in pair] + good[len(bad) :]
        for message in (*mixed, large):  # one record a batch where it is large, in this order everywhere
            if message.value and len(message.value) > TEN_MB:
                deployment.until(partial(is_taken, deployment, message), "a topic takes a large record")
        deployment.send([message for message in mixed if len(message.value or b"") <= TEN_MB])
        worker = deployment.start()
        deployment.until_done()
        log = deployment.input_log()
        assert len(log.rejected) == len(bad)
        figures = deployment.judge(log)
        assert figures["rejected"] == len(bad)
        assert figures["applied"] == len(good) + 1
        reasons = {
            dict(letter.headers)["vitals.error.reason"]
            for letters in topic_log.read(deployment.kafka.bootstrap, verdict.LETTERS).values()
            for letter in letters
        }
        assert reasons == {b"bad_utf8", b"malformed_json", b"too_deep", b"invalid_field", b"null_value"}
        assert worker.is_running
    fault("10 bad records", figures)


def test_every_codec_is_read(tmp_path: Path, fault: Callable) -> None:
    codecs: tuple[Codec, ...] = get_args(Codec)
    with Deployment(tmp_path) as deployment:
        sent = sum(deployment.send(neighbours(300, codec), codec) for codec in codecs)
        deployment.start()
        deployment.until_done()
        figures = deployment.judge()
        assert figures["applied"] == sent
    fault("10 records by gzip, snappy, lz4, zstd", figures)


def test_events_in_the_wrong_partition_are_forwarded_and_counted_once(tmp_path: Path, fault: Callable) -> None:
    """Hashed by another partitioner, or without a key; and duplicates of both."""
    events = [
        event(USAGE, f"m{number}", f"acct-{number % 50}", TIME_MS - number * 1000, user_id=f"u{number % 9}")
        for number in range(600)
    ]
    tickets = [
        event(TICKETS, f"t{number}", f"acct-{number}", TIME_MS, ticket_id=f"t{number}", status="opened")
        for number in range(30)
    ]
    keyless = [message._replace(key=None, partition=number % PARTITIONS) for number, message in enumerate(events[:100])]
    wrong = [misplaced(message) for message in (*events[100:300], *tickets)]
    profile = misplaced(event("accounts", "p1", "acct-7", TIME_MS, name="Seven", segment="large"))
    gone = Message("accounts", accounts_of(1, 1)[0].encode(), None, TIME_MS)
    with Deployment(tmp_path) as deployment:
        deployment.send([*keyless, *wrong, *events[300:], profile, gone])
        deployment.start()
        deployment.until_done()
        log = deployment.input_log()
        figures = deployment.judge(log)
        assert figures["applied"] == len(events) + len(tickets) + 2
        at_home = sum(
            topic_log.partition_of(json.loads(message.value or b"")["account_id"].encode()) == message.partition
            for message in keyless
        )
        assert figures["forwarded"] == len(keyless) - at_home + len(wrong) + 1
        again = [misplaced(message) for message in events[:150]]
        deployment.send(again)
        deployment.until_done()
        figures = deployment.judge()
        assert figures["duplicate"] == len(again)
        inbox = topic_log.read(deployment.kafka.bootstrap, [oracle.REPARTITION])[oracle.REPARTITION]
        for record in inbox:
            assert record.value is not None
            account = json.loads(record.value)["account_id"].encode()
            assert (record.key, record.partition) == (account, topic_log.partition_of(account))
        assert deployment.scores()["acct-7"]["segment"] == "large"
    fault("10 null keys and another partitioner", figures)


@pytest.mark.faults
def test_forwarding_survives_kills(tmp_path: Path, fault: Callable) -> None:
    events = [
        misplaced(event(USAGE, f"m{number}", f"acct-{number % 90}", TIME_MS - number * 100, user_id=f"u{number % 9}"))
        for number in range(6_000)
    ]
    with Deployment(tmp_path, broker={"fetch.max.bytes": "16384"}) as deployment:
        deployment.send(events)
        for share in (0.1, 0.6, 1.1):
            worker = deployment.start()
            deployment.until_settled(share * len(events))
            deployment.kill(worker)
        deployment.start()
        deployment.until_done()
        figures = deployment.judge()
        assert figures["applied"] == len(events)
    fault("10 another partitioner, and the worker killed x3", figures)

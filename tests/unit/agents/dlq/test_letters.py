"""Dead letters: what a record of a dead-letter topic is taken apart into, which are selected, which are handled."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition

from agents.dlq.groups import Group
from agents.dlq.letters import Letter, Selection, letter_of
from agents.dlq.progress import Progress, mark
from agents.dlq.replay import _outcome, _replay
from agents.kafka.letters import Position
from schemas.sources import BUILT_IN
from schemas.topics import DLQ_PROGRESS


def record(number: int = 7, key: bytes | None = b"acme", value: bytes | None = b"{}", **error: Any) -> Any:
    headers: list[tuple[str, bytes | None]] = [("trace", b"\x00\xff"), ("trace", None), ("vitals.origin", b"billing")]
    headers.append(("vitals.replayed_from", b"billing.dlq/0/1"))
    headers += [(f"vitals.error.{name}", str(text).encode()) for name, text in error.items()]
    return SimpleNamespace(offset=number, timestamp=1_000, key=key, value=value, headers=headers)


ERROR = {
    "reason": "malformed_json",
    "message": "no JSON",
    "topic": "billing",
    "partition": 2,
    "offset": 40,
    "time": 400,
}


def letter(number: int = 7, time_ms: int = 1_000, **more: Any) -> Letter:
    return letter_of("billing.dlq", 2, record(number, **{**ERROR, **more}))._replace(time_ms=time_ms)


def test_the_headers_of_the_error_are_taken_off_and_the_others_stay_in_order() -> None:
    assert letter() == Letter(
        Position("billing.dlq", 2, 7),
        1_000,
        "malformed_json",
        "no JSON",
        Position("billing", 2, 40),
        b"acme",
        b"{}",
        (("trace", b"\x00\xff"), ("trace", None)),
        400,
    )
    assert letter().target(BUILT_IN) == "billing"


@pytest.mark.parametrize("error", [{}, {"reason": "x"}, {**ERROR, "offset": "many"}, {**ERROR, "partition": "\xff"}])
def test_a_record_without_the_headers_is_a_letter_of_unknown_origin(error: dict[str, Any]) -> None:
    strange = letter_of("billing.dlq", 0, record(**error))
    assert strange.origin is None
    assert strange.reason == error.get("reason", "unknown")


@pytest.mark.parametrize(
    ("key", "value", "account"),
    [
        (b"acme", b"not json", "acme"),
        (None, b'{"account_id":"acme"}', "acme"),
        (None, b'{"account_id":7}', None),
        (None, b"{}", None),
        (None, b"\xff", None),
        (None, b"[" * 100_000, None),
        (None, None, None),
    ],
)
def test_the_account_is_the_key_or_the_field(key: bytes | None, value: bytes | None, account: str | None) -> None:
    assert letter_of("billing.dlq", 0, record(key=key, value=value)).account() == account


@pytest.mark.parametrize(
    ("selection", "is_selected"),
    [
        (Selection(), True),
        (Selection(reasons=frozenset({"malformed_json", "other"})), True),
        (Selection(reasons=frozenset({"other"})), False),
        (Selection(since=1_000, until=1_000), True),
        (Selection(since=1_001), False),
        (Selection(until=999), False),
        (Selection(account="acme"), True),
        (Selection(account="other"), False),
    ],
)
def test_a_selection_is_by_reason_time_and_account(selection: Selection, is_selected: bool) -> None:
    assert selection.has(letter()) == is_selected


def progress_of(*marks: tuple[bytes, bytes | None]) -> Progress:
    """Progress as it is read from a topic with these records."""
    name = DLQ_PROGRESS.name
    records = [SimpleNamespace(key=key, value=value) for key, value in marks]
    positions = iter([0, len(records)])
    consumer = SimpleNamespace(
        topics=lambda: {name},
        partitions_for_topic=lambda _topic: {0},
        assign=lambda _partitions: None,
        seek_to_beginning=lambda *_partitions: None,
        end_offsets=lambda partitions: dict.fromkeys(partitions, len(records)),
        position=lambda _partition: next(positions, len(records)),
        poll=lambda **_: {TopicPartition(name, 0): records},
    )
    return Progress.read(consumer)


def test_a_letter_is_handled_once_marked_and_one_at_its_position_in_a_new_topic_is_not() -> None:
    undone = (str(letter(9).position).encode(), None)
    marks = [mark(letter(7), "replayed", 5), mark(letter(8), "discarded", 5), mark(letter(9), "discarded", 5), undone]
    progress = progress_of(*marks)
    assert progress.state_of(letter(7)) == "replayed"
    assert progress.state_of(letter(8)) == "discarded"
    assert progress.state_of(letter(9)) == "open"
    assert progress.state_of(letter(7, time_ms=2_000)) == "open"
    assert Progress.read(SimpleNamespace(topics=set)).state_of(letter(7)) == "open"


def test_two_letters_of_one_record_are_replayed_once() -> None:
    records: set[Any] = set()
    assert _outcome(letter(7), "replayed", records) == "replayed"
    assert _outcome(letter(8), "replayed", records) == "repeated"
    assert _outcome(letter(9, offset=41), "replayed", records) == "replayed"
    assert _outcome(letter(10)._replace(value=b"other"), "replayed", records) == "replayed"
    assert _outcome(letter(7), "discarded", records) == "discarded"


class Written:
    """A producer that notes the batches it is given."""

    def __init__(self) -> None:
        self.appended: list[dict[str, Any]] = []

    def create_batch(self) -> Any:
        return SimpleNamespace(append=self._append)

    def _append(self, **fields: Any) -> dict[str, Any]:
        self.appended.append(fields)
        return fields

    async def send_batch(self, _batch: Any, _topic: str, *, partition: int) -> Any:
        acknowledged = asyncio.get_running_loop().create_future()
        acknowledged.set_result(partition)
        return acknowledged


def test_a_replay_keeps_the_time_of_the_record_where_the_letter_has_it() -> None:
    producer: Any = Written()
    earlier_version = letter(8)._replace(record_ms=None)
    asyncio.run(_replay(producer, BUILT_IN, [letter(7), earlier_version]))
    assert [fields["timestamp"] for fields in producer.appended] == [400, None]


def test_a_group_counts_states_and_names_the_latest_open_letter() -> None:
    group = Group("billing.dlq", "malformed_json")
    group.add(letter(1, 500), "replayed")
    group.add(letter(2, 700), "open")
    group.add(letter(3, 300), "discarded")
    assert (group.open, group.replayed, group.discarded) == (1, 1, 1)
    assert (group.first, group.last, group.example) == (300, 700, "billing.dlq/2/2")

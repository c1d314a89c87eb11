"""The form of dead letters: what is written is what is read, whoever writes it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from agents.kafka.letters import Position, Refusal, error_headers, sendable, taken_apart

ORIGIN = Position("orders", 2, 17)


def record(**fields: Any) -> Any:
    return SimpleNamespace(**{"key": b"k", "value": b"v", "headers": (("h", b"1"), ("h", None)), **fields})


def test_headers_are_read_as_they_were_written() -> None:
    refusal = Refusal("malformed_json", "Übel: ein Text", ORIGIN, 1_774_605_600_000)
    headers = [("h", b"1"), ("h", None), *error_headers(refusal)]
    assert taken_apart(headers) == (refusal, [("h", b"1"), ("h", None)])


def test_a_record_without_a_time_and_a_letter_of_an_earlier_version_have_none() -> None:
    names = [name for name, _ in error_headers(Refusal("r", "m", ORIGIN, -1))]
    assert "vitals.error.time" not in names
    assert taken_apart(error_headers(Refusal("r", "m", ORIGIN)))[0] == Refusal("r", "m", ORIGIN, None)


def test_a_letter_with_other_headers_or_none_is_a_letter_without_origin() -> None:
    assert taken_apart(None) == (Refusal("unknown", "", None, None), [])
    broken = [("vitals.error.partition", b"x"), ("vitals.error.topic", b"t"), ("vitals.error.time", b"soon")]
    assert taken_apart(broken) == (Refusal("unknown", "", None, None), [])


def test_what_kafka_python_cannot_write_is_written_empty() -> None:
    refusal = Refusal("null_value", "m", ORIGIN, 5)
    bare = sendable(record(key=None, value=None), refusal)
    assert (bare["key"], bare["value"]) == (None, b"")
    assert bare["headers"] == [("h", b"1"), ("h", b""), *error_headers(refusal)]
    assert sendable(record(value=None), refusal)["value"] is None

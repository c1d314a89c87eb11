"""Who wrote a partition last, and when the next worker must not go on from it."""

from __future__ import annotations

import msgspec
import pytest

from stream.recovery.writer import (
    REPLACED_KNOWN,
    STATE_FORMAT,
    Member,
    Writer,
    WriterError,
    decode_writer,
    encode_writer,
    placed,
    refusal,
    succeed,
)


def writer(configuration: str, **more: object) -> Writer:
    made = Writer(
        worker=f"worker of {configuration}", version="1", policy=f"p@{configuration}", settings={"dedup": True}
    )
    return msgspec.structs.replace(made, configuration=configuration, **more)


def test_a_record_is_read_as_it_was_written_and_fields_of_later_versions_are_ignored() -> None:
    made = succeed(writer("old"), writer("new"), {"usage": "id"}, first=3)
    assert decode_writer(encode_writer(made)) == made
    assert decode_writer(encode_writer(made)[:-1] + b',"later": 1}') == made


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b'{"worker": 1}'])
def test_another_record_is_refused(value: bytes) -> None:
    with pytest.raises(WriterError):
        decode_writer(value)


def test_a_takeover_keeps_what_was_replaced_and_the_ids_that_the_broker_does_not_give() -> None:
    first = succeed(None, writer("a"), {"usage": "1", "billing": "2"}, first=5)
    assert (first.replaced, first.first) == ([], 5)
    second = succeed(first, writer("b"), {"usage": "1"}, first=5)
    assert (second.replaced, second.topics) == (["a"], {"usage": "1", "billing": "2"})
    assert succeed(second, writer("b"), {}, first=5).replaced == ["a"]
    assert succeed(second, writer("a"), {}, first=5).replaced == ["b"]


def test_the_topics_of_inputs_that_are_not_read_any_more_stay_known() -> None:
    first = succeed(None, writer("a", inputs={"usage": "usage", "visits": "web.visits"}), {}, first=0)
    second = succeed(first, writer("b", inputs={"usage": "app.usage"}), {}, first=0)
    assert second.inputs == {"usage": "app.usage", "visits": "web.visits"}
    assert placed(second, "vitals state", "1", {}, 0, inputs={"visits": "visits"}).inputs["visits"] == "visits"


def test_the_replaced_configurations_are_bounded() -> None:
    last = writer("0")
    for number in range(1, REPLACED_KNOWN + 10):
        last = succeed(last, writer(str(number)), {}, first=0)
    assert len(last.replaced) == REPLACED_KNOWN
    assert last.replaced[-1] == str(REPLACED_KNOWN + 8)


RIVAL = Member("worker 'two' on h2", "1", "b")


def test_a_new_configuration_takes_over_while_the_old_one_still_runs() -> None:
    assert refusal(writer("a"), writer("b"), [Member("worker 'two' on h2", "1", "a")]) is None


def test_a_replaced_configuration_does_not_take_back_while_the_new_one_runs() -> None:
    before = succeed(writer("a"), writer("b"), {}, first=0)
    verdict = refusal(before, writer("a"), [Member("other", "1", "c"), RIVAL])
    assert verdict is not None
    assert "worker of b (version 1, policy p@b) replaced the configuration of worker of a" in verdict.reason
    assert "policy p@b, not p@a" in verdict.reason
    assert "worker 'two' on h2 (version 1) runs the new one" in verdict.reason
    assert "stop all workers of the group first" in verdict.way_out


def test_a_replaced_configuration_takes_back_when_nobody_runs_the_new_one() -> None:
    before = succeed(writer("a"), writer("b"), {}, first=0)
    assert refusal(before, writer("a"), []) is None
    assert refusal(before, writer("a"), [Member("other", "1", "a")]) is None


def test_two_configurations_take_each_partition_from_each_other_once_at_most() -> None:
    """Whatever the group assigns to whom: what it costs is bounded."""
    members = {name: Member(name, "1", name) for name in ("a", "b")}
    last, moves = writer("a"), 0
    for number in range(100):
        name = "ab"[number % 2]
        others = [member for other, member in members.items() if other != name]
        if refusal(last, writer(name), others) is None:
            moves += last.configuration != name
            last = succeed(last, writer(name), {}, first=0)
    assert moves == 1


def test_the_setting_that_differs_is_named() -> None:
    before = succeed(writer("a"), writer("b", settings={"dedup": False}), {}, first=0)
    verdict = refusal(before, writer("a"), [RIVAL])
    assert verdict is not None
    assert "dedup False, not True" in verdict.reason


def test_state_of_a_later_format_is_refused_with_both_versions() -> None:
    verdict = refusal(writer("a", format=STATE_FORMAT + 1, version="9.0"), writer("a"), [])
    assert verdict is not None
    assert "(version 9.0, policy p@a) in state format 2, and worker of a (version 1" in verdict.reason
    assert verdict.way_out == "run version 9.0 or a later one"

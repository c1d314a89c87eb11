"""State that a restore refuses, and a broker that does not answer its questions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from kafka.errors import KafkaTimeoutError

from agents.kafka.client import BrokerError
from agents.worker.fatal import RefusedError
from agents.worker.tasks import takeover as takeover_module
from agents.worker.tasks.task_state import TaskState
from stream.recovery.writer import WRITER_KEY, Member, Writer, decode_writer, encode_writer, succeed
from tests.driving.restoring import LOG, ZERO, Stage, changelog_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stream.publishing.effects import Message


def refused(stage: Stage) -> RefusedError:
    (error,) = stage.bench.errors
    assert isinstance(error, RefusedError)
    return error


def test_a_row_that_can_not_be_read_ends_the_worker_naming_offset_key_account_and_way_out() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.restorer.assign([ZERO], [])
        stage.restorer.collect(changelog_of(ZERO, 17, (b"rbad", b"{}")))
        await stage.restorer.complete([ZERO])
        error = refused(stage)
        assert str(error).startswith("changelog log partition 0 offset 17: the row of account 'bad' (key b'rbad')")
        assert "`vitals state quarantine bad`" in error.way_out
        assert "`vitals state rebuild --partition 0`" in error.way_out
        assert error.names == {
            "topic": LOG, "partition": 0, "offset": 17, "key": repr(b"rbad"), "account": "bad"
        }  # fmt: skip
        assert stage.bench.producer.sent == []

    asyncio.run(scenario())


def test_a_row_whose_schema_was_deleted_with_the_beginning_is_not_taken_for_a_bad_row() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.first = 10
        stage.restorer.assign([ZERO], [])
        stage.restorer.collect(changelog_of(ZERO, 17, (b"rbad", b"{}")))
        await stage.restorer.complete([ZERO])
        error = refused(stage)
        assert str(error).startswith("changelog log partition 0 begins at offset 10, not 0")
        assert error.way_out.startswith("`vitals state rebuild --partition 0`")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("key", "value"),
    [(b"s", b"no JSON"), (b"s", b'{"position": 7}'), (b"p" + bytes(12) + b"acme", b"cut"), (None, b"x"), (b"?", b"x")],
)
def test_a_record_of_any_kind_that_can_not_be_read_ends_the_worker_and_a_later_one_mends_it(
    key: bytes | None, value: bytes
) -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.restorer.assign([ZERO], [])
        stage.restorer.collect(changelog_of(ZERO, 0, (b"s", b'{"position": {}}')))
        stage.restorer.collect(changelog_of(ZERO, 1, (key, value)))
        await stage.restorer.complete([ZERO])
        assert refused(stage).names["key"] == repr(key or b"")
        stage = Stage()
        stage.restorer.assign([ZERO], [])
        stage.restorer.collect(changelog_of(ZERO, 0, (key, value), (b"s", b'{"position": {}}'), (key, None)))
        await stage.restorer.complete([ZERO])
        assert stage.bench.errors == []

    asyncio.run(scenario())


def test_state_that_a_command_was_replacing_ends_the_worker_and_the_command_is_the_way_out() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.restorer.assign([ZERO], [])
        command = b"vitals state rebuild --topic billing"
        stage.restorer.collect(changelog_of(ZERO, 0, (b"s", b'{"position": {}}'), (b"u", command)))
        await stage.restorer.complete([ZERO])
        error = refused(stage)
        assert "`vitals state rebuild --topic billing` was interrupted" in str(error)
        assert error.way_out == "run `vitals state rebuild --topic billing` again"
        assert error.names["key"] == repr(b"u")

    asyncio.run(scenario())


def test_committed_offsets_without_state_end_the_worker_before_it_writes_anything() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.committed[0] = 40
        stage.restorer.assign([ZERO], [])
        await stage.restorer.complete([ZERO])
        error = refused(stage)
        assert str(error) == (
            "changelog log partition 0 has no state: product-usage is committed up to offset 40, "
            "and the changelog has no position"
        )
        assert "`vitals state rebuild --partition 0`" in error.way_out
        assert (stage.bench.producer.sent, stage.read) == ([], [])

    asyncio.run(scenario())


def test_a_worker_writes_who_it_is_when_it_takes_a_partition_over() -> None:
    async def scenario() -> None:
        stage = Stage()
        written: dict[bytes, bytes] = {}

        def put(topic: str, partition: int, records: Iterable[Message[bytes]], **_: object) -> None:
            assert (topic, partition) == (LOG, 0)
            written.update((record.key, record.value) for record in records)

        stage.bench.outbox.put = put  # type: ignore[method-assign,assignment]
        stage.restorer.assign([ZERO], [])
        await stage.restorer.complete([ZERO])
        assert decode_writer(written[WRITER_KEY]).configuration == "new"

    asyncio.run(scenario())


@pytest.mark.parametrize("alive", [True, False])
def test_a_member_with_the_configuration_that_replaced_ours_is_a_rival_only_if_it_stays(
    monkeypatch: pytest.MonkeyPatch, *, alive: bool
) -> None:
    """After all workers were stopped, the group lists them until their sessions end."""
    monkeypatch.setattr(takeover_module, "PAUSE_S", 0.0)

    async def scenario() -> None:
        stage = Stage(0 if alive else 60)
        rival = Member("worker 'two' on h", "1", "newer")
        stage.members = [[rival], [rival], [rival] if alive else []]
        before = Writer(worker="w", version="1", policy="q", settings={}, configuration="newer")
        replaced = Writer(worker="one", version="1", policy="p", settings={}, configuration="new")
        saved = encode_writer(succeed(replaced, before, {}, first=0))
        stage.restorer.assign([ZERO], [])
        stage.restorer.collect(changelog_of(ZERO, 0, (WRITER_KEY, saved)))
        await stage.restorer.complete([ZERO])
        assert stage.states() == {0: TaskState.RESTORING if alive else TaskState.RUNNING}
        assert ["two configurations" in str(error) for error in stage.bench.errors] == [True] * alive

    asyncio.run(scenario())


def test_a_broker_that_does_not_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover_module, "PAUSE_S", 0.0)

    async def scenario() -> None:
        stage = Stage()
        stage.broker_errors = [KafkaTimeoutError("slow"), BrokerError("away"), OSError("reset")]
        stage.restorer.assign([ZERO], [])
        await stage.restorer.complete([ZERO])
        assert (stage.states(), stage.bench.errors) == ({0: TaskState.RUNNING}, [])

    asyncio.run(scenario())


def test_a_task_that_is_revoked_while_the_broker_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(takeover_module, "PAUSE_S", 0.0)

    async def scenario() -> None:
        stage = Stage()
        stage.broker_errors = [KafkaTimeoutError("slow")] * 1000
        stage.restorer.assign([ZERO], [])
        restoring = asyncio.create_task(stage.restorer.complete([ZERO]))
        await asyncio.sleep(0)
        await stage.leave()
        stage.restorer.assign([], [ZERO])
        await restoring
        assert (stage.states(), stage.bench.errors, stage.read) == ({}, [], [])
        assert len(stage.broker_errors) > 900

    asyncio.run(scenario())

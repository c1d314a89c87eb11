"""The event stream: each key once, resuming, resets, and no memory for clients that do not read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.board.state.journal import Journal
from agents.board.web import streaming
from tests.driving.boards import NOON, alert, board_of, score, tombstone


def drained(journal: Journal, position: int, limit: int = 100) -> list[str]:
    keys: list[str] = []
    while True:
        changed, position = journal.since(position, limit)
        keys += [key for _, key in changed]
        if not changed:
            return keys


def test_a_key_is_in_the_journal_once_at_its_latest_change() -> None:
    journal = Journal()
    for key in "abcab":
        journal.add(key)
    assert drained(journal, 0) == ["c", "a", "b"]
    assert drained(journal, 3) == ["a", "b"]
    assert drained(journal, journal.position) == []


@given(st.lists(st.sampled_from("abcdefgh"), max_size=60), st.data())
def test_a_client_gets_the_latest_change_of_every_key_wherever_it_pauses(
    keys_added: list[str], data: st.DataObject
) -> None:
    journal = Journal()
    position, known = 0, dict[str, int]()
    for key in keys_added:
        journal.add(key)
        if data.draw(st.booleans()):
            changed, position = journal.since(position, data.draw(st.integers(1, 5)))
            known.update((key, changed_at) for changed_at, key in changed)
    while True:
        changed, position = journal.since(position, 3)
        if not changed:
            break
        known.update((key, changed_at) for changed_at, key in changed)
    assert known == {key: number for number, key in enumerate(keys_added, 1)}


def test_keys_that_are_not_wanted_are_skipped() -> None:
    journal = Journal()
    for key in "abcabc":
        journal.add(key)
    assert journal.since(0, 10, lambda key: key == "b") == ([(5, "b")], 6)


def test_memory_is_bounded_and_a_client_too_far_behind_cannot_resume() -> None:
    journal = Journal(most=100)
    for number in range(10_000):
        journal.add(f"k{number}")
        journal.add("again")
    assert len(journal) <= 100
    assert len(journal._keys) <= 2 * 100 + 1024
    assert not journal.can_resume(0)
    assert journal.can_resume(journal.position)
    assert not journal.can_resume(journal.position + 1)
    journal.clear()
    assert not journal.can_resume(journal.position - 1)


def events_of(chunk: bytes) -> list[tuple[str, Any, str | None]]:
    events = []
    for block in chunk.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            events.append((fields["event"], msgspec.json.decode(fields["data"]), fields.get("id")))
    return events


async def read_events(stream: AsyncIterator[bytes], chunks: int) -> list[tuple[str, Any, str | None]]:
    events = []
    for _ in range(chunks):
        events += events_of(await anext(stream))
    return [event for event in events if event[0] != "heartbeat"]


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "PACE_S", 0)


def test_a_new_client_gets_the_summary_then_changes() -> None:
    async def run() -> None:
        board = board_of(score("a", 80.0))
        stream = board.streams.stream(None, None)
        (first,) = await read_events(stream, 2)
        assert (first[0], first[1]["accounts"]) == ("summary", 1)
        board.apply([score("a", 50.0), score("a", 40.0), score("b", 30.0), alert("b")])
        changed = await read_events(stream, 2)
        assert [(name, data["account_id"]) for name, data, _ in changed] == [
            ("account", "a"),
            ("alert", "b"),
            ("account", "b"),
        ]
        assert changed[0][1]["scores"]["health"]["value"] == 40.0
        assert board.streams.clients == 1
        await stream.aclose()  # type: ignore[attr-defined]
        assert board.streams.clients == 0

    asyncio.run(run())


def test_a_client_resumes_after_its_last_event() -> None:
    async def run() -> None:
        board = board_of(score("a", 80.0))
        board.apply([score("a", 50.0), score("b", 30.0)])
        stream = board.streams.stream(None, None)
        await read_events(stream, 2)
        board.apply([score("c", 50.0), score("a", 20.0), tombstone("c")])
        events = await read_events(stream, 2)
        assert [(name, data["account_id"]) for name, data, _ in events] == [("account", "a"), ("gone", "c")]
        resumed = board.streams.stream(events[0][2], None)
        assert [(name, data["account_id"]) for name, data, _ in await read_events(resumed, 2)] == [("gone", "c")]

    asyncio.run(run())


@pytest.mark.parametrize("last", ["other-5", "nonsense", "x-", "-1"])
def test_an_id_of_another_run_gets_a_reset_and_the_summary(last: str) -> None:
    async def run() -> None:
        board = board_of(score("a", 80.0))
        events = await read_events(board.streams.stream(last, None), 2)
        assert [name for name, _, _ in events] == ["reset", "summary"]
        assert events[0][1] == {"reason": "restarted"}

    asyncio.run(run())


def test_an_id_after_the_latest_or_before_the_oldest_gets_a_reset() -> None:
    async def run() -> None:
        board = board_of(score("a", 80.0))
        for position in (0, board.journal.position + 5):
            events = await read_events(board.streams.stream(f"{board.frames.boot}-{position}", None), 2)
            assert [(name, data) for name, data, _ in events] == [("reset", {"reason": "too_far_behind"})]

    asyncio.run(run())


def test_a_client_gets_only_the_rows_it_asks_for_but_all_alerts() -> None:
    async def run() -> None:
        board = board_of(score("a", 80.0), score("b", 80.0))
        stream = board.streams.stream(None, frozenset({"b"}))
        await read_events(stream, 2)
        board.apply([score("a", 50.0), score("b", 50.0), alert("a", starts_at=NOON)])
        events = await read_events(stream, 2)
        assert [(name, data["account_id"]) for name, data, _ in events] == [("account", "b"), ("alert", "a")]

    asyncio.run(run())


def test_a_thousand_changes_while_a_client_does_not_read_are_one_event() -> None:
    async def run() -> None:
        board = board_of(score("a", 80.0))
        stream = board.streams.stream(None, None)
        await read_events(stream, 2)
        board.apply([score("a", float(value % 100)) for value in range(1_001)])
        events = await read_events(stream, 2)
        assert [data["scores"]["health"]["value"] for _, data, _ in events] == [0.0]

    asyncio.run(run())


def test_a_line_break_in_a_name_stays_inside_its_event() -> None:
    async def run() -> None:
        board = board_of(score("a", 80.0))
        stream = board.streams.stream(None, None)
        await read_events(stream, 2)
        board.apply([score("a\nevent: forged\n\n", 50.0)])
        (event,) = await read_events(stream, 2)
        assert event[1]["account_id"] == "a\nevent: forged\n\n"

    asyncio.run(run())

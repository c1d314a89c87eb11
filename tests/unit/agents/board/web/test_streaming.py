"""The stream: each key once at its latest, resuming, beginning anew, nothing kept for who does not read."""

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
        found, position = journal.since(position, limit)
        keys += [key for _, key in found]
        if not found:
            return keys


def test_a_key_stands_once_at_its_latest_change() -> None:
    journal = Journal()
    for key in "abcab":
        journal.add(key)
    assert drained(journal, 0) == ["c", "a", "b"]
    assert drained(journal, 3) == ["a", "b"]
    assert drained(journal, journal.position) == []


@given(st.lists(st.sampled_from("abcdefgh"), max_size=60), st.data())
def test_a_listener_learns_the_latest_of_every_key_wherever_it_stops(told: list[str], data: st.DataObject) -> None:
    journal = Journal()
    position, known = 0, dict[str, int]()
    for key in told:
        journal.add(key)
        if data.draw(st.booleans()):
            found, position = journal.since(position, data.draw(st.integers(1, 5)))
            known.update((one, where) for where, one in found)
    while True:
        found, position = journal.since(position, 3)
        if not found:
            break
        known.update((one, where) for where, one in found)
    assert known == {key: at for at, key in enumerate(told, 1)}


def test_only_what_is_wanted_comes_and_the_rest_is_passed_over() -> None:
    journal = Journal()
    for key in "abcabc":
        journal.add(key)
    assert journal.since(0, 10, lambda key: key == "b") == ([(5, "b")], 6)


def test_memory_is_bounded_and_who_is_too_far_behind_begins_anew() -> None:
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
    found = []
    for block in chunk.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append((fields["event"], msgspec.json.decode(fields["data"]), fields.get("id")))
    return found


async def some(stream: AsyncIterator[bytes], chunks: int) -> list[tuple[str, Any, str | None]]:
    found = []
    for _ in range(chunks):
        found += events_of(await anext(stream))
    return [event for event in found if event[0] != "heartbeat"]


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "PACE_S", 0)


def test_a_fresh_client_gets_the_summary_then_what_changes() -> None:
    async def run() -> None:
        board = board_of(score("a", 80.0))
        stream = board.streams.stream(None, None)
        (first,) = await some(stream, 2)
        assert (first[0], first[1]["accounts"]) == ("summary", 1)
        board.apply([score("a", 50.0), score("a", 40.0), score("b", 30.0), alert("b")])
        changed = await some(stream, 2)
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


def test_a_client_resumes_behind_its_last_event() -> None:
    async def run() -> None:
        board = board_of(score("a", 80.0))
        board.apply([score("a", 50.0), score("b", 30.0)])
        stream = board.streams.stream(None, None)
        await some(stream, 2)
        board.apply([score("c", 50.0), score("a", 20.0), tombstone("c")])
        events = await some(stream, 2)
        assert [(name, data["account_id"]) for name, data, _ in events] == [("account", "a"), ("gone", "c")]
        resumed = board.streams.stream(events[0][2], None)
        assert [(name, data["account_id"]) for name, data, _ in await some(resumed, 2)] == [("gone", "c")]

    asyncio.run(run())


@pytest.mark.parametrize("last", ["other-5", "nonsense", "x-", "-1"])
def test_an_id_of_another_run_is_answered_by_a_reset_and_the_summary(last: str) -> None:
    async def run() -> None:
        board = board_of(score("a", 80.0))
        events = await some(board.streams.stream(last, None), 2)
        assert [name for name, _, _ in events] == ["reset", "summary"]
        assert events[0][1] == {"reason": "restarted"}

    asyncio.run(run())


def test_an_id_beyond_ours_or_before_what_is_kept_is_answered_by_a_reset() -> None:
    async def run() -> None:
        board = board_of(score("a", 80.0))
        for position in (0, board.journal.position + 5):
            events = await some(board.streams.stream(f"{board.frames.boot}-{position}", None), 2)
            assert [(name, data) for name, data, _ in events] == [("reset", {"reason": "too_far_behind"})]

    asyncio.run(run())


def test_a_client_gets_only_the_rows_it_asks_for_but_all_alerts() -> None:
    async def run() -> None:
        board = board_of(score("a", 80.0), score("b", 80.0))
        stream = board.streams.stream(None, frozenset({"b"}))
        await some(stream, 2)
        board.apply([score("a", 50.0), score("b", 50.0), alert("a", starts_at=NOON)])
        events = await some(stream, 2)
        assert [(name, data["account_id"]) for name, data, _ in events] == [("account", "b"), ("alert", "a")]

    asyncio.run(run())


def test_a_thousand_changes_while_a_client_does_not_read_are_one_event() -> None:
    async def run() -> None:
        board = board_of(score("a", 80.0))
        stream = board.streams.stream(None, None)
        await some(stream, 2)
        board.apply([score("a", float(value % 100)) for value in range(1_001)])
        events = await some(stream, 2)
        assert [data["scores"]["health"]["value"] for _, data, _ in events] == [0.0]

    asyncio.run(run())


def test_a_line_break_in_a_name_stays_inside_its_event() -> None:
    async def run() -> None:
        board = board_of(score("a", 80.0))
        stream = board.streams.stream(None, None)
        await some(stream, 2)
        board.apply([score("a\nevent: forged\n\n", 50.0)])
        (event,) = await some(stream, 2)
        assert event[1]["account_id"] == "a\nevent: forged\n\n"

    asyncio.run(run())

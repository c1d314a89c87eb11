"""Recordings that are read while they are written: a line counts when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agents.board.state.recorded import Lines, RecordingError, records_of

if TYPE_CHECKING:
    from pathlib import Path

LINE = '{"topic": "accounts", "key": "a", "value": {"name": "\u00c4"}, "timestamp": 1}\n'


@pytest.mark.parametrize("cut", range(1, len(LINE)))
def test_a_line_that_is_half_written_waits_for_its_rest(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "records.jsonl"
    with path.open("w", encoding="utf-8") as writer, path.open(encoding="utf-8") as file:
        lines = Lines(file)
        writer.write(LINE + LINE[:cut])
        writer.flush()
        assert [record.key for record in records_of(lines, "records", last=False)] == [b"a"]
        assert list(records_of(lines, "records", last=False)) == []
        writer.write(LINE[cut:])
        writer.flush()
        assert [record.key for record in records_of(lines, "records", last=False)] == [b"a"]


def test_a_mistake_is_named_by_its_line_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(LINE, encoding="utf-8")
    with path.open(encoding="utf-8") as file, path.open("a", encoding="utf-8") as writer:
        lines = Lines(file)
        list(records_of(lines, "records", last=False))
        writer.write("no JSON\n")
        writer.flush()
        with pytest.raises(RecordingError, match="records, line 2"):
            list(records_of(lines, "records", last=False))


def test_the_last_line_of_a_whole_recording_needs_no_end(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(LINE + LINE.rstrip("\n").replace('"a"', '"b"'), encoding="utf-8")
    with path.open(encoding="utf-8") as file:
        assert [record.key for record in records_of(Lines(file), "records", last=True)] == [b"a", b"b"]


@pytest.mark.parametrize("bad", [b'{"topic":"\xff"}\n', b'{"topic":' + b"[" * 100_000 + b"\n"])
def test_bytes_that_are_no_recording_are_named(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(LINE.encode() + bad)
    with path.open(encoding="utf-8") as file, pytest.raises(RecordingError, match=r"records"):
        list(records_of(Lines(file), "records", last=True))

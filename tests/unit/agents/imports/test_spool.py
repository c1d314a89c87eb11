"""The spool sorts, survives a kill at any moment, and belongs to one process."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.imports.plan import Plan
from agents.imports.spool import Spool, SpooledEvent, SpoolError

EVENTS = st.lists(
    st.builds(
        SpooledEvent,
        st.integers(-(2**53), 2**53) | st.integers(0, 3),
        st.integers(0, 2),
        st.sampled_from(["product-usage", "accounts"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
        st.none() | st.binary(max_size=8),
        st.just("a.jsonl"),
        st.integers(1, 9),
    ),
    max_size=30,
)


def in_order(events: list[SpooledEvent]) -> list[SpooledEvent]:
    numbered = [event._replace(number=number) for number, event in enumerate(events, 1)]
    return sorted(numbered, key=lambda event: (event.time_ms, event.rank, event.number))


@settings(deadline=None)
@given(EVENTS, st.integers(1, 7), st.data())
def test_events_come_in_order_of_time_and_each_list_again_until_it_is_marked(
    events: list[SpooledEvent], size: int, data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "import.sqlite3"
        Spool.create(path, {"a": "1"}, events, Plan(records=len(events))).__exit__()
        sent: list[SpooledEvent] = []
        while True:
            with Spool(path) as spool:
                assert spool.state.sent == len(sent)
                batch = next(spool.unsent(size), None)
                if batch is None:
                    break
                assert len(batch) <= size
                if data.draw(st.booleans()):
                    continue  # killed before it was marked
                spool.mark_sent(batch, 0)
                sent += batch
        assert sent == in_order(events)


def test_a_kill_while_the_files_are_read_leaves_no_spool(tmp_path: Path) -> None:
    def killed() -> SpooledEvent:
        raise KeyboardInterrupt

    path = tmp_path / "state" / "import.sqlite3"
    with pytest.raises(KeyboardInterrupt):
        Spool.create(path, {}, (killed() for _ in range(1)), Plan())
    assert not path.exists()
    event = SpooledEvent(1, 0, "billing", "acme", b"{}", "a.jsonl", 1)
    with Spool.create(path, {}, [event], Plan()) as spool:
        assert list(next(spool.unsent(5))) == [event._replace(number=1)]


def test_two_processes_do_not_send_the_same_import(tmp_path: Path) -> None:
    path = tmp_path / "import.sqlite3"
    with Spool.create(path, {}, [], Plan()), pytest.raises(SpoolError, match="is the same import running already"):
        Spool(path)
    Spool(path).__exit__()


def test_a_finished_import_is_small_and_knows_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "import.sqlite3"
    events = [SpooledEvent(1, 0, "billing", "acme", b"x" * 1000, "a.jsonl", line) for line in range(1000)]
    with Spool.create(path, {"a.jsonl": "1"}, events, Plan(records=1000)) as spool:
        for batch in spool.unsent(300):
            spool.mark_sent(batch, 1)
        spool.finish()
    assert path.stat().st_size < 100_000
    with Spool(path) as spool:
        assert (spool.state.is_done, spool.state.sent, spool.state.refused) == (True, 996, 4)
        assert list(spool.unsent(5)) == []


@pytest.mark.parametrize("content", [b"no database" * 100, b""])
def test_a_damaged_spool_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "import.sqlite3"
    path.write_bytes(content)
    with pytest.raises(SpoolError, match="delete it to begin again"):
        Spool(path)


def test_values_that_are_large_are_not_read_all_at_once(tmp_path: Path) -> None:
    events = [SpooledEvent(1, 0, "billing", "acme", b"x" * 10_000_000, "a.jsonl", line) for line in range(3)]
    with Spool.create(tmp_path / "import.sqlite3", {}, events, Plan()) as spool:
        assert len(next(spool.unsent(100))) == 2

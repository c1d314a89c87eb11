"""The demo's status from the worker's output records, and how the screen shows it."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from agents.demo import status as tallies
from agents.demo.screen import Screen, View, picture, plain_line
from agents.demo.status import RecentIds, Status
from schemas.outputs import Alert, FactorChange, ScoreChange, ScoreMessage, ScoreValue
from schemas.topics import DAY_MS

DAY_0 = 20_000 * DAY_MS
NAMES = {"acme": "Alderwick Foods", "long": "A name that is far too long for any column of the table"}


def score(account: str, value: float, band: str, revision: int = 1) -> ScoreMessage:
    return ScoreMessage(account, DAY_0, revision, "template", None, {"health": ScoreValue(value, band, [])})


def change(
    identity: str, account: str, ends: tuple[float, float], contributions: dict[str, float], **also: Any
) -> ScoreChange:
    """A change from one end to the other; `also`: its `day`, the `band` before (None: the first score)."""
    factors = [FactorChange(measure, 0.0, delta, delta) for measure, delta in contributions.items()]
    time_ms, band = DAY_0 + also.get("day", 0) * DAY_MS, also.get("band", "a")
    return ScoreChange(identity, account, time_ms, "health", *ends, band, "b", "event", factors, "template", 1)


def alert(identity: str, account: str, status: Literal["firing", "resolved"] = "firing") -> Alert:
    over = DAY_0 + 1 if status == "resolved" else None
    fingerprint, band_and_reason = f"f-{account}", ("at-risk", "fell")
    return Alert(
        identity, fingerprint, account, "band", "critical", status, DAY_0, 33.3, *band_and_reason, {}, {}, over
    )


def view(phase: str = "sending events", kills: int = 0, hint: str = "", settled: int = 310_991) -> View:
    return View(phase, hint, 341_282, settled, 152_310.4, 30_291, kills, DAY_0 - 120 * DAY_MS, DAY_0, DAY_0 - 5)


def test_only_the_latest_score_of_an_account_counts() -> None:
    status = Status()
    for message in (
        score("a", 80, "healthy"),
        score("b", 30, "at-risk"),
        score("a", 50, "attention"),
        score("b", 30, "at-risk"),
    ):
        status.add_score(message)
    assert status.accounts == 2
    assert status.bands() == {"healthy": 0, "attention": 1, "at-risk": 1}
    status.remove_score("b")
    status.remove_score("unknown")
    assert status.bands() == {"healthy": 0, "attention": 1, "at-risk": 0}


def test_bands_are_listed_best_first_for_any_names() -> None:
    status = Status()
    for number, (value, band) in enumerate([(10, "zebra"), (95, "mouse"), (55, "cat"), (12, "zebra"), (60, "cat")]):
        status.add_score(score(f"a{number}", value, band))
    assert list(status.bands()) == ["mouse", "cat", "zebra"]


def test_a_repeated_record_counts_once() -> None:
    status = Status()
    for _ in range(3):
        status.add_change(change("1", "a", (50, 40), {"tickets": -10}))
        status.add_alert(alert("x", "a"))
    assert (status.changes, status.alerts_fired, status.firing, len(status.alerts)) == (1, 1, 1, 1)
    assert status.biggest_moves(1)[0].delta == -10


def test_a_resolved_alert_is_not_firing() -> None:
    status = Status()
    status.add_alert(alert("1", "a"))
    status.add_alert(alert("2", "b"))
    status.add_alert(alert("3", "a", "resolved"))
    assert (status.firing, status.alerts_fired, len(status.alerts)) == (1, 2, 3)


def test_moves_add_up_over_a_week_of_event_time_with_their_reasons() -> None:
    status = Status()
    status.add_change(change("0", "old", (90, 10), {"usage": -80}, day=0))
    status.add_change(change("1", "a", (80, 70), {"usage": -12, "tickets": 2}, day=4))
    status.add_change(change("2", "a", (70, 66), {"usage": 1, "tickets": -5}, day=8))
    status.add_change(change("3", "b", (50, 59), {"usage": -1, "tickets": 10}, day=8))
    status.add_change(change("4", "new", (0, 99), {"usage": 99}, day=8, band=None))
    moves = status.biggest_moves(5)
    assert [(move.account_id, move.delta, move.main_reason()) for move in moves] == [
        ("a", -14, ("usage", -11)),
        ("b", 9, ("tickets", 10)),
    ]
    assert moves[0].score == 66
    status.add_change(change("5", "a", (66, 0), {"usage": -66}, day=0))  # too old: counted, but not shown
    assert status.biggest_moves(1)[0].delta == -14
    assert status.changes == 6


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 10))
def test_recent_ids_stores_only_the_latest(identities: list[int], most: int) -> None:
    recent = RecentIds(most)
    remembered: list[int] = []
    for identity in identities:
        assert recent.is_new(str(identity)) == (identity not in remembered)
        if identity not in remembered:
            remembered = [*remembered, identity][-most:]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "MOST_ACCOUNTS", 10)
    status = Status()
    for number in range(100):
        status.add_score(score(f"a{number}", 50, "attention"))
        status.add_change(change(f"c{number}", f"a{number}", (1, 2), {"usage": 1}))
        status.add_alert(alert(f"x{number}", f"a{number}"))
    assert status.accounts == status.firing == 10
    assert len(status.biggest_moves(100)) == 10
    assert len(status.alerts) == tallies.ALERTS_SHOWN
    assert (status.changes, status.alerts_fired) == (100, 100)


def full_status() -> Status:
    status = Status()
    for number in range(50):
        status.add_score(score(f"a{number}", 5 + number * 1.9, ["at-risk", "attention", "healthy"][number // 17]))
    for number, account in enumerate(["acme", "long", "unknown-account-with-a-very-long-identity", "d", "e", "f"]):
        status.add_change(
            change(f"{number}", account, (90, 90 - number * 14), {"support_tickets_of_a_long_name": -number * 14})
        )
        status.add_alert(alert(f"f{number}", account))
        status.add_alert(alert(f"r{number}", account, "resolved"))
    return status


def printed(view_: View, status: Status, *, ascii_only: bool = False) -> list[str]:
    console = Console(width=80, height=24, force_terminal=True, color_system=None, file=io.StringIO())
    with console.capture() as capture:
        console.print(picture(view_, status, NAMES, ascii_only=ascii_only))
    return capture.get().splitlines()


def test_the_table_fits_80_by_24() -> None:
    for status in (Status(), full_status()):
        for shown in (
            view(),
            view("all applied", kills=12, hint="Ctrl-C ends the demo."),
            view("applying the rest", kills=3),
        ):
            lines = printed(shown, status)
            assert max(map(cell_len, lines)) <= 80
            assert len(lines) < 25


def test_everything_shown_in_colour_is_also_text() -> None:
    text = "\n".join(printed(view(kills=2), full_status()))
    for label in (
        "healthy",
        "attention",
        "at-risk",
        "critical firing",
        "resolved",
        "day 120 of 120",
        "152,310 events/s",
        "killed 2 x",
    ):
        assert label in text
    assert "unknown-account-with-." in text
    assert "-70.0" in text
    assert "support tickets of a" in text


def test_the_table_can_be_plain_ascii() -> None:
    assert "\n".join(printed(view(), full_status(), ascii_only=True)).isascii()


def plain_lines(*moments: tuple[float, View, Status]) -> list[str]:
    """What a screen without a terminal prints for these times, views and statuses."""
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as capture, Screen(console, NAMES) as screen:
        for now_s, shown, status in moments:
            screen.show(shown, status, now_s)
    return capture.get().splitlines()


def test_without_a_terminal_changed_figures_are_printed_once_a_second() -> None:
    views = [view(settled=number) for number in range(9)]
    lines = plain_lines(*((100 + number * 0.25, shown, full_status()) for number, shown in enumerate(views)))
    assert lines == [plain_line(views[number], full_status()) for number in (0, 4, 8)]
    assert "sent 341,282, settled 4 (152,310/s)" in lines[1]


def test_without_a_terminal_unchanged_figures_are_not_repeated() -> None:
    changed = view(settled=310_992)
    moments = [(100.0 + second, view() if second < 20 else changed, full_status()) for second in range(40)]
    assert plain_lines(*moments) == [plain_line(view(), full_status()), plain_line(changed, full_status())]


def test_without_a_terminal_a_phase_is_printed_at_once_and_alone_until_there_are_figures() -> None:
    start = View("starting the worker", "", 0, 0, 0.0, 0, 0, DAY_0, DAY_0, None)
    sending, ended = replace(start, phase="sending events"), view("done")
    moments = [(100 + tick * 0.25, start, Status()) for tick in range(30)]
    moments += [(107.6, sending, Status()), (107.7, view(), full_status()), (107.8, ended, full_status())]
    expected = ["starting the worker", "sending events", plain_line(ended, full_status())]
    assert plain_lines(*moments) == expected

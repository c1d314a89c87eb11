"""Event files on a board: what a worker would have published for them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from agents.board.state.board import Board
from agents.board.state.scored_files import records_of
from agents.board.views.rows import row_of
from agents.files.replay import replay_files
from stream.engine.engine import Mode
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy

if TYPE_CHECKING:
    from pathlib import Path

    from agents.files.replay import Replay

DAY_MS = 86_400_000
MARCH_MS = 1_772_323_200_000
PLAN = compile_plan(
    parse_policy(
        """
        name = "files"
        [measures.uses]
        source = "product-usage"
        stat = "count"
        window = "3d"
        normalise = { kind = "linear", zero_at = 0, hundred_at = 3 }
        [scores.health]
        min_change = 1
        weights = { uses = 1 }
        bands = [
          { name = "poor", from = 0, alert = "critical" }, { name = "fair", from = 40 }, { name = "good", from = 70 },
        ]
        """
    )
)


def replay(path: Path, events: list[dict[str, Any]], as_of_ms: int | None = None) -> Replay:
    path.write_text("".join(f"{json.dumps(event)}\n" for event in events), encoding="utf-8")
    return replay_files([path], PLAN, as_of_ms, mode=Mode.HEAD)


def used(account: str, day: int, number: int = 0) -> dict[str, Any]:
    time_ms = MARCH_MS + day * DAY_MS + 1000
    return {"topic": "product-usage", "id": f"{day}-{number}", "account_id": account, "time": time_ms}


def profile(account: str, day: int, **fields: Any) -> dict[str, Any]:
    return {"topic": "accounts", "id": f"p-{day}", "account_id": account, "time": MARCH_MS + day * DAY_MS, **fields}


def board_of(replayed: Replay) -> Board:
    board = Board(PLAN)
    board.apply(records_of(replayed))
    board.finish_loading()
    return board


def row(board: Board, account: str) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(row_of(board.state, board.state.accounts[account]))
    return shown


def test_an_account_has_its_score_its_changes_its_alert_and_its_profile(tmp_path: Path) -> None:
    events = [profile("acme", 0, name="Acme", seats=5, owner="Ann"), used("acme", 0), used("acme", 0, 1)]
    events += [profile("acme", 2, owner=None, tier="gold"), used("acme", 5)]
    board = board_of(replay(tmp_path / "events.jsonl", events))
    acme = row(board, "acme")
    assert (acme["name"], acme["owner"], acme["tier"], acme["attributes"]) == ("Acme", None, "gold", {"seats": 5})
    assert (acme["scores"]["health"]["value"], acme["scores"]["health"]["band"]) == (33.333333333333, "poor")
    history = board.state.accounts["acme"].series["health"]
    assert [history.value_at(MARCH_MS + day * DAY_MS + 1000) for day in (0, 5)] == [66.666666666667, 33.333333333333]
    assert [alert.status for alert in board.state.episodes.open_of("acme")] == ["firing"]


def test_nothing_is_later_than_the_moment(tmp_path: Path) -> None:
    events = [used("acme", 0), profile("acme", 1, name="Then"), profile("acme", 5, name="Later"), used("late", 5)]
    board = board_of(replay(tmp_path / "events.jsonl", events, as_of_ms=MARCH_MS + 2 * DAY_MS))
    assert row(board, "acme")["name"] == "Then"
    assert list(board.state.accounts) == ["acme"]


def test_an_erased_account_is_not_shown(tmp_path: Path) -> None:
    erase = {"topic": "controls", "id": "e", "account_id": "acme", "time": MARCH_MS + DAY_MS, "kind": "erase"}
    board = board_of(replay(tmp_path / "events.jsonl", [used("acme", 0), erase, used("other", 2)]))
    assert list(board.state.accounts) == ["other"]


def test_files_without_an_event_give_an_empty_board(tmp_path: Path) -> None:
    assert list(records_of(replay(tmp_path / "events.jsonl", [profile("acme", 0, name="Acme")]))) == []


def test_the_bands_are_those_of_the_policy_in_its_order(tmp_path: Path) -> None:
    board = board_of(replay(tmp_path / "events.jsonl", [used("acme", 0)]))
    assert board.state.bands("health") == ["good", "fair", "poor"]

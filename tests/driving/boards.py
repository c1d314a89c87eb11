"""Boards with synthetic records, and clients of their applications, for tests of the board."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.testclient import TestClient

from agents.board.state.board import Board, Record
from agents.board.views.inputs import Inputs, NoInputs
from agents.board.web.app import build_app
from agents.board.web.controls import AlertControl, Controls
from agents.board.web.dead_letters import DeadLetterBox, NoDeadLetters
from agents.board.web.pages import Pages
from agents.settings.settings import Settings, load_settings
from schemas.outputs import Alert, Factor, FactorChange, ScoreChange, ScoreMessage, ScoreValue, ShadowMessage
from schemas.topics import ALERTS, CHANGES, DAY_MS, SCORES, SHADOW

NOON = 1_790_000_000_000 // DAY_MS * DAY_MS + DAY_MS // 2
"""A noon; UTC."""
POLICY = "p@1"
TOKEN = "a-token-of-24-characters"


def band_of(value: float) -> str:
    return "healthy" if value >= 70 else "attention" if value >= 40 else "at-risk"


def score(account: str, value: float, as_of: int = NOON, **more: Any) -> Record:
    """A record of `health.scores` with one score, made of two measures."""
    factors = [Factor("usage", 3.0, value, 0.5, value / 2), Factor("tickets", 1.0, value, 0.5, value / 2)]
    rare = {name: more.pop(name, None) for name in ("confidence", "shown")}
    values = {"health": ScoreValue(value, more.pop("band", band_of(value)), factors, **rare)}
    message = ScoreMessage(account, as_of, more.pop("revision", 1), POLICY, more.pop("segment", None), values, **more)
    return Record(SCORES, account.encode(), msgspec.json.encode(message), as_of)


def tombstone(account: str) -> Record:
    return Record(SCORES, account.encode(), None, NOON)


def change(account: str, time: int, before: float | None, after: float, **more: Any) -> Record:
    """A record of `health.score-changes`; caused by the measure `usage`, unless `deltas` are given."""
    begin = 0.0 if before is None else before
    deltas = more.pop("deltas", {"usage": after - begin})
    factors = [FactorChange(name, 0.0, delta, delta) for name, delta in deltas.items()]
    message = ScoreChange(
        more.pop("id", f"{account}-{time}"),
        account,
        time,
        "health",
        begin,
        after,
        None if before is None else band_of(before),
        band_of(after),
        more.pop("cause", "event"),
        factors,
        more.pop("policy", POLICY),
        more.pop("revision", time // 1000),
        **more,
    )
    return Record(CHANGES, account.encode(), msgspec.json.encode(message), time)


def alert(account: str, rule: str = "low", starts_at: int = NOON, **more: Any) -> Record:
    message = Alert(
        more.pop("id", f"{account}{rule}{starts_at}{more.get('ends_at')}{more.get('acknowledged_at')}"),
        f"f-{account}-{rule}",
        account,
        rule,
        more.pop("severity", "warning"),
        "firing" if more.get("ends_at") is None else "resolved",
        starts_at,
        30.0,
        "at-risk",
        more.pop("summary", f"{account} is low"),
        more.pop("labels", {"rule": rule}),
        {"reason": "usage -8"},
        **more,
    )
    return Record(ALERTS, account.encode(), msgspec.json.encode(message), starts_at)


def profile(account: str, time: int = NOON, **fields: Any) -> Record:
    value = msgspec.json.encode({"id": f"p{time}", "account_id": account, "time": time, **fields})
    return Record("accounts", account.encode(), value, time)


def shadow(account: str, value: float, *alerts: str) -> Record:
    scores = {"health": ScoreValue(value, band_of(value), [])}
    message = ShadowMessage(account, NOON, 1, "candidate@2", None, scores, alerts=list(alerts))
    return Record(SHADOW, account.encode(), msgspec.json.encode(message), NOON)


def score_history(account: str, *values: float, end: int = NOON, every: int = DAY_MS) -> list[Record]:
    """An account whose score has these values, the last one at `end`."""
    times = [end - every * (len(values) - 1 - index) for index in range(len(values))]
    steps = zip(times, (None, *values[:-1]), values, strict=True)
    return [*(change(account, time, before, after) for time, before, after in steps), score(account, values[-1], end)]


def board_of(*records: Record) -> Board:
    """A board that has read these records to the end."""
    board = Board()
    board.apply(records)
    for progress in board.progress.values():
        progress.exists = True
    board.finish_loading()
    return board


class RecordingControls:
    """Records the controls that are written."""

    def __init__(self) -> None:
        self.sent: list[AlertControl] = []

    def send(self, control: AlertControl) -> None:
        self.sent.append(control)

    def close(self) -> None:
        pass


def settings(**options: Any) -> Settings:
    return load_settings(**options)


def _raise(error: BaseException) -> None:
    raise error


def client_of(
    board: Board,
    controls: Controls | None = None,
    pages: Pages | None = None,
    inputs: Inputs | None = None,
    dead_letters: DeadLetterBox | None = None,
    **options: Any,
) -> TestClient:
    """A client of the whole application, as from another process on this machine."""
    app = build_app(
        board,
        settings(**options),
        controls=controls or RecordingControls(),
        inputs=inputs or NoInputs(),
        dead_letters=dead_letters or NoDeadLetters(),
        pages=pages or Pages(),
        failed=_raise,
    )
    return TestClient(app, headers={"Host": "localhost"}, follow_redirects=False)

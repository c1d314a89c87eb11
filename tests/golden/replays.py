"""Replays synthetic events through the engine with a policy, as `vitals score` does.

Owns how a test writes events down: by account, days before the moment of the score, and what differs from an ordinary
event. Must not know any expected number. Called by the golden tests.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agents.files.replay import replay_files
from schemas.outputs import Alert, ScoreMessage, ScoreValue
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy

if TYPE_CHECKING:
    from pathlib import Path

AS_OF_MS = 1_774_612_800_000  # 2026-03-27T12:00:00Z
DAY_MS = 86_400_000
PLAIN: dict[str, dict[str, Any]] = {
    "product-usage": {"user_id": "u", "feature": "f"},
    "support-tickets": {"ticket_id": "t", "status": "opened"},
    "surveys": {"kind": "nps"},
    "billing": {"kind": "invoice_paid"},
    "engagement": {"kind": "meeting"},
    "controls": {"kind": "pulse"},
    "signals": {},
    "accounts": {},
}
"""What an event of a topic is unless a test says otherwise."""


@dataclass
class Log:
    """Events to replay, in any order."""

    lines: list[str] = field(default_factory=list)

    def add(self, topic: str, account: str, days_ago: int = 0, times: int = 1, **fields: Any) -> Log:
        """`times` events of an account, at noon of the UTC day that was `days_ago`."""
        for _ in range(times):
            event = {"id": str(len(self.lines)), "account_id": account, "time": day_ms(days_ago), "topic": topic}
            self.lines.append(json.dumps({**event, **PLAIN[topic], **fields}))
        return self

    def users(self, account: str, count: int, days_ago: int = 0, **fields: Any) -> Log:
        """`count` users, each once."""
        for number in range(count):
            self.add("product-usage", account, days_ago, user_id=f"u{number}", **fields)
        return self


@dataclass(frozen=True)
class Replayed:
    """The results: the last message of every account, and all alerts before it."""

    accounts: dict[str, ScoreMessage]
    alerts: list[Alert]

    def score(self, account: str, name: str | None = None) -> ScoreValue:
        """A score of an account; without a name its only one."""
        scores = self.accounts[account].scores
        if name is None:
            (name,) = scores
        return scores[name]


def day_ms(days_ago: int) -> int:
    """Noon of the UTC day that was so many days before the moment of the scores."""
    return AS_OF_MS - days_ago * DAY_MS


def midnight(days_ago: int) -> int:
    """The beginning of the UTC day that was so many days before the moment of the scores."""
    return day_ms(days_ago) - DAY_MS // 2


def replay(folder: Path, policy: str, log: Log, days_later: int = 0) -> Replayed:
    """Replay the log and score it at noon of its last day, or some days later."""
    file = folder / "events.jsonl"
    file.write_text("\n".join(log.lines), encoding="utf-8")
    result = replay_files([file], compile_plan(parse_policy(policy, "policy.toml")), day_ms(-days_later))
    assert not result.bad
    messages = [msgspec.json.decode(sent.value, type=ScoreMessage) for sent in result.engine.current().scores]
    alerts = [msgspec.json.decode(value.value, type=Alert) for value in result.alerts]
    return Replayed({message.account_id: message for message in messages}, alerts)


def gives(score: ScoreValue) -> dict[str, float]:
    """What every factor contributes, by name."""
    return {factor.measure: factor.contribution for factor in score.factors}


def values(score: ScoreValue) -> dict[str, float | None]:
    """The value of every factor, by name."""
    return {factor.measure: factor.value for factor in score.factors}


def near(expected: Any) -> Any:
    """Equal but for the rounding of floats: a number, or a dict of them."""
    return pytest.approx(expected, abs=1e-9)

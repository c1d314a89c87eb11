"""Small logs and policies, written by hand for tests of the oracle.

Owns how an event, a log, a measure and a policy are written in a line, and how one score or one value is read back.
Must not know any expected value. Called by the unit tests of the oracle.
"""

from __future__ import annotations

import json
from typing import Any

from tests.oracle.engine import AccountScores, Record, ScoreOf, final_scores_all
from tests.strategies.policies import DAY_MS, HOUR_MS

DAY = 20_000 * DAY_MS  # midnight of 2024-10-04, UTC
NOW = DAY + 100 * DAY_MS
NOON = DAY + 10 * DAY_MS + 12 * HOUR_MS

ONE_BAND = 'min_change = 1\nbands = [{ name = "all", from = 0 }]\n'
BANDS = (
    'min_change = 1\nbands = [{ name = "good", from = 70 }, { name = "fair", from = 40, alert = "warning" }, '
    '{ name = "poor", from = 0, alert = "critical" }]\n'
)
AS_IT_IS = 'normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }\n'


def event(source: str, time: object, account: str = "a", **fields: Any) -> tuple[str, bytes]:
    """Write an event; its id is its whole content unless `id` is given."""
    document = {"account_id": account, "time": time, **fields}
    return source, json.dumps({"id": json.dumps(document), **document}).encode()


def signal(name: str, value: float, time: object = NOON, account: str = "a") -> tuple[str, bytes]:
    return event("signals", time, account, name=name, value=value)


def profile(time: object, **fields: Any) -> tuple[str, bytes]:
    return event("accounts", time, **fields)


def log(*arrivals: tuple[str, bytes | None]) -> list[Record]:
    """Put records into partition 0, in the order in which they stand here."""
    return [Record(source, 0, offset, offset, b"a", value) for offset, (source, value) in enumerate(arrivals)]


def measure(name: str, *lines: str, points: str = AS_IT_IS) -> str:
    """Write a measure: the last value of the signal of its name, unless lines say otherwise."""
    listed = {line.partition(" ")[0] for line in lines}
    usual = {"source": '"signals"', "stat": '"last"', "field": '"value"', "where": f'{{ name = ["{name}"] }}'}
    usual |= {"window": '"30d"'}
    if "source" in listed:
        usual = {}
    defaults = [f"{key} = {value}" for key, value in usual.items() if key not in listed]
    return "\n".join([f"[measures.{name}]", *defaults, *lines, points])


def policy(*tables: str) -> str:
    return 'name = "p"\n' + "\n".join(tables)


def scored(records: list[Record], policy_text: str, as_of_ms: int | None = None, account: str = "a") -> AccountScores:
    return final_scores_all(records, policy_text, NOW, as_of_ms)[account]


def score(records: list[Record], policy_text: str, as_of_ms: int | None = None) -> ScoreOf:
    """Return the first score."""
    return next(iter(scored(records, policy_text, as_of_ms).scores.values()))


def value_of(records: list[Record], *lines: str, as_of_ms: int | None = None) -> float | None:
    """Return the value of one measure; a second one, over a year, keeps every event from being late."""
    tables = [measure("m", *lines, "weight = 1"), measure("year", 'window = "365d"', "weight = 1")]
    text = policy(*tables, "[scores.health]", ONE_BAND)
    return score(records, text, as_of_ms).factors[0][1]


def weights_of(score: ScoreOf) -> dict[str, float]:
    return {name: weight for name, _, _, weight, _ in score.factors}

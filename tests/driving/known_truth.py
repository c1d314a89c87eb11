"""A synthetic company whose churn follows a known law.

Each week an account churns with a probability that is a logistic function of the points of five measures. Owns that
law, the events that give exactly these points, and a policy whose weights are wrong. Must not know how a back-test
works. Called by the tests of the back-test, and by hand: `python -m tests.driving.known_truth FOLDER` writes
`events.jsonl`, `outcomes.csv`, `equal.toml` and `truth.toml`.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
START_MS = 20_089 * DAY_MS  # 2025-01-01

TRUE_WEIGHTS = {"usage": 40.0, "support": 20.0, "payment": 30.0, "nps": 10.0, "colour": 0.0}
"""What each measure is worth: the log odds of churning in a week fall by a tenth of this for 100 points."""
INTERCEPT = 2.4

_RISING = "{ kind = 'linear', zero_at = 0, hundred_at = 10 }"
_SINKING = "{ kind = 'linear', zero_at = 10, hundred_at = 0 }"


class _Measure(NamedTuple):
    event: str
    """How an event that sets its value begins."""
    field: str
    source: str
    normalise: str
    where: str = ""


_MEASURES = {
    "usage": _Measure(
        '{"topic":"product-usage","feature":"reports","count":%g',
        "count", "product-usage", _RISING, 'where = { feature = ["reports"] }\n',
    ),
    "support": _Measure(
        '{"topic":"support-tickets","ticket_id":"t","status":"solved","resolution_s":%g',
        "resolution_s", "support-tickets", _SINKING,
    ),
    "payment": _Measure(
        '{"topic":"billing","kind":"invoice_paid","days_late":%g', "days_late", "billing", _SINKING
    ),
    "nps": _Measure('{"topic":"surveys","kind":"nps","score":%g', "score", "surveys", _RISING),
    "colour": _Measure(
        '{"topic":"product-usage","feature":"colours","count":%g',
        "count", "product-usage", _RISING, 'where = { feature = ["colours"] }\n',
    ),
}  # fmt: skip
_FALLING = np.array([measure.normalise == _SINKING for measure in _MEASURES.values()])
"""Measures whose value is best at 0."""


class Company(NamedTuple):
    """Lines of events, of outcomes, and how many accounts churned."""

    events: str
    outcomes: str
    churned: int


def policy(weights: dict[str, float], name: str = "made-up") -> str:
    """The policy with these weights."""
    parts = [f'name = "{name}"\n']
    for key, measure in _MEASURES.items():
        parts.append(
            f'[measures.{key}]\nsource = "{measure.source}"\nstat = "last"\nfield = "{measure.field}"\n{measure.where}'
            f'window = "365d"\nnormalise = {measure.normalise}\nweight = {weights[key]:g}\n'
        )
    bands = ('{ name = "healthy", from = 60 }', '{ name = "attention", from = 45, alert = "warning" }',
             '{ name = "at-risk", from = 0, alert = "critical" }')  # fmt: skip
    parts.append(f"[scores.health]\nmin_change = 1\nbands = [\n  {', '.join(bands)},\n]\n")
    return "\n".join(parts)


EQUAL = policy(dict.fromkeys(TRUE_WEIGHTS, 20.0))
TRUTH = policy(TRUE_WEIGHTS)


def company(accounts: int = 700, weeks: int = 36, seed: int = 1) -> Company:
    """Events and outcomes of a company; the same arguments give the same bytes."""
    generator = np.random.default_rng(seed)
    slopes = np.array(list(TRUE_WEIGHTS.values())) / 10
    ordinary = generator.uniform(2, 9, (accounts, len(slopes)))
    hidden = ordinary + generator.normal(0, 2, ordinary.shape)
    shown = np.full(ordinary.shape, np.nan)
    churn_ms = np.zeros(accounts, dtype=np.int64)
    lines: list[str] = []
    for week in range(weeks):
        end_ms = START_MS + week * WEEK_MS
        hidden = ordinary + 0.85 * (hidden - ordinary) + generator.normal(0, 1.2, hidden.shape)
        # Accounts with much usage send events more often, so that missing events carry some information.
        observed = generator.random(hidden.shape) < (0.15 + 0.05 * np.clip(hidden[:, :1], 0, 10))
        observed = (observed | (week == 0)) & (churn_ms == 0)[:, None]
        times = end_ms - generator.integers(0, DAY_MS if week == 0 else WEEK_MS, hidden.shape)
        shown = np.where(observed, np.clip(np.round(hidden, 1), 0, 10), shown)
        lines += _lines(week, observed, shown, times)
        chance = 1 / (1 + np.exp(-(INTERCEPT - shown @ slopes / 10)))
        gone = (churn_ms == 0) & (generator.random(accounts) < chance)
        churn_ms[gone] = end_ms + generator.integers(1, WEEK_MS, int(gone.sum()))
    outcomes = ["account_id,churned_at"]
    outcomes += [
        f"account-{index},{_rfc3339(moment) if moment else ''}" for index, moment in enumerate(churn_ms.tolist())
    ]
    return Company("\n".join(lines) + "\n", "\n".join(outcomes) + "\n", int((churn_ms > 0).sum()))


def _lines(week: int, observed: NDArray[np.bool_], shown: NDArray[np.float64], times: NDArray[np.int64]) -> list[str]:
    heads = [measure.event for measure in _MEASURES.values()]
    values = np.where(_FALLING, 10 - shown, shown)
    accounts, measures = np.nonzero(observed)
    columns = (accounts, measures, values[observed], times[observed])
    return [
        f'{heads[measure] % round(value, 1)},"id":"{week}-{account}-{measure}",'
        f'"account_id":"account-{account}","time":{time}}}'
        for account, measure, value, time in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _rfc3339(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")


def write(folder: Path, made: Company) -> None:
    """Write the company and the two policies into a folder."""
    (folder / "events.jsonl").write_text(made.events, encoding="utf-8")
    (folder / "outcomes.csv").write_text(made.outcomes, encoding="utf-8")
    (folder / "equal.toml").write_text(EQUAL, encoding="utf-8")
    (folder / "truth.toml").write_text(TRUTH, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), company())

"""Generate a synthetic company whose churn follows a known law.

Each week an account churns with a probability that is a logistic function of the points of five measures. Makes events
that give exactly these points, the outcomes, a policy with the true weights and one with equal weights. Used by the
tests of the back-test and on the command line: `python -m tests.driving.known_truth FOLDER` writes `events.jsonl`,
`outcomes.csv`, `equal.toml` and `truth.toml`.
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
"""Weight of each measure: 100 more points lower the log odds of churning in a week by a tenth of it."""
INTERCEPT = 2.4

_RISING_POINTS = "{ kind = 'linear', zero_at = 0, hundred_at = 10 }"
_FALLING_POINTS = "{ kind = 'linear', zero_at = 10, hundred_at = 0 }"


class _Measure(NamedTuple):
    event: str
    """The beginning of the JSON of an event that sets the measure's value."""
    field: str
    source: str
    normalise: str
    where: str = ""


_MEASURES = {
    "usage": _Measure(
        '{"topic":"product-usage","feature":"reports","count":%g',
        "count", "product-usage", _RISING_POINTS, 'where = { feature = ["reports"] }\n',
    ),
    "support": _Measure(
        '{"topic":"support-tickets","ticket_id":"t","status":"solved","resolution_s":%g',
        "resolution_s", "support-tickets", _FALLING_POINTS,
    ),
    "payment": _Measure(
        '{"topic":"billing","kind":"invoice_paid","days_late":%g', "days_late", "billing", _FALLING_POINTS
    ),
    "nps": _Measure('{"topic":"surveys","kind":"nps","score":%g', "score", "surveys", _RISING_POINTS),
    "colour": _Measure(
        '{"topic":"product-usage","feature":"colours","count":%g',
        "count", "product-usage", _RISING_POINTS, 'where = { feature = ["colours"] }\n',
    ),
}  # fmt: skip
_FALLING = np.array([measure.normalise == _FALLING_POINTS for measure in _MEASURES.values()])
"""Which measures have their best value at 0."""


class Company(NamedTuple):
    """The text of the event and outcome files, and how many accounts churned."""

    events: str
    outcomes: str
    churned: int


def policy(weights: dict[str, float], name: str = "synthetic") -> str:
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
    usual = generator.uniform(2, 9, (accounts, len(slopes)))
    hidden = usual + generator.normal(0, 2, usual.shape)
    shown = np.full(usual.shape, np.nan)
    churn_ms = np.zeros(accounts, dtype=np.int64)
    lines: list[str] = []
    for week in range(weeks):
        end_ms = START_MS + week * WEEK_MS
        hidden = usual + 0.85 * (hidden - usual) + generator.normal(0, 1.2, hidden.shape)
        # Accounts that use the product more send more events, so that recency predicts churn a little.
        updated = generator.random(hidden.shape) < (0.15 + 0.05 * np.clip(hidden[:, :1], 0, 10))
        updated = (updated | (week == 0)) & (churn_ms == 0)[:, None]
        times = end_ms - generator.integers(0, DAY_MS if week == 0 else WEEK_MS, hidden.shape)
        shown = np.where(updated, np.clip(np.round(hidden, 1), 0, 10), shown)
        lines += _lines(week, updated, shown, times)
        chance = 1 / (1 + np.exp(-(INTERCEPT - shown @ slopes / 10)))
        gone = (churn_ms == 0) & (generator.random(accounts) < chance)
        churn_ms[gone] = end_ms + generator.integers(1, WEEK_MS, int(gone.sum()))
    outcomes = ["account_id,churned_at"]
    outcomes += [
        f"account-{account},{_rfc3339(time_ms) if time_ms else ''}" for account, time_ms in enumerate(churn_ms.tolist())
    ]
    return Company("\n".join(lines) + "\n", "\n".join(outcomes) + "\n", int((churn_ms > 0).sum()))


def _lines(week: int, updated: NDArray[np.bool_], shown: NDArray[np.float64], times: NDArray[np.int64]) -> list[str]:
    heads = [measure.event for measure in _MEASURES.values()]
    values = np.where(_FALLING, 10 - shown, shown)
    accounts, measures = np.nonzero(updated)
    columns = (accounts, measures, values[updated], times[updated])
    return [
        f'{heads[measure] % round(value, 1)},"id":"{week}-{account}-{measure}",'
        f'"account_id":"account-{account}","time":{time}}}'
        for account, measure, value, time in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _rfc3339(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")


def write(folder: Path, synthetic: Company) -> None:
    """Write the company and the two policies into a folder."""
    (folder / "events.jsonl").write_text(synthetic.events, encoding="utf-8")
    (folder / "outcomes.csv").write_text(synthetic.outcomes, encoding="utf-8")
    (folder / "equal.toml").write_text(EQUAL, encoding="utf-8")
    (folder / "truth.toml").write_text(TRUTH, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), company())

"""What a back-test found: the shape of `vitals backtest --json`.

Owns names and units. Holds data only. Filled by `agents.backtest.study` and `agents.backtest.fit`, shown by
`agents.backtest.tables` and `agents.backtest.page`.

Times are RFC 3339 in UTC, rates and shares 0 to 1. Figures by predictor are keyed `A`, `B` and `recency`, those by
policy `A` and `B`. A figure without meaning, such as an AUC where nothing churned, is null.
"""

from __future__ import annotations

from msgspec import Struct

RECENCY = "recency"
"""The baseline: how long ago the last event of any source was."""


class PolicyInfo(Struct):
    """A policy that was tried, under which letter, and the score of it that was used."""

    key: str
    file: str
    name: str
    digest: str
    score: str
    bands: list[str]
    """From the lowest up."""
    alerting: list[str]
    """The bands of them that alert."""
    longest_window_days: float


class Ignored(Struct):
    """Lines or events that were not used: why, how many, and the first of them."""

    reason: str
    count: int
    example: str


class Data(Struct):
    """What was read."""

    events: int
    duplicates: int
    """Of `events`, those whose id had been seen: they count once."""
    first_event: str
    last_event: str
    known_until: str
    """Accounts without a churn by then are taken to have stayed until then."""
    accounts: int
    churned: int
    """Accounts with an event whose churn is known."""
    outcomes_without_events: int
    cutoffs: int
    first_cutoff: str
    last_cutoff: str
    every_days: int
    ignored: list[Ignored]


class Auc(Struct):
    """An area under the ROC curve, with the middle 95 % of its bootstrap over accounts."""

    value: float | None
    low: float | None
    high: float | None


class Difference(Struct):
    """AUC of `of` minus AUC of `against`, resampled together."""

    of: str
    against: str
    value: float | None
    low: float | None
    high: float | None


class BandFigures(Struct):
    """Of the samples in a band: how many churned (`precision`), and which share of all churn they are (`recall`).

    The same for this band and all worse ones.
    """

    band: str
    alerting: bool
    samples: int
    churned: int
    precision: float | None
    recall: float | None
    precision_to_here: float | None
    recall_to_here: float | None


class DecileFigures(Struct):
    """A tenth of the samples, lowest scores first: its churn rate, over the base rate, and the churn caught so far."""

    decile: int
    rate: float
    lift: float
    caught: float


class BinFigures(Struct):
    """Churn by score: the samples with scores from `low` to below `high` (100 is in the last)."""

    low: int
    high: int
    samples: int
    mean_score: float | None
    churn_rate: float | None


class Lead(Struct):
    """All that is told of one lead time."""

    days: int
    cutoffs: int
    samples: int
    """Accounts at cutoffs."""
    accounts: int
    churned_samples: int
    churned_accounts: int
    base_rate: float | None
    auc: dict[str, Auc]
    differences: list[Difference]
    bands: dict[str, list[BandFigures]]
    deciles: dict[str, list[DecileFigures]]
    calibration: dict[str, list[BinFigures]]
    expanded_auc: dict[str, float | None]
    """How often an account that expanded within the lead time has a higher score than one that did not."""
    renewed_auc: dict[str, float | None]


class Alarms(Struct):
    """Episodes in alerting bands, judged by the longest lead time."""

    episodes: int
    followed_by_churn: int
    false_alarms: int
    undecided: int
    false_alarms_per_account_year: float | None
    flaps: int
    flaps_per_account_year: float | None
    churned: int
    """Accounts that churned while there were events."""
    warned: int
    """Of them, those whose last episode led to it."""
    median_warning_days: float | None


class Dragged(Struct):
    """A measure that kept the score down: points of the score it cost at the end, and at the first look before."""

    measure: str
    cost: float
    cost_before: float | None


class PolicyReview(Struct):
    """What one policy said of an account before it churned."""

    scores: dict[str, float | None]
    """By days before the churn: `90`, `60`, `30`, `7`, `0`."""
    band: str | None
    """At the last day boundary before the churn."""
    entered_alerting_at: str | None
    """Beginning of the last episode before the churn."""
    warning_days: float | None
    factors: list[Dragged]


class Review(Struct):
    """The last 90 days of an account that churned."""

    account_id: str
    churned_at: str
    policies: dict[str, PolicyReview]


class FittedWeight(Struct):
    """A measure's weight before and after the fit, and why it is so."""

    measure: str
    before: float
    after: float
    reason: str


class Fit(Struct):
    """Weights from data, and what they are worth on cutoffs that the fit has not seen."""

    file: str
    policy: str
    """Name and digest of the policy written."""
    lead_days: int
    train_cutoffs: int
    train_samples: int
    train_churned_accounts: int
    train_from: str
    train_until: str
    """The last cutoff trained on: a lead time before the first one held out."""
    holdout_from: str
    holdout_until: str
    holdout_cutoffs: int
    holdout_samples: int
    holdout_churned_accounts: int
    auc_before: float | None
    auc_after: float | None
    auc_recency: float | None
    weights: list[FittedWeight]
    notes: list[str]
    """What speaks against using it."""


class Report(Struct):
    """Everything."""

    policies: list[PolicyInfo]
    data: Data
    leads: list[Lead]
    alarms: dict[str, Alarms]
    reviews: list[Review]
    notes: list[str]
    fit: Fit | None = None

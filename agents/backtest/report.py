"""The report of a back-test, as `vitals backtest --json` prints it.

Data only. Filled by `agents.backtest.run` and the modules it calls, shown by `agents.backtest.tables` and
`agents.backtest.page`.

Times are RFC 3339 in UTC; rates and shares are 0 to 1. Figures of predictors have the keys `A`, `B` and `recency`,
figures of policies `A` and `B`. An undefined figure, such as an AUC where no sample churned, is null.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

RECENCY = "recency"
"""The baseline: days since the last event of any source."""
FEW_CHURNED = 10
"""With fewer churned accounts, figures are reported as unreliable and predictors are not compared."""


class PolicyInfo(Struct):
    """A policy that was tested: its key, and the score that was used."""

    key: str
    file: str
    name: str
    digest: str
    score: str
    bands: list[str]
    """The lowest first."""
    alerting: list[str]
    """Those of the bands that have `alert`."""
    longest_window_days: float


class Ignored(Struct):
    """Lines or events that were ignored: why, how many, and the first of them."""

    reason: str
    count: int
    example: str


class Data(Struct):
    """The events, outcomes and cutoffs of the back-test."""

    events: int
    duplicates: int
    """Those of `events` whose id is a repetition; each id counts once."""
    first_event: str
    last_event: str
    known_until: str
    """Accounts without a churn by this time count as not churned."""
    accounts: int
    churned: int
    """Accounts with an event that churned by `known_until`."""
    outcomes_without_events: int
    cutoffs: int
    first_cutoff: str
    last_cutoff: str
    every_days: int
    ignored: list[Ignored]


class Auc(Struct):
    """An area under the ROC curve, with the middle 95 % of a bootstrap over accounts."""

    value: float | None
    low: float | None
    high: float | None


class Difference(Struct):
    """AUC of `of` minus AUC of `against`, on the same resamples."""

    of: str
    against: str
    value: float | None
    low: float | None
    high: float | None


class BandFigures(Struct):
    """The share of a band's samples that churned (`precision`), and its share of all churned samples (`recall`).

    The fields `*_to_here` are the same of the band together with all worse bands.
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
    """A tenth of the samples, lowest scores first: churn rate, lift over the base rate, share of churn up to it."""

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
    """The figures of one lead time."""

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
    """Episodes in alerting bands, classified by the longest lead time."""

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
    """Those of them whose last episode was right."""
    median_warning_days: float | None


class Factor(Struct):
    """A measure that lowered the score: the points of the score it cost at the end and at the first reviewed day."""

    measure: str
    cost: float
    cost_before: float | None


class PolicyReview(Struct):
    """The scores of an account under one policy before it churned."""

    scores: dict[str, float | None]
    """By days before the churn: `90`, `60`, `30`, `7`, `0`."""
    band: str | None
    """At the last day boundary before the churn."""
    entered_alerting_at: str | None
    """Beginning of the last episode before the churn."""
    warning_days: float | None
    factors: list[Factor]


class Review(Struct):
    """The last 90 days of an account that churned."""

    account_id: str
    churned_at: str
    policies: dict[str, PolicyReview]


class FittedWeight(Struct):
    """A measure's weight before and after the fit, and the reason."""

    measure: str
    before: float
    after: float
    reason: str


class Fit(Struct):
    """Fitted weights, and how well they predict churn at cutoffs that the fit did not use."""

    file: str
    policy: str
    """Name and digest of the policy written."""
    lead_days: int
    train_cutoffs: int
    train_samples: int
    train_churned_accounts: int
    train_from: str
    train_until: str
    """The last training cutoff: at least a lead time before `holdout_from`."""
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
    """Reasons not to use the fitted policy."""
    split: Literal["time", "accounts"] = "time"
    """What the held-out samples are: those of later cutoffs; or each account once, in five folds, and each AUC is the
    mean over the folds. Then training and held-out samples are all samples."""


class Report(Struct):
    """The whole report."""

    policies: list[PolicyInfo]
    data: Data
    leads: list[Lead]
    alarms: dict[str, Alarms]
    reviews: list[Review]
    notes: list[str]
    fit: Fit | None = None

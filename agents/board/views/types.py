"""What the board's API answers, as types: the OpenAPI document is made of them.

Owns shapes only. Times are epoch milliseconds, UTC. What the topics say goes out in the types of `schemas.outputs`.
Built by `agents.board.views.account`, `rows`, `listing` and `timeline`; what is said of all accounts together is in
`agents.board.views.overall_types`.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, field

from schemas.outputs import Change, Factor, Override, RolledScore
from stream.explain.explain import Lift
from stream.explain.forecast import Forecast

AlertState = Literal["firing", "acknowledged", "snoozed", "resolved"]
ItemKind = Literal["score", "alert", "control", "profile", "event"]


class Failure(Struct):
    """What is wrong, and what to do about it."""

    code: str
    message: str


class ErrorView(Struct):
    """Every answer with a status of 400 and above."""

    error: Failure


class SessionView(Struct):
    """Who is signed in, and what a page needs to know of the board."""

    user: str
    auth: Literal["none", "token", "proxy"]
    version: str
    time_mode: Literal["live", "event"]
    heartbeat_s: float


class MeasureDelta(Struct):
    """One measure's part in a move, in points of the score."""

    measure: str
    delta: float


class RowScore(Struct):
    """One score of a row: now, how it moved, and why. `change` is null where there was no score that long ago."""

    value: float
    band: str
    confidence: float
    change: dict[str, float | None]
    spark: list[float | None]
    reason: str


class Row(Struct):
    """One account as lists show it."""

    account_id: str
    name: str | None
    owner: str | None
    segment: str | None
    tier: str | None
    arr: float | None
    parent_id: str | None
    as_of: int
    revision: int
    policy: str
    catching_up: bool
    stalled_sources: list[str]
    override: Override | None
    alerts: int
    severity: str | None
    scores: dict[str, RowScore]


class Accounts(Struct):
    """One page of accounts; `total` counts all that match, `next` is the cursor of the page after."""

    items: list[Row]
    total: int
    next: str | None


class Named(Struct):
    """A value of a field and how many accounts have it."""

    name: str
    accounts: int


class Filters(Struct):
    """What lists can be filtered by."""

    scores: list[str]
    bands: dict[str, list[str]]
    segments: list[Named]
    owners: list[Named]
    tiers: list[Named]


class ChangeView(Change, omit_defaults=False):
    """A record of `health.score-changes`; of its factors those that moved."""

    words: str
    override: Override | None = None


class AlertView(Struct):
    """The latest record of an alert's episode."""

    id: str
    fingerprint: str
    account_id: str
    name: str | None
    owner: str | None
    rule: str
    severity: str
    status: Literal["firing", "resolved"]
    state: AlertState
    starts_at: int
    ends_at: int | None
    score: float | None
    band: str | None
    summary: str
    labels: dict[str, str]
    annotations: dict[str, str]
    acknowledged_at: int | None
    acknowledged_by: str | None
    snoozed_until: int | None
    flaps: int
    digest: str | None


class Alerts(Struct):
    """Alerts; `total` counts all that match."""

    items: list[AlertView]
    total: int


class History(Struct):
    """A score's line: columns of equal length, oldest first; a value holds until the next."""

    times: list[int]
    values: list[float]
    bands: list[str]
    policies: list[str]


class ExplanationView(Struct):
    """What the factors mean in words, and what alone would lift the account a band."""

    words: list[str]
    next_band: str | None
    missing_points: float
    lifts: list[Lift]


class ScorePage(Struct):
    """One score of an account's page. `forecast` is the outlook of the last UTC midnight, if the policy has one."""

    value: float
    band: str
    confidence: float
    exceptions: list[str]
    factors: list[Factor]
    history: History
    changes: list[ChangeView]
    explanation: ExplanationView | None
    forecast: Forecast | None = None


class ProfileView(Struct):
    """What is known of an account."""

    time: int
    name: str | None
    tier: str | None
    plan: str | None
    segment: str | None
    persona: str | None
    started_at: int | None
    renewal_at: int | None
    arr: float | None
    parent_id: str | None
    owner: str | None


class Parent(Struct):
    """The account above."""

    account_id: str
    name: str | None
    scored: bool


class ShortScore(Struct):
    """A score and its band."""

    value: float
    band: str


class Child(Struct):
    """An account below."""

    account_id: str
    name: str | None
    arr: float | None
    scores: dict[str, ShortScore]


class RollupView(Struct):
    """A record of `health.rollups`."""

    account_id: str
    as_of: int
    children: int
    scores: dict[str, RolledScore]


class EpisodesView(Struct):
    """Alerts of one account; past ones newest first."""

    open: list[AlertView]
    past: list[AlertView]


class AccountPage(Struct):
    """Everything about one account."""

    account: Row
    profile: ProfileView | None
    scores: dict[str, ScorePage]
    alerts: EpisodesView
    parent: Parent | None
    children: list[Child]
    rollup: RollupView | None


class Moment(Struct):
    """A score at a moment; null before the first."""

    time: int
    value: float | None
    band: str | None


class Diff(Struct):
    """What moved a score between two moments; `factors` sum to `delta` within 1e-9."""

    account_id: str
    score: str
    from_: Moment = field(name="from")
    to: Moment
    delta: float
    factors: list[MeasureDelta]
    changes: int
    complete: bool
    known_since: int


class Item(Struct):
    """One entry of a time line."""

    time: int
    kind: ItemKind
    topic: str
    title: str
    data: Any


class Timeline(Struct):
    """A page of the time line, newest first."""

    items: list[Item]
    next: str | None
    scanned: int
    complete: bool
    problem: str | None


class Snooze(Struct):
    """The body of a request to snooze an alert: epoch milliseconds or RFC 3339; null ends a snooze."""

    until: int | str | None


class ControlReceipt(Struct, omit_defaults=True):
    """A control that was written to the topic `controls`."""

    id: str
    time: int
    by: str
    until: int | UnsetType | None = UNSET


class Health(Struct):
    """Whether the board works."""

    ok: bool
    problems: list[str]

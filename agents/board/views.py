# long because: it is the API's one list of answers
"""What the board's API answers, as types: the OpenAPI document is made of them.

Owns shapes only. Times are epoch milliseconds, UTC. What the topics say goes out in the types of `schemas.outputs`.
Built by `agents.board.accounts`, `summary`, `shadow` and `timeline`.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, field

from schemas.outputs import Cause, Factor, FactorChange, Override, RolledScore
from stream.explain import Lift
from stream.forecast import Forecast

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


class ChangeView(Struct):
    """A record of `health.score-changes`; of its factors those that moved."""

    id: str
    account_id: str
    time: int
    score: str
    from_: float = field(name="from")
    to: float
    band_from: str | None
    band_to: str
    cause: Cause
    factors: list[FactorChange]
    policy: str
    revision: int
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


class Mover(Struct):
    """An account whose score moved much; `factors` sum to `delta`."""

    account_id: str
    name: str | None
    owner: str | None
    segment: str | None
    value: float
    band: str
    band_from: str | None
    delta: float
    since: int
    reason: str
    factors: list[MeasureDelta]


class Movers(Struct):
    """The largest moves of a span, both ways."""

    falling: list[Mover]
    rising: list[Mover]


class OverTime(Struct):
    """Accounts by band at the end of each day."""

    days: list[int]
    accounts: dict[str, list[int]]


class ScoreSummary(Struct):
    """One score over all accounts; bands best first."""

    name: str
    bands: list[Named]
    over_time: OverTime
    movers: dict[str, Movers]


class RuleCount(Struct):
    """Open alerts of one rule; acknowledged and snoozed ones are open too."""

    rule: str
    severity: str
    open: int
    acknowledged: int
    snoozed: int


class AlertSummary(Struct):
    """Open alerts; `operational` are those without an account."""

    open: int
    acknowledged: int
    snoozed: int
    by_rule: list[RuleCount]
    operational: list[AlertView]


class TopicState(Struct):
    """How far the board has read a topic."""

    topic: str
    there: bool
    behind: int
    newest_record_ms: int | None


class SourceStall(Struct):
    """A source that has stalled, and how many accounts' scores say so."""

    source: str
    accounts: int


class TopicCount(Struct):
    """Records of a topic."""

    topic: str
    records: int


class PolicyCount(Struct):
    """A policy and how many accounts it scored last."""

    label: str
    accounts: int


class ProcessorView(Struct):
    """How fresh the board is, and whether the workers keep up."""

    newest_record_ms: int | None
    read_at_ms: int | None
    topics: list[TopicState]
    stalled_sources: list[SourceStall]
    catching_up: int
    dead_letters: list[TopicCount] | None
    lag: list[TopicCount] | None
    lag_records: int | None
    checked_at_ms: int | None
    problem: str | None


class Summary(Struct):
    """All accounts at a glance."""

    time: int
    ready: bool
    accounts: int
    policies: list[PolicyCount]
    scores: list[ScoreSummary]
    alerts: AlertSummary
    processor: ProcessorView


class ShadowBand(Struct):
    """Accounts of a band by the live policy and by the candidate."""

    name: str
    live: int
    shadow: int


class ShadowMove(Struct):
    """Accounts that the candidate puts into another band."""

    live: str
    shadow: str
    accounts: int


class ShadowAccount(Struct):
    """One account as both policies see it."""

    account_id: str
    name: str | None
    live: ShortScore
    shadow: ShortScore
    delta: float


class ShadowScore(Struct):
    """One score by both policies."""

    name: str
    bands: list[ShadowBand]
    moves: list[ShadowMove]
    differing: int
    accounts: list[ShadowAccount]


class ShadowRule(Struct):
    """Alerts of a rule that the candidate would raise, or spare."""

    rule: str
    accounts: int
    examples: list[str]


class ShadowAlerts(Struct):
    """Alerts that only one of the two policies has open."""

    raised: list[ShadowRule]
    spared: list[ShadowRule]


class ShadowView(Struct):
    """The candidate policy beside the live one."""

    available: bool
    policy: str | None
    accounts: int
    scores: list[ShadowScore]
    alerts: ShadowAlerts


class Said(Struct, omit_defaults=True):
    """A control that was written to the topic `controls`."""

    id: str
    time: int
    by: str
    until: int | UnsetType | None = UNSET


class Health(Struct):
    """Whether the board works."""

    ok: bool
    problems: list[str]

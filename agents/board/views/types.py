"""Types of the API's answers; the OpenAPI document is made of them.

Owns shapes only. Times are epoch milliseconds, UTC. Contents of topics have the types of `schemas.outputs`. Made by
`agents.board.views.account`, `rows`, `listing` and `timeline`; answers about all accounts are in
`agents.board.views.overall_types`.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, field

from schemas.events import Attribute
from schemas.outputs import Change, Factor, LastScore, Override, RolledScore, State
from stream.explain.forecast import Forecast
from stream.explain.lifts import Lift

AlertState = Literal["firing", "acknowledged", "snoozed", "resolved", "worsened"]
ItemKind = Literal["score", "alert", "control", "profile", "event"]


class Failure(Struct):
    """What is wrong and what to do."""

    code: str
    message: str


class ErrorView(Struct):
    """The answer with every status from 400 on."""

    error: Failure


class SessionView(Struct):
    """The signed-in user, and what the page needs to know about the board.

    A stream that continues after `event_id` has every change since this answer, however late it starts.
    """

    user: str
    auth: Literal["none", "token", "proxy"]
    version: str
    time_mode: Literal["live", "event"]
    heartbeat_s: float
    recorded: bool
    """Whether the board shows a file of records instead of a broker."""
    event_id: str


class MeasureDelta(Struct):
    """The share of one measure in a change, in points of the score."""

    measure: str
    delta: float


class RowScore(Struct):
    """One score of a row: its value, its changes and their reason. `change` is null if there was no score then.

    `shown` is the value as the policy shows it to people, null if the policy does not say how.
    `reason` is a sentence with a UTC day; `since` and `reasons` are its time and the measures alone.
    """

    value: float
    shown: str | None
    band: str
    confidence: float
    change: dict[str, float | None]
    spark: list[float | None]
    reason: str
    since: int | None
    reasons: str


class Row(Struct):
    """One account in a list. `scores` has those with a value; `state` says why there is none (or that it is new)."""

    account_id: str
    name: str | None
    owner: str | None
    segment: str | None
    tier: str | None
    arr: float | None
    parent_id: str | None
    attributes: dict[str, Attribute]
    as_of: int
    revision: int
    policy: str
    catching_up: bool
    stalled_sources: list[str]
    override: Override | None
    new_until: int | None
    state: State | None
    ended_at: int | None
    last_event_at: int | None
    merged_into: str | None
    alerts: int
    severity: str | None
    scores: dict[str, RowScore]


class Accounts(Struct):
    """One page of accounts. `total` counts all that match, `next` is the cursor of the next page."""

    items: list[Row]
    total: int
    next: str | None


class Named(Struct):
    """A value of a field and the number of accounts with it."""

    name: str
    accounts: int


class AttributeValues(Struct):
    """An attribute of profiles, the number of accounts that have it, and its values if they are few enough to list."""

    name: str
    accounts: int
    values: list[Named]


class Filters(Struct):
    """The values that lists can be filtered by. `attributes` are those that most accounts have, by name."""

    scores: list[str]
    bands: dict[str, list[str]]
    segments: list[Named]
    owners: list[Named]
    tiers: list[Named]
    attributes: list[AttributeValues]


class ChangeView(Change, omit_defaults=False):
    """A record of `health.score-changes`, without the factors that did not change."""

    words: str
    override: Override | None = None
    state: str | None = None


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
    worsened_from: str | None
    worsened_to: str | None
    flaps: int
    digest: str | None


class Alerts(Struct):
    """Alerts; `total` counts all that match."""

    items: list[AlertView]
    total: int


class SeriesView(Struct):
    """The series of a score: columns of equal length, oldest first. A value is valid until the next.

    A band is empty where the account was not scored any more; the value is then the last one.
    """

    times: list[int]
    values: list[float]
    bands: list[str]
    policies: list[str]


class ExplanationView(Struct):
    """The factors in text, what could lift the account a band, and why it is not in the band of its score (`notes`)."""

    words: list[str]
    next_band: str | None
    missing_points: float
    lifts: list[Lift]
    notes: list[str]


class ScorePage(Struct):
    """One score of an account. `forecast` is the outlook of the last UTC midnight, if the policy has one.

    Without data, `value` and `band` are null, and `last` is the last score. `shown` is as in a row.
    """

    value: float | None
    shown: str | None
    band: str | None
    confidence: float
    exceptions: list[str]
    factors: list[Factor]
    history: SeriesView
    changes: list[ChangeView]
    explanation: ExplanationView | None
    forecast: Forecast | None = None
    last: LastScore | None = None


class ProfileView(Struct):
    """The profile of an account."""

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
    aliases: list[str]
    attributes: dict[str, Attribute]


class Parent(Struct):
    """The parent account."""

    account_id: str
    name: str | None
    scored: bool


class ShortScore(Struct):
    """A score and its band; `shown` is as in a row."""

    value: float
    band: str
    shown: str | None = None


class Child(Struct):
    """A child account."""

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
    """A score at a time; null before the first."""

    time: int
    value: float | None
    band: str | None


class Diff(Struct):
    """What changed a score between two times; `factors` sum to `delta` within 1e-9."""

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
    """One item of a timeline."""

    time: int
    kind: ItemKind
    topic: str
    title: str
    data: Any


class UnreadableRecord(Struct):
    """The data of an item for a record that is no event: a reason as of dead letters, and the record's offset."""

    unreadable: str
    message: str
    offset: int


class Timeline(Struct):
    """A page of a timeline, newest first; `unreadable` counts its items for records that cannot be read."""

    items: list[Item]
    next: str | None
    scanned: int
    complete: bool
    problem: str | None
    unreadable: int = 0


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

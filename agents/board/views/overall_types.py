"""What the board's API answers about all accounts together: the summary and the shadow policy, as types.

Owns shapes only, as `agents.board.views.types` does for one account and lists. Built by `agents.board.views.summary`,
`board` and `shadow`.
"""

from __future__ import annotations

from msgspec import Struct

from agents.board.views.types import AlertView, MeasureDelta, Named, ShortScore


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

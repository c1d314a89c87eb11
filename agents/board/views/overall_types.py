"""Types of the API's answers about all accounts: the summary and the comparison with a shadow policy.

Owns shapes only. Answers about one account and lists are in `agents.board.views.types`. Made by
`agents.board.views.summary`, `agents.board.views.shadow` and `agents.board.state.board`.
"""

from __future__ import annotations

from msgspec import Struct

from agents.board.views.types import AlertView, MeasureDelta, Named, ShortScore


class Mover(Struct):
    """An account with a large change of score; `factors` sum to `delta`, in points. `shown` is as in a row."""

    account_id: str
    name: str | None
    owner: str | None
    segment: str | None
    value: float
    shown: str | None
    band: str
    band_from: str | None
    delta: float
    since: int
    reason: str
    reasons: str
    factors: list[MeasureDelta]


class Movers(Struct):
    """The largest changes over a span, in both directions."""

    falling: list[Mover]
    rising: list[Mover]


class OverTime(Struct):
    """Accounts by band at the end of each day."""

    days: list[int]
    accounts: dict[str, list[int]]


class ScoreSummary(Struct):
    """Figures of one score over all accounts; bands best first."""

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
    """An idle source, and the number of accounts with its last values."""

    source: str
    accounts: int


class TopicCount(Struct):
    """Records of a topic."""

    topic: str
    records: int


class PolicyCount(Struct):
    """A policy and the number of accounts whose latest score it computed."""

    label: str
    accounts: int


class ProcessorView(Struct):
    """The freshness of the board, the number of workers and their lag; null if it is not known."""

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
    workers: int | None
    no_worker_since_ms: int | None


class Summary(Struct):
    """Figures over all accounts with a score; `no_data` and `ended` count those without one."""

    time: int
    ready: bool
    accounts: int
    no_data: int
    ended: int
    policies: list[PolicyCount]
    scores: list[ScoreSummary]
    alerts: AlertSummary
    processor: ProcessorView


class ShadowBand(Struct):
    """Numbers of accounts in a band, by the live policy and by the candidate."""

    name: str
    live: int
    shadow: int


class ShadowMove(Struct):
    """Number of accounts that the candidate puts into another band."""

    live: str
    shadow: str
    accounts: int


class ShadowAccount(Struct):
    """The scores of one account by both policies."""

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
    """Alerts of a rule that only one of the policies has open."""

    rule: str
    accounts: int
    examples: list[str]


class ShadowAlerts(Struct):
    """Alerts that the candidate would raise, and alerts that it would not have."""

    raised: list[ShadowRule]
    spared: list[ShadowRule]


class ShadowView(Struct):
    """The candidate policy compared with the live one."""

    available: bool
    policy: str | None
    accounts: int
    scores: list[ShadowScore]
    alerts: ShadowAlerts

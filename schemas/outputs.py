"""Output messages: the JSON records of `health.scores`, `health.score-changes`, `health.alerts`, `health.shadow`, ...

Owns their fields only. Times are epoch milliseconds, UTC; points and scores are 0..100. Written by
`stream.publishing.encoding`, `stream.alerts.messages`, `stream.recovery.shadow` and `stream.consumers.rollup`; read by
everything that reads these topics.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

Cause = Literal["event", "window", "late", "pulse", "override", "segment", "policy", "peers", "status"]
State = Literal["new", "no-data", "ended"]
"""The status of an account that is not simply active (`stream.accounts.status`)."""


class Factor(Struct, omit_defaults=True, gc=False):
    """What one measure contributes to a score: `contribution = weight * points`.

    `value` and `points` are null when the measure has no value. Factors of an additive score have no points, and
    impacts for weights. Factors that are not measures (base, clamping, exception) have neither value nor points, and
    weight 0. `history_since` (epoch ms) is there while the measure's window begins before the moment since which all
    its events are known: after a policy change that needs older ones, or a rebuild without the first records.
    """

    measure: str
    value: float | None
    points: float | None
    weight: float
    contribution: float
    history_since: int | None = None


class OutlookTurn(Struct, gc=False):
    """The next change of band of a forecast: the first UTC midnight (epoch ms) with it, the band, the score then."""

    at: int
    band: str
    score: float


class Outlook(Struct, gc=False):
    """A forecast: the first change of band if no event comes, null if none by the UTC midnight `until` (epoch ms)."""

    until: int
    turn: OutlookTurn | None


class ScoreValue(Struct, omit_defaults=True, gc=False):
    """A score, its band and its factors; contributions sum to `value`. Value and band are null without data.

    `exceptions` names the measures whose exceptions hold, in a score that has exceptions. `confidence` is the share of
    weight that does not rest on idle sources, absent while no source is idle. `outlook` is the forecast as of the last
    UTC midnight, in a score whose policy has `forecast`; null before the first midnight. `shown` is the value as it is
    shown to people, on another scale or rounded, in a score whose policy says so; bands are compared with `value`.
    """

    value: float | None
    band: str | None
    factors: list[Factor]
    exceptions: list[str] | None = None
    confidence: float | None = None
    outlook: Outlook | None = None
    shown: str | None = None


class LastScore(Struct, omit_defaults=True, gc=False):
    """The value and band that a score had when it was published last; `shown` as in `ScoreValue`."""

    value: float
    band: str
    shown: str | None = None


class Override(Struct, omit_defaults=True, gc=False):
    """A score or a band that a person gave an account until `expires_at`, published beside the computed score."""

    reason: str
    since: int
    expires_at: int
    score: float | None = None
    band: str | None = None
    by: str | None = None


class ScoreMessage(Struct, omit_defaults=True, gc=False):
    """`health.scores`: the latest scores of one account. `as_of` is its last event or window boundary, if later.

    `segment` is the policy's segment that the account is in, or the profile's where the policy has no segments.
    `parent_id` and `arr` are the profile's, of accounts that have a parent. `stalled_sources` are idle sources:
    their measures stand still. `raw` has the values of measures that are compared with peers; their factors have the
    percentile. `inputs` has the values that derived measures and grids read, by measure or `account.FIELD`.

    `state` is absent while an account is active. It is `new` until `new_until` (epoch ms) where the policy says when
    accounts are new: alert rules about scores do not fire. In the states `no-data` and `ended` no score has a value;
    `last_event_at` and `ended_at` (epoch ms) say since when. `last` has the last scores of those without a value.
    `held` names the measures that count as of the end of the day of `last_event_at`, because nothing came since then.
    `merged_into` is the account that events of this one count for, because it was merged.
    """

    account_id: str
    as_of: int
    revision: int
    policy: str
    segment: str | None
    scores: dict[str, ScoreValue]
    catching_up: bool = False
    override: Override | None = None
    parent_id: str | None = None
    arr: float | None = None
    stalled_sources: list[str] | None = None
    raw: dict[str, float | None] | None = None
    state: State | None = None
    new_until: int | None = None
    ended_at: int | None = None
    last_event_at: int | None = None
    merged_into: str | None = None
    last: dict[str, LastScore] | None = None
    inputs: dict[str, float | None] | None = None
    held: list[str] | None = None


class ShadowMessage(ScoreMessage, kw_only=True):
    """`health.shadow`: the scores of one account by a candidate policy, and the rules whose alerts would be open."""

    alerts: list[str]


class RolledScore(Struct, gc=False):
    """One score over a parent's children: plain mean, mean weighted by ARR (null without any), the worst and whose."""

    mean: float
    worst: float
    worst_account: str
    worst_band: str
    weighted: float | None
    children: int
    bands: dict[str, int]


class RollupMessage(Struct, gc=False):
    """`health.rollups`: the scores of one parent's children; `as_of` is the newest of theirs."""

    account_id: str
    as_of: int
    children: int
    scores: dict[str, RolledScore]


class FactorChange(Struct, gc=False):
    """How one measure's contribution changed, in points of the score; `delta = after - before`."""

    measure: str
    before: float
    after: float
    delta: float


class Change(Struct, omit_defaults=True, gc=False):
    """A change of one score of one account."""

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


class ScoreChange(Change):
    """`health.score-changes`: deltas sum to `to - from`. An account's first has `from` 0 and no `band_from`.

    With cause `override` the score is the same: an override began (`override` has it) or ended. With cause `status` an
    account is not scored any more, and the score is the same: `state` says whether it has ended or has no data; or it
    is scored again, and `state_from` says what it was before: after `ended` this is a reactivation.
    """

    catching_up: bool = False
    override: Override | None = None
    state: State | None = None
    state_from: State | None = None


class ScoreRow(Struct, gc=False):
    """`health.score-rows`: one factor of a score change as a row of a table, without lists and nested objects.

    Made from `health.score-changes` by `vitals rows`. Every row has every field. A change without factors (of an
    override) has one row, without a measure. `change_id` and `factor_number` are the key.
    """

    change_id: str
    factor_number: int
    account_id: str
    changed_at: int
    score: str
    score_from: float
    score_to: float
    band_from: str | None
    band_to: str
    cause: Cause
    measure: str | None
    points_before: float | None
    points_after: float | None
    points_delta: float | None
    policy: str
    revision: int
    catching_up: bool
    state: State | None
    state_from: State | None
    override_reason: str | None
    override_since: int | None
    override_expires_at: int | None
    override_score: float | None
    override_band: str | None
    override_by: str | None


class FallFactor(Struct, gc=False):
    """What one measure took from a score, in points: negative where it fell."""

    measure: str
    delta: float


class Fall(Struct, gc=False):
    """How far a score fell since the account was last fine, at `since` (epoch ms); the deltas sum to `to - from`.

    Factors that fell come first, the largest first. The last factor is `others` if there are more than it names.
    """

    since: int
    from_: float = field(name="from")
    to: float
    factors: list[FallFactor]


class Alert(Struct, omit_defaults=True, gc=False):
    """`health.alerts`: an alert fires, is acknowledged or snoozed, or is resolved.

    Operational alerts (`stalled:SOURCE`, `storm`) have an empty `account_id` and neither score nor band. `flaps` counts
    how often in a row the alert fired less than a day after it was resolved. `digest` is the fingerprint of the storm
    alert that the alert is part of. `fall` is how the score came to where the alert fired. Where an account moves from
    a band with an alert to a worse one, the alert of the first ends with `worsened_to`, the rule of the second, and
    that one fires with `worsened_from`. `state` is that of an account without a score: `score` and `band` are then the
    last published ones.
    """

    id: str
    fingerprint: str
    account_id: str
    rule: str
    severity: str
    status: Literal["firing", "resolved"]
    starts_at: int
    score: float | None
    band: str | None
    summary: str
    labels: dict[str, str]
    annotations: dict[str, str]
    ends_at: int | None = None
    acknowledged_at: int | None = None
    acknowledged_by: str | None = None
    snoozed_until: int | None = None
    flaps: int = 0
    digest: str | None = None
    fall: Fall | None = None
    worsened_from: str | None = None
    worsened_to: str | None = None
    state: State | None = None

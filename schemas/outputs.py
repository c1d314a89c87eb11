"""What goes out: the messages of `health.scores`, `health.score-changes`, `health.alerts` and `health.shadow`.

Owns their shape only. Times are epoch milliseconds, UTC; points and scores are 0..100.
Built by `stream.publishing.publisher`, read back by `vitals explain` and the demo's screen.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

Cause = Literal["event", "window", "late", "pulse", "override", "segment", "policy", "peers"]


class Factor(Struct, gc=False):
    """One measure's part in a score: `contribution = weight * points`; both null when the measure has no value.

    An additive score's factors have no points and impacts for weights. Factors that are no measures (base, clamping,
    exception) have neither value nor points, and weight 0.
    """

    measure: str
    value: float | None
    points: float | None
    weight: float
    contribution: float


class OutlookTurn(Struct, gc=False):
    """A change of band ahead: at which UTC midnight (epoch ms) it is seen, into which band, at which score."""

    at: int
    band: str
    score: float


class Outlook(Struct, gc=False):
    """The first change of band if no event comes, looked for up to the UTC midnight `until` (epoch ms); null: none."""

    until: int
    turn: OutlookTurn | None


class ScoreValue(Struct, omit_defaults=True, gc=False):
    """A score, its band and what it is made of; contributions sum to `value`.

    `exceptions` names the measures whose exceptions hold, in a score that has exceptions. `confidence` is the share of
    weight that does not rest on sources that have stalled, absent while none has. `outlook` is as of the last UTC
    midnight, in a score whose policy asks for it; null before the first.
    """

    value: float
    band: str
    factors: list[Factor]
    exceptions: list[str] | None = None
    confidence: float | None = None
    outlook: Outlook | None = None


class Override(Struct, omit_defaults=True, gc=False):
    """A person's word on an account until `expires_at`: a score or a band. It stands beside what is computed."""

    reason: str
    since: int
    expires_at: int
    score: float | None = None
    band: str | None = None
    by: str | None = None


class ScoreMessage(Struct, omit_defaults=True, gc=False):
    """`health.scores`: the latest of one account. `as_of` is the last event or pane border that could move it.

    `segment` is the policy's segment that the account is in, or the profile's where the policy has no segments.
    `parent_id` and `arr` are the profile's, of accounts that have a parent. `stalled_sources` are those whose measures
    are held because nothing comes from them any more. `raw` has the values of measures that are seen among peers, whose
    factors tell the percentile.
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


class ShadowMessage(ScoreMessage, kw_only=True):
    """`health.shadow`: what `health.scores` would say under a candidate policy, and the rules that would be firing."""

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
    """One measure's part in a change, in points of the score; `delta = after - before`."""

    measure: str
    before: float
    after: float
    delta: float


class Change(Struct, omit_defaults=True, gc=False):
    """One score of one account became another."""

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

    One of cause `override` moves nothing: an override began (`override` has it) or ended.
    """

    catching_up: bool = False
    override: Override | None = None


class Alert(Struct, omit_defaults=True, gc=False):
    """`health.alerts`: an alert fires, is told again because a person spoke of it, or is resolved.

    Alerts of no single account (`stalled:SOURCE`, `storm`) have an empty `account_id` and neither score nor band.
    `flaps` counts how often in a row it fired less than a day after it was resolved; `digest` is the fingerprint of the
    storm that speaks for it.
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

"""Input events: the JSON records of the built-in input topics, as types.

Owns the fields of every event and the ranges of its numbers. Ranges are part of the type, so the decoder refuses a bad
value with the path of the field. Knows nothing of Kafka, policies or accounts' state. Called by `schemas.codecs`, which
decodes whole batches into these structs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Literal

from msgspec import Meta, Struct

NUMBER_LIMIT = 1e12
"""Numbers beyond +-1e12 are refused, so that sums in millionths stay exact in a float64."""

Text = Annotated[str, Meta(min_length=1)]
Number = Annotated[float, Meta(ge=-NUMBER_LIMIT, le=NUMBER_LIMIT)]
Amount = Annotated[float, Meta(ge=0, le=NUMBER_LIMIT)]
Instant = Annotated[int, Meta(ge=-(2**53), le=2**53)] | Annotated[datetime, Meta(tz=True)]
"""RFC 3339 with an offset, or integer epoch milliseconds."""


class UsageEvent(Struct, gc=False):
    """A user did something in the product."""

    id: Text
    account_id: Text
    time: Instant
    user_id: str | None = None
    feature: str | None = None
    action: str | None = None
    count: Amount | None = 1.0
    duration_s: Amount | None = 0.0


class TicketEvent(Struct, gc=False):
    """A support ticket changed state."""

    id: Text
    account_id: Text
    time: Instant
    ticket_id: Text
    status: Literal["opened", "updated", "solved", "reopened"]
    priority: Literal["low", "normal", "high", "urgent"] | None = "normal"
    kind: str | None = None
    first_response_s: Amount | None = None
    resolution_s: Amount | None = None


class SurveyEvent(Struct, gc=False):
    """A survey was answered."""

    id: Text
    account_id: Text
    time: Instant
    kind: Literal["nps", "csat", "ces"]
    score: Number
    user_id: str | None = None

    def __post_init__(self) -> None:
        """Refuse a score outside the scale of its kind."""
        low, high = SURVEY_SCALES[self.kind]
        if not low <= self.score <= high:
            msg = f"score {self.score:g} is outside {low:g}..{high:g} of {self.kind}"
            raise ValueError(msg)


SURVEY_SCALES: Mapping[str, tuple[float, float]] = MappingProxyType({"nps": (0, 10), "csat": (1, 5), "ces": (1, 7)})


class BillingEvent(Struct, gc=False):
    """A billing event: an invoice, a failed payment, a change of subscription."""

    id: Text
    account_id: Text
    time: Instant
    kind: Literal["invoice_paid", "invoice_overdue", "payment_failed", "renewed", "upgraded", "downgraded", "cancelled"]
    amount: Number | None = 0.0
    currency: str | None = None
    days_late: Amount | None = 0.0


class EngagementEvent(Struct, gc=False):
    """A person of the account took part in a webinar, community, meeting, review, training or the like."""

    id: Text
    account_id: Text
    time: Instant
    kind: Text
    user_id: str | None = None
    role: str | None = None


Scalar = str | int | float | bool
Attribute = Scalar | list[Scalar]
Stamp = tuple[int, str]
"""Time (epoch ms) and id of the record that a value of a profile comes from."""


class ProfileEvent(Struct, gc=False, omit_defaults=True):
    """The profile of an account: what one record says, or all records together (see `schemas.profiles`).

    `attributes` are all fields that are not named here. Of one record, `cleared` are the fields that are null, and
    `deletes` is true where it has no value. Of all records together, `stamps` are the fields whose latest value is not
    of the newest record, or is null, and `deleted` is the last record without a value. From the UTC day of `ended_at`
    on, or of a newest record without a value, the account has ended (`stream.accounts.status`). `aliases` are ids whose
    events count for the account (`stream.ingest.aliases`).
    """

    id: Text
    account_id: Text
    time: Instant
    name: str | None = None
    tier: str | None = None
    plan: str | None = None
    segment: str | None = None
    persona: str | None = None
    started_at: Instant | None = None
    renewal_at: Instant | None = None
    ended_at: Instant | None = None
    arr: Number | None = None
    parent_id: str | None = None
    owner: str | None = None
    aliases: list[str] | None = None
    attributes: dict[str, Attribute] = {}
    cleared: tuple[str, ...] = ()
    deletes: bool = False
    stamps: dict[str, Stamp] = {}
    deleted: Stamp | None = None


class RowState(Struct, gc=False):
    """What one policy keeps of an account: the changelog row with its schema, and the entries of pages by column."""

    schema: bytes
    row: bytes
    pages: dict[str, bytes] = {}


class MergedState(Struct, gc=False):
    """The state of an account on its way to the account that it was merged into; workers write it, nobody else.

    `merge` names the merge, `states` has the state by the label of the policy, `live` the label of the live policy. A
    large account comes in several records, of which all but the last have only pages.
    """

    merge: str
    account_id: str
    live: str
    states: dict[str, RowState]
    last: bool = True


class ControlEvent(Struct, gc=False):
    """Input by a person: a pulse, an override, an acknowledgement or snooze of an alert, an erasure, a merge.

    Workers write those with `merged`, and those with `alias`: merges that follow from the aliases of a profile.
    """

    id: Text
    account_id: Text
    time: Instant
    kind: Literal["pulse", "override", "clear_override", "acknowledge", "snooze", "erase", "merge"]
    value: Annotated[float, Meta(ge=0, le=100)] | None = None
    score: Annotated[float, Meta(ge=0, le=100)] | None = None
    band: str | None = None
    reason: str | None = None
    expires_at: Instant | None = None
    by: str | None = None
    rule: str | None = None
    until: Instant | None = None
    into: str | None = None
    merged: MergedState | None = None
    alias: bool = False

    def __post_init__(self) -> None:
        """Refuse a control without the fields that its kind needs."""
        if self.kind == "pulse" and self.value is None:
            msg = "a pulse needs value, 0..100"
            raise ValueError(msg)
        if self.kind == "override" and (
            (self.score is None) == (self.band is None) or not self.reason or self.expires_at is None
        ):
            msg = "an override needs score or band (one of them), reason and expires_at"
            raise ValueError(msg)
        if self.kind == "acknowledge" and not self.rule:
            msg = "an acknowledgement needs rule: that of the alert"
            raise ValueError(msg)
        if self.kind == "snooze" and (not self.rule or self.until is None):
            msg = "a snooze needs rule (that of the alert) and until"
            raise ValueError(msg)
        if self.kind == "merge" and self.merged is None and (self.into is None or not self.into.strip()):
            msg = "a merge needs into: the account that events count for from now on"
            raise ValueError(msg)


class SignalEvent(Struct, gc=False):
    """Any other named number: a credit rating, a partner's grade, a count of another system."""

    id: Text
    account_id: Text
    time: Instant
    name: Text
    value: Number


class OtherEvent(Struct, gc=False):
    """An event of a source that a policy adds; `schemas.sources` makes the types that have its fields."""

    id: Text
    account_id: Text
    time: Instant


MetricEvent = (
    UsageEvent | TicketEvent | SurveyEvent | BillingEvent | EngagementEvent | ControlEvent | SignalEvent | OtherEvent
)
Event = MetricEvent | ProfileEvent

PROFILE_SOURCE = "accounts"
CONTROL_SOURCE = "controls"

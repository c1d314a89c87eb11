"""Alert messages: the records of `health.alerts`, with summaries that a person can act on.

Owns the form, the ids and the sentences of these records. An id is a hash of the content and of the account's revision,
so that two records with different content never share an id. `stream.alerts.emission`, `stream.alerts.storms` and
`stream.alerts.idle_sources` decide when an alert fires and call this. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple

import msgspec
import xxhash

from schemas.codecs import encode, instant_ms
from schemas.outputs import Alert, Fall, FallFactor, State
from stream.accounts.acknowledgements import Acknowledgement
from stream.accounts.alert_lifecycle import Phase
from stream.accounts.reasons import Reason
from stream.alerts.reasons import label_of
from stream.columns.panes import UNIT_MS, Unit
from stream.policy.alerts import AlertRule
from stream.policy.policy import Window
from stream.publishing.decimals import rounded_list, rounded_number

ORPHANED = "info"
"""Severity of an alert that is resolved because its rule is gone from the policy: the rule's own is not known."""
_WITHOUT_SCORE = ("no-data", "ended")
_NO_ACKNOWLEDGEMENT = Acknowledgement()
ERASED = "the account was erased"
STORM = "storm"
STALLED = "stalled:"
"""Prefix of the rule names of idle-source alerts."""


def fingerprint(account: str, rule: str) -> str:
    """The fingerprint of a rule on an account, the same for all its episodes: 16 hex digits."""
    return xxhash.xxh3_64_hexdigest(f"{len(account)}:{account}{rule}".encode())


class Subject(NamedTuple):
    """The account that an alert is about, as of now: `name` is the profile's, `state` as in `health.scores`.

    Without a score, `score` and `band` are the last published ones.
    """

    account: str
    name: str
    score: float
    band: str
    segment: str | None
    state: State | None
    labels: Mapping[str, str] = MappingProxyType({})
    """Those that the policy adds."""


class Episode(NamedTuple):
    """One alert from firing to resolved, as it is published.

    `began` and `ended` (None while it is open) are epoch ms, `flaps` are flaps in a row, `digest` is the fingerprint of
    the storm it is part of. `reason` is why it fired. `worse` is the alert that a worse band ended, if this one fires
    with it, or the alert of the worse band, if that ends this one. `revision` is the account's: the same content
    published again later has another id.
    """

    began: int
    ended: int | None
    phase: Phase
    flaps: int
    acknowledgement: Acknowledgement | None
    digest: str | None
    reason: Reason
    worse: AlertRule | None
    revision: int


def account_alert(rule: AlertRule, subject: Subject, episode: Episode, condition: str) -> Alert:
    """The alert of one account, without its id; `condition` is the `firing_text` of an open alert."""
    fires, worse, reason = episode.ended is None, episode.worse, episode.reason
    what = condition if fires else resolved_text(rule, subject)
    if worse is not None:
        what = (
            f"worsened from {worse.target} to {rule.target}"
            if fires
            else f"worsened from {rule.target} to {worse.target}"
        )
    # What the score fell by is no reason for the end of an alert; its annotation stays that of the episode.
    because = f" ({reason.text})" if fires and reason.text else ""
    was = "was " if subject.state in _WITHOUT_SCORE else ""
    acknowledgement = episode.acknowledgement or _NO_ACKNOWLEDGEMENT
    acknowledged = acknowledgement.acknowledged if fires else None
    snoozed = acknowledgement.snoozed if fires and episode.phase == Phase.SNOOZED else None
    return Alert(
        id="",
        fingerprint=fingerprint(subject.account, rule.name),
        account_id=subject.account,
        rule=rule.name,
        severity=rule.severity,
        status="firing" if fires else "resolved",
        starts_at=episode.began,
        score=rounded_number(subject.score),
        band=subject.band,
        summary=f"{subject.name} {what}: {rule.score} {was}{subject.score:.1f}{because}",
        labels={
            **subject.labels,
            "account_id": subject.account,
            "rule": rule.name,
            "severity": rule.severity,
            "score": rule.score,
            "band": subject.band,
            **({} if subject.segment is None else {"segment": subject.segment}),
        },
        annotations={"reason": reason.text, "account": subject.name, **_playbook(rule)},
        ends_at=episode.ended,
        acknowledged_at=instant_ms(acknowledged.time) if acknowledged else None,
        acknowledged_by=acknowledged.by if acknowledged else None,
        snoozed_until=instant_ms(snoozed.until) if snoozed and snoozed.until is not None else None,
        flaps=episode.flaps,
        digest=episode.digest,
        fall=None if reason.fall is None else _rounded(reason.fall),
        worsened_from=worse.name if worse is not None and fires else None,
        worsened_to=worse.name if worse is not None and not fires else None,
        state=subject.state if subject.state in _WITHOUT_SCORE else None,
    )


def orphan_alert(rule: str, subject: Subject, began_ms: int, ended_ms: int) -> Alert:
    """The resolved alert of a rule that the policy does not have any more."""
    labels = {"account_id": subject.account, "rule": rule, "severity": ORPHANED, "band": subject.band}
    return _identified(
        Alert(
            id="",
            fingerprint=fingerprint(subject.account, rule),
            account_id=subject.account,
            rule=rule,
            severity=ORPHANED,
            status="resolved",
            starts_at=began_ms,
            score=rounded_number(subject.score),
            band=subject.band,
            summary=f"{subject.name}: the policy has no rule {rule} any more, is {subject.band}",
            labels=labels,
            annotations={"reason": "the policy changed", "account": subject.name},
            ends_at=ended_ms,
        )
    )


class Beginning(NamedTuple):
    """How an episode began: epoch ms, flaps in a row, the fingerprint of the storm it is part of."""

    began_ms: int
    flaps: int = 0
    digest: str | None = None


def gone_alert(
    account: str, rule: str, severity: str, beginning: Beginning, ended_ms: int, *, why: str = ERASED
) -> Alert:
    """The resolved alert of an account that is erased or merged: nothing of the account but its id, and why."""
    return _identified(
        Alert(
            id="",
            fingerprint=fingerprint(account, rule),
            account_id=account,
            rule=rule,
            severity=severity,
            status="resolved",
            starts_at=beginning.began_ms,
            score=None,
            band=None,
            summary=f"{account}: {why}",
            labels={"account_id": account, "rule": rule, "severity": severity},
            annotations={"reason": why},
            ends_at=max(ended_ms, beginning.began_ms),
            flaps=beginning.flaps,
            digest=beginning.digest,
        )
    )


def operational_alert(
    rule: str, summary: str, labels: Mapping[str, str], *, began_ms: int, ended_ms: int | None, severity: str
) -> Alert:
    """An alert of no single account; its fingerprint is the same in all partitions."""
    return _identified(
        Alert(
            id="",
            fingerprint=fingerprint("", rule),
            account_id="",
            rule=rule,
            severity=severity,
            status="firing" if ended_ms is None else "resolved",
            starts_at=began_ms,
            score=None,
            band=None,
            summary=summary,
            labels={"rule": rule, "severity": severity, **labels},
            annotations={},
            ends_at=ended_ms,
        )
    )


def closed(alert: Alert, ended_ms: int) -> Alert:
    """The resolved form of an alert that is published as firing, and ended before a crash without being published."""
    return _identified(
        msgspec.structs.replace(
            alert,
            id="",
            status="resolved",
            ends_at=max(ended_ms, alert.starts_at),
            summary=f"{alert.annotations.get('account', alert.rule)}: {alert.rule} is over",
            acknowledged_at=None,
            acknowledged_by=None,
            snoozed_until=None,
        )
    )


def same_episode(alert: Alert, published: Alert) -> Alert:
    """An alert with the start, flaps and storm of the episode that was published."""
    taken_over = {"starts_at": published.starts_at, "flaps": published.flaps, "digest": published.digest}
    return _identified(msgspec.structs.replace(alert, id="", **taken_over))


def _rounded(fall: Fall) -> Fall:
    """The fall as it is published: the deltas sum to what the score fell by, as decimal numbers."""
    before, after = rounded_number(fall.from_), rounded_number(fall.to)
    deltas = rounded_list(rounded_number(after - before), [factor.delta for factor in fall.factors])
    factors = [FallFactor(factor.measure, delta) for factor, delta in zip(fall.factors, deltas, strict=True)]
    return Fall(fall.since, before, after, factors)


def encode_identified(alert: Alert, revision: int) -> bytes:
    """An alert without an id as JSON, with the hash of its content as id: its first field."""
    content = encode(alert)
    return b'{"id":"%b%b' % (_id_of(alert, content, revision).encode(), content[len(b'{"id":"') :])


def _identified(alert: Alert, revision: int = 0) -> Alert:
    """The alert with the hash of its content as id."""
    return msgspec.structs.replace(alert, id=_id_of(alert, encode(alert), revision))


def _id_of(alert: Alert, content: bytes, revision: int) -> str:
    return alert.status[0] + xxhash.xxh3_128_hexdigest(content, revision)


def _playbook(rule: AlertRule) -> dict[str, str]:
    """Annotations for the rule's actions and owner, where the policy has them."""
    if not rule.actions and not rule.owner:
        return {}
    annotations = {"actions": "; ".join(rule.actions), "owner": rule.owner or ""}
    return {name: text for name, text in annotations.items() if text}


_RESOLVED_BY_STATE: dict[str | None, str] = {
    "new": "is new: alerts about its score begin later",
    "no-data": "has no data any more",
    "ended": "has ended",
}
_RESOLVED = {
    "band": "left {target}",
    "left": "is {target} again",
    "below": "is not below {level:g} any more",
    "drop": "has not fallen as far any more",
    "measure": "has better {label} again",
    "forecast": "does not turn {target} within {within} any more",
    "silent": "has {target} again",
}
_FIRING = {
    "band": "is {target}",
    "left": "left {target}",
    "below": "is below {level:g}",
    "drop": "fell {number:.1f} points within {within}",
    "measure": "has {label} at {number:.0f} points, below {level:g}",
    "forecast": "turns {target} on {day} if nothing happens",
    "silent": "has had no {target} for {number:.0f} {unit}s",
}


def resolved_text(rule: AlertRule, subject: Subject) -> str:
    """The part of a summary that says that an alert is over."""
    if subject.state in _RESOLVED_BY_STATE and (rule.kind != "silent" or subject.state == "ended"):
        return _RESOLVED_BY_STATE[subject.state]
    label, within = label_of(rule.target or ""), _span(rule.within)
    over = _RESOLVED[rule.kind].format(target=rule.target, level=rule.level, label=label, within=within)
    return f"{over}, is {subject.band}"


def firing_text(rule: AlertRule, number: float) -> str:
    """The part of a summary that says how an alert's condition holds.

    `number` is by the rule's kind the points of a fall, the points of a measure, a UTC day since 1970, or silent days.
    """
    day = datetime.fromtimestamp(number * UNIT_MS["day"] / 1000, tz=UTC).date() if rule.kind == "forecast" else None
    label, within = label_of(rule.target or ""), _span(rule.within)
    text = _FIRING[rule.kind].format(
        target=rule.target,
        level=rule.level,
        label=label,
        within=within,
        unit=None if rule.within is None else rule.within.unit,
        number=number,
        day=day,
    )
    return text if rule.for_ms is None else f"{text} for {_duration(rule.for_ms)}"


def _span(window: Window | None) -> str:
    """A window as text: "7 days"."""
    if window is None:
        return ""
    return f"{window.panes} {window.unit}{'' if window.panes == 1 else 's'}"


def _duration(for_ms: int) -> str:
    unit: Unit = "hour" if for_ms % UNIT_MS["day"] else "day"
    return _span(Window(for_ms // UNIT_MS[unit], unit))

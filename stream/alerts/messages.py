"""Alert messages: the records of `health.alerts`, with summaries that a person can act on.

Owns the form, the ids and the sentences of these records. An id is a hash of the content and of the account's revision,
so that two records with different content never share an id. `stream.alerts.emission`, `stream.alerts.storms` and
`stream.alerts.idle_sources` decide when an alert fires and call this. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
import xxhash

from schemas.codecs import encode, instant_ms
from schemas.outputs import Alert
from stream.accounts.acknowledgements import Acknowledgement
from stream.accounts.alert_lifecycle import Phase
from stream.columns.panes import UNIT_MS, Unit
from stream.policy.alerts import AlertRule
from stream.policy.policy import Window

ORPHANED = "info"
"""Severity of an alert that is resolved because its rule is gone from the policy: the rule's own is not known."""
STORM = "storm"
STALLED = "stalled:"
"""Prefix of the rule names of idle-source alerts."""


def fingerprint(account: str, rule: str) -> str:
    """The fingerprint of a rule on an account, the same for all its episodes: 16 hex digits."""
    return xxhash.xxh3_64_hexdigest(f"{len(account)}:{account}{rule}".encode())


class Subject(NamedTuple):
    """The account that an alert is about, as of now: `name` is the profile's; `reason` says what moved the score."""

    account: str
    name: str
    score: float
    band: str
    reason: str
    segment: str | None


class Episode(NamedTuple):
    """One alert from firing to resolved, as it is published.

    `began` and `ended` (None while it is open) are epoch ms, `flaps` are flaps in a row, `digest` is the fingerprint of
    the storm it is part of. `revision` is the account's: the same content published again later has another id.
    """

    began: int
    ended: int | None
    phase: Phase
    flaps: int
    acknowledgement: Acknowledgement | None
    digest: str | None
    revision: int


def account_alert(rule: AlertRule, subject: Subject, episode: Episode, condition: str) -> Alert:
    """The alert of one account; `condition` is the `firing_text` of an open alert."""
    fires = episode.ended is None
    what = condition if fires else f"{resolved_text(rule)}, is {subject.band}"
    reason = f" ({subject.reason})" if subject.reason else ""
    acknowledgement = episode.acknowledgement or Acknowledgement()
    acknowledged = acknowledgement.acknowledged if fires else None
    snoozed = acknowledgement.snoozed if fires and episode.phase == Phase.SNOOZED else None
    alert = Alert(
        id="",
        fingerprint=fingerprint(subject.account, rule.name),
        account_id=subject.account,
        rule=rule.name,
        severity=rule.severity,
        status="firing" if fires else "resolved",
        starts_at=episode.began,
        score=subject.score,
        band=subject.band,
        summary=f"{subject.name} {what}: {rule.score} {subject.score:.1f}{reason}",
        labels={
            "account_id": subject.account,
            "rule": rule.name,
            "severity": rule.severity,
            "score": rule.score,
            "band": subject.band,
            **({} if subject.segment is None else {"segment": subject.segment}),
        },
        annotations={"reason": subject.reason, "account": subject.name, **_playbook(rule)},
        ends_at=episode.ended,
        acknowledged_at=instant_ms(acknowledged.time) if acknowledged else None,
        acknowledged_by=acknowledged.by if acknowledged else None,
        snoozed_until=instant_ms(snoozed.until) if snoozed and snoozed.until is not None else None,
        flaps=episode.flaps,
        digest=episode.digest,
    )
    return _identified(alert, episode.revision)


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
            score=subject.score,
            band=subject.band,
            summary=f"{subject.name}: the policy has no rule {rule} any more, is {subject.band}",
            labels=labels,
            annotations={"reason": "the policy changed", "account": subject.name},
            ends_at=ended_ms,
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


def _identified(alert: Alert, revision: int = 0) -> Alert:
    """The alert with the hash of its content as id."""
    return msgspec.structs.replace(alert, id=alert.status[0] + xxhash.xxh3_128_hexdigest(encode(alert), revision))


def _playbook(rule: AlertRule) -> dict[str, str]:
    """Annotations for the rule's actions and owner, where the policy has them."""
    annotations = {"actions": "; ".join(rule.actions), "owner": rule.owner or ""}
    return {name: text for name, text in annotations.items() if text}


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
    "silent": "has had no {target} for {number:.0f} days",
}


def resolved_text(rule: AlertRule) -> str:
    """The part of a summary that says that an alert is over."""
    label, within = _label(rule.target), _span(rule.within)
    return _RESOLVED[rule.kind].format(target=rule.target, level=rule.level, label=label, within=within)


def firing_text(rule: AlertRule, number: float) -> str:
    """The part of a summary that says how an alert's condition holds.

    `number` is by the rule's kind the points of a fall, the points of a measure, a UTC day since 1970, or silent days.
    """
    day = datetime.fromtimestamp(number * UNIT_MS["day"] / 1000, tz=UTC).date() if rule.kind == "forecast" else None
    label, within = _label(rule.target), _span(rule.within)
    text = _FIRING[rule.kind].format(
        target=rule.target, level=rule.level, label=label, within=within, number=number, day=day
    )
    return text if rule.for_ms is None else f"{text} for {_duration(rule.for_ms)}"


def _label(name: str | None) -> str:
    """A measure's name as a label for people: underscores become spaces."""
    return (name or "").replace("_", " ")


def _span(window: Window | None) -> str:
    """A window as text: "7 days"."""
    if window is None:
        return ""
    return f"{window.panes} {window.unit}{'' if window.panes == 1 else 's'}"


def _duration(for_ms: int) -> str:
    unit: Unit = "hour" if for_ms % UNIT_MS["day"] else "day"
    return _span(Window(for_ms // UNIT_MS[unit], unit))


_SMALLEST_DELTA = 0.05
"""Smaller deltas would read as 0.0."""
_REASON_FACTORS = 3


def reason_of(names: Sequence[str], deltas: Sequence[float]) -> str:
    """The factors that moved a score most, at most three: "support tickets -14.0, nps -2.5"."""
    factors = [pair for pair in zip(names, deltas, strict=True) if abs(pair[1]) >= _SMALLEST_DELTA]
    factors.sort(key=lambda pair: -abs(pair[1]))
    return ", ".join(f"{_label(name)} {delta:+.1f}" for name, delta in factors[:_REASON_FACTORS])

"""Alerts as messages: what a firing or resolved alert says, in words a person can act on.

Owns the form and the sentences of `health.alerts`. An id is a hash of the content and of the account's revision, so
that it never names two contents. When an alert fires is for `stream.alerts.emission`. Pure.
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
"""Severity of an alert that ends because the policy has no such rule any more: what it was is not known."""
STORM = "storm"
STALLED = "stalled:"
"""What the rule names of stalled sources begin with."""


def fingerprint(account: str, rule: str) -> str:
    """The same for every episode of a rule on an account: 16 hex digits."""
    return xxhash.xxh3_64_hexdigest(f"{len(account)}:{account}{rule}".encode())


class Subject(NamedTuple):
    """Who and what an alert is about: `name` is what people call the account; its state now, and why."""

    account: str
    name: str
    score: float
    band: str
    reason: str
    segment: str | None


class Episode(NamedTuple):
    """One alert as told: since when (ms), until when (None: it is open), its state, flaps in a row, word, digest.

    `revision` is the account's: what is said a second time after something else was said is another message.
    """

    began: int
    ended: int | None
    phase: Phase
    flaps: int
    acknowledgement: Acknowledgement | None
    digest: str | None
    revision: int


def account_alert(rule: AlertRule, subject: Subject, episode: Episode, detail: str) -> Alert:
    """The message about one account; `detail` says how its condition holds (see `stream.alerts.emission`)."""
    fires = episode.ended is None
    what = detail if fires else f"{ending(rule)}, is {subject.band}"
    reason = f" ({subject.reason})" if subject.reason else ""
    acknowledgement = episode.acknowledgement or Acknowledgement()
    spoken = acknowledgement.acknowledged if fires else None
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
        acknowledged_at=instant_ms(spoken.time) if spoken else None,
        acknowledged_by=spoken.by if spoken else None,
        snoozed_until=instant_ms(snoozed.until) if snoozed and snoozed.until is not None else None,
        flaps=episode.flaps,
        digest=episode.digest,
    )
    return _identified(alert, episode.revision)


def orphan_alert(rule: str, subject: Subject, began_ms: int, ended_ms: int) -> Alert:
    """The end of an alert whose rule the policy does not have any more."""
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
    """The end of an alert that was told to be open, and was over before the worker that told it could write so down."""
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


def same_episode(alert: Alert, told: Alert) -> Alert:
    """What an alert says, as of the episode that was told."""
    return _identified(msgspec.structs.replace(alert, id="", starts_at=told.starts_at, flaps=told.flaps))


def _identified(alert: Alert, revision: int = 0) -> Alert:
    """With the hash of its content for an id."""
    return msgspec.structs.replace(alert, id=alert.status[0] + xxhash.xxh3_128_hexdigest(encode(alert), revision))


def _playbook(rule: AlertRule) -> dict[str, str]:
    """Who does what, where the policy says so."""
    found = {"actions": "; ".join(rule.actions), "owner": rule.owner or ""}
    return {name: text for name, text in found.items() if text}


_ENDINGS = {
    "band": "left {target}",
    "left": "is {target} again",
    "below": "is not below {level:g} any more",
    "drop": "has not fallen as far any more",
    "measure": "has better {label} again",
    "forecast": "does not turn {target} within {within} any more",
    "silent": "has {target} again",
}
_BEGINNINGS = {
    "band": "is {target}",
    "left": "left {target}",
    "below": "is below {level:g}",
    "drop": "fell {number:.1f} points within {within}",
    "measure": "has {label} at {number:.0f} points, below {level:g}",
    "forecast": "turns {target} on {day} if nothing happens",
    "silent": "has had no {target} for {number:.0f} days",
}


def ending(rule: AlertRule) -> str:
    """How it is said that an alert is over."""
    label, within = spoken(rule.target), span(rule.within)
    return _ENDINGS[rule.kind].format(target=rule.target, level=rule.level, label=label, within=within)


def beginning(rule: AlertRule, number: float) -> str:
    """How it is said that an alert's condition holds; `number` is a fall, points, a day or days, by the rule's kind."""
    day = datetime.fromtimestamp(number * UNIT_MS["day"] / 1000, tz=UTC).date() if rule.kind == "forecast" else None
    label, within = spoken(rule.target), span(rule.within)
    text = _BEGINNINGS[rule.kind].format(
        target=rule.target, level=rule.level, label=label, within=within, number=number, day=day
    )
    return text if rule.for_ms is None else f"{text} for {_duration(rule.for_ms)}"


def spoken(name: str | None) -> str:
    """A measure's name as people say it."""
    return (name or "").replace("_", " ")


def span(window: Window | None) -> str:
    """A window in words: "7 days"."""
    if window is None:
        return ""
    return f"{window.panes} {window.unit}{'' if window.panes == 1 else 's'}"


def _duration(for_ms: int) -> str:
    unit: Unit = "hour" if for_ms % UNIT_MS["day"] else "day"
    return span(Window(for_ms // UNIT_MS[unit], unit))


_TELLING = 0.05
"""Smaller deltas would read as 0.0."""
_TOLD = 3


def reason_of(names: Sequence[str], deltas: Sequence[float]) -> str:
    """The few factors that moved a score most, in words: "support tickets -14.0, nps -2.5"."""
    telling = [pair for pair in zip(names, deltas, strict=True) if abs(pair[1]) >= _TELLING]
    telling.sort(key=lambda pair: -abs(pair[1]))
    return ", ".join(f"{spoken(name)} {delta:+.1f}" for name, delta in telling[:_TOLD])

"""The oracle's alerts: which episodes are open at every boundary of a log, computed slowly from all earlier boundaries.

Owns a second reading of docs/reference/policy/alerts.md: when each kind of rule holds, and the state machine of rules
with boundary state. `tests.oracle.engine` computes the accounts at boundaries; no state is kept between
calls. Must not know the product's own code. Called by the tests, with the full log of every input topic.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from tests.oracle.bands import DECIMALS
from tests.oracle.counted_days import business_calendar, is_business_day
from tests.oracle.engine import PartitionState, merged, on_boundaries, read_policy, steps_of
from tests.oracle.policy import DAY_MS, PANE_MS, boundary_unit_ms, length_ms, panes_of
from tests.oracle.scores import AccountScores, score_all
from tests.oracle.status import ACTIVE, ENDED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.oracle.engine import Record
    from tests.oracle.events import Event
    from tests.oracle.policy import Policy
    from tests.oracle.scores import ScoreOf

Episode = tuple[str, str]
"""An account and a rule; the account of an operational alert is ""."""
Episodes = frozenset[Episode]

NO_ACCOUNT = ""
REMEMBERING_KINDS = ("drop", "left", "forecast")


@dataclass(frozen=True)
class Rule:
    """An alert rule. `segments` None means every account, `most_a_day` None as often as it will.

    `calendar` is the policy's table of business days. `number` is what the kind compares with,
    `clear` the same for an alert that is firing.
    """

    name: str
    score: str
    kind: str
    when: dict[str, Any]
    number: Fraction = Fraction(0)
    clear: Fraction | None = None
    segments: tuple[str, ...] | None = None
    for_ms: int = 0
    cooldown_ms: int = 0
    most_a_day: int | None = None
    remembers: bool = False
    calendar: dict[str, Any] = field(default_factory=dict)

    @property
    def within(self) -> int:
        """Panes of its `within`, or days."""
        return panes_of(self.when["within"])


def rules_of(policy: Policy) -> list[Rule]:
    """Return the rules of a policy; bands that are marked are rules too, and come first."""
    rules = [
        Rule(f"band:{score}:{band['name']}", score, "band", {"band": band["name"]})
        for score, table in policy.tables.items()
        for band in table["bands"]
        if "alert" in band
    ]
    return rules + [_rule(name, table, policy) for name, table in policy.alerts.items()]


def _rule(name: str, table: dict[str, Any], policy: Policy) -> Rule:
    when = table["when"]
    kind = next(kind for kind in ("below", "band", "left", "drop", "measure", "forecast", "silent") if kind in when)
    number = {"below": "below", "drop": "drop", "measure": "points_below"}.get(kind)
    memory = {"for", "cooldown", "clear", "max_per_day"} & table.keys()
    return Rule(
        name,
        table.get("score", next(iter(policy.tables))),
        kind,
        when,
        Fraction(0 if number is None else when[number]),
        Fraction(table["clear"]) if "clear" in table else None,
        tuple(table["segments"]) if "segments" in table else None,
        length_ms(table.get("for", "0h")),
        length_ms(table.get("cooldown", "0h")),
        table.get("max_per_day"),
        bool(memory) or kind in REMEMBERING_KINDS,
        policy.calendar,
    )


# ---------------------------------------------------------------------------------------------------------------------
# What is seen


@dataclass(frozen=True)
class Picture:
    """One account at one moment.

    `latest_ms` is its newest event and `clocks_ms` the clock of each source it has an event of. `ahead` has, for each
    rule of kind forecast, whether it will hold; it is computed at midnights only.
    """

    at_ms: int
    account: AccountScores
    latest_ms: dict[str, int]
    clocks_ms: dict[str, int]
    ahead: dict[str, bool] = field(default_factory=dict)

    def score(self, rule: Rule) -> ScoreOf:
        """Return the score that a rule looks at."""
        return self.account.scores[rule.score]


def pictures_of(
    state: PartitionState, policy: Policy, at_ms: int, scores: dict[str, AccountScores], forecasts: Sequence[Rule] = ()
) -> dict[str, Picture]:
    """Return the picture of every account that was scored at a moment."""
    stalled_ms = state.clocks_ms(policy, at_ms)
    pictures = {}
    for account_id, account in scores.items():
        latest_ms = {event.source: event.time_ms for event in state.events[account_id] if event.time_ms <= at_ms}
        ahead = {rule.name: _turns_poor(state, policy, account_id, rule, at_ms) for rule in forecasts}
        clocks_ms = {source: stalled_ms.get(source, at_ms) for source in latest_ms}
        pictures[account_id] = Picture(at_ms, account, latest_ms, clocks_ms, ahead)
    return pictures


def is_in_or_below(policy: Policy, score: str, band: str | None, limit: str) -> bool:
    """Say whether a band of a score is the limit, or a lower one; without a band, it is not."""
    if band is None:
        return False
    starts = {band_table["name"]: band_table["from"] for band_table in policy.tables[score]["bands"]}
    return bool(starts[band] <= starts[limit])


def _turns_poor(state: PartitionState, policy: Policy, account_id: str, rule: Rule, at_ms: int) -> bool:
    """Say whether a rule's band, or a lower one, is the band at one of the next midnights when no event comes.

    What has stalled stays so; the other sources are taken to go on with other accounts.
    """
    clocks_ms = state.clocks_ms(policy, at_ms)
    held = state.held.get(account_id)
    step_ms = boundary_unit_ms(policy) if policy.holds_bands else DAY_MS
    for boundary_ms in range(at_ms + step_ms, at_ms + rule.within * DAY_MS + 1, step_ms):
        account = score_all(
            state.events[account_id],
            policy,
            boundary_ms,
            state.profiles.get(account_id),
            held,
            at_boundary=True,
            clocks_ms=clocks_ms,
        )
        held = {name: score.held for name, score in account.scores.items() if score.held}
        band = account.scores[rule.score].band
        if boundary_ms % DAY_MS == 0 and is_in_or_below(policy, rule.score, band, rule.when["forecast"]):
            return True
    return False


# ---------------------------------------------------------------------------------------------------------------------
# When a rule holds


def is_beside_the_point(rule: Rule, now: Picture) -> bool:
    """Say whether the status of the account keeps a rule off: new ones and those without data have only silence."""
    if now.account.status == ENDED:
        return True
    return rule.kind != "silent" and (now.account.status != ACTIVE or now.score(rule).band is None)


def holds(policy: Policy, rule: Rule, seen: Sequence[Picture], alert: AlertState) -> bool:
    """Say whether a rule holds in the last of an account's pictures; the ones before it are of boundaries, in order."""
    if is_beside_the_point(rule, seen[-1]):
        return False
    if rule.segments is not None and seen[-1].account.segment not in rule.segments:
        return False
    return bool(
        {
            "below": _below,
            "band": lambda *_: seen[-1].score(rule).band == rule.when["band"],
            "left": _left,
            "drop": _drop,
            "measure": _measure,
            "forecast": lambda *_: _forecast(policy, rule, seen),
            "silent": _silent,
        }[rule.kind](rule, seen, alert)
    )


def _limit(rule: Rule, alert: AlertState) -> Fraction:
    return rule.clear if rule.clear is not None and alert.state == "firing" else rule.number


def _below(rule: Rule, seen: Sequence[Picture], alert: AlertState) -> bool:
    return round(seen[-1].score(rule).exact, DECIMALS) < _limit(rule, alert)


def _left(rule: Rule, seen: Sequence[Picture], alert: AlertState) -> bool:
    if seen[-1].score(rule).band == rule.when["left"]:
        return False
    was_in = len(seen) > 1 and seen[-2].score(rule).band == rule.when["left"]
    return was_in or alert.state != "idle"


def _drop(rule: Rule, seen: Sequence[Picture], alert: AlertState) -> bool:
    unit_ms = PANE_MS[rule.when["within"][-1]]
    boundaries = [picture.score(rule) for picture in seen[:-1] if picture.at_ms % unit_ms == 0][-rule.within :]
    before = [score.exact for score in boundaries if score.band is not None]
    return bool(before) and round(max(before) - seen[-1].score(rule).exact, DECIMALS) >= _limit(rule, alert)


def _measure(rule: Rule, seen: Sequence[Picture], alert: AlertState) -> bool:
    points = seen[-1].account.points[rule.when["measure"]]
    return points is not None and round(points, DECIMALS) < _limit(rule, alert)


def _forecast(policy: Policy, rule: Rule, seen: Sequence[Picture]) -> bool:
    today = list(takewhile(lambda picture: picture.at_ms // DAY_MS == seen[-1].at_ms // DAY_MS, reversed(seen)))
    limit = rule.when["forecast"]
    return today[-1].ahead.get(rule.name, False) and not any(
        picture.score(rule).band is None or is_in_or_below(policy, rule.score, picture.score(rule).band, limit)
        for picture in today
    )


def _silent(rule: Rule, seen: Sequence[Picture], _: AlertState) -> bool:
    source, now = rule.when["silent"], seen[-1]
    if source not in now.latest_ms:
        return False
    days = range(now.latest_ms[source] // DAY_MS + 1, now.clocks_ms[source] // DAY_MS + 1)
    if rule.when["within"].endswith("bd"):
        return sum(_is_business_day(rule.calendar, day) for day in days) >= rule.within
    return len(days) >= rule.within


def _is_business_day(calendar: dict[str, Any], day: int) -> bool:
    """Say whether a day (since 1970) counts."""
    return is_business_day(date(1970, 1, 1) + timedelta(days=day), *business_calendar(calendar))


# ---------------------------------------------------------------------------------------------------------------------
# The state of an alert


@dataclass
class AlertState:
    """What a rule that remembers holds of an account: idle, pending (`since_ms`) or firing."""

    state: str = "idle"
    since_ms: int = 0
    quiet_ms: int | None = None
    fired_ms: list[int] = field(default_factory=list)

    def may_fire(self, rule: Rule, now_ms: int) -> bool:
        """Say whether the rule is not cooling down and has not fired too often today."""
        if self.quiet_ms is not None and now_ms < self.quiet_ms + rule.cooldown_ms:
            return False
        today = sum(fired_ms // DAY_MS == now_ms // DAY_MS for fired_ms in self.fired_ms)
        return rule.most_a_day is None or today < rule.most_a_day

    def on_boundary(self, rule: Rule, *, held: bool, boundary_ms: int) -> None:
        """Take one step: `held` is whether the rule holds at the boundary."""
        if not held:
            if self.state == "firing":
                self.quiet_ms = boundary_ms
            self.state = "idle"
            return
        if self.state == "idle":
            self.state, self.since_ms = "pending", boundary_ms
        if self.state == "pending" and boundary_ms - self.since_ms >= rule.for_ms and self.may_fire(rule, boundary_ms):
            self.state = "firing"
            self.fired_ms.append(boundary_ms)


def alert_of(policy: Policy, rule: Rule, pictures: Sequence[Picture]) -> tuple[list[bool], AlertState]:
    """Return whether an account's alert is open at each of its boundaries, and how it stands after the last one."""
    alert, is_open = AlertState(), []
    for index, picture in enumerate(pictures):
        held = holds(policy, rule, pictures[: index + 1], alert)
        if rule.remembers:
            alert.on_boundary(rule, held=held, boundary_ms=picture.at_ms)
            held = alert.state == "firing"
        is_open.append(held)
    return is_open, alert


def _is_open_between(policy: Policy, rule: Rule, boundaries: Sequence[Picture], now: Picture) -> bool:
    """Say whether an alert is open published at the last boundary and evaluated again after it."""
    _, alert = alert_of(policy, rule, boundaries)
    if is_beside_the_point(rule, now):
        return False
    if rule.remembers and alert.state == "firing":
        return True
    held = holds(policy, rule, [*boundaries, now], alert)
    if not rule.remembers:
        return held
    return held and not rule.for_ms and rule.kind != "forecast" and alert.may_fire(rule, now.at_ms)


# ---------------------------------------------------------------------------------------------------------------------
# A whole log


def alerts_at_boundaries(
    log: Iterable[Record], policy_text: str, now_ms: int, until_ms: int | None = None
) -> dict[tuple[int, int], Episodes]:
    """Return the episodes that are open at every boundary, by (partition, boundary in epoch ms).

    The boundaries are those between a partition's first and last event, or all up to `until_ms`.
    """
    policy = read_policy(policy_text)
    open_at: dict[tuple[int, int], set[Episode]] = {}
    for partition, records in merged(log, policy.added).items():
        seen, stalled, _ = _look(records, policy, now_ms, until_ms)
        for boundary_ms, sources in stalled.items():
            open_at[partition, boundary_ms] = {(NO_ACCOUNT, f"stalled:{source}") for source in sources}
        for account_id, pictures in seen.items():
            for rule in rules_of(policy):
                for picture, is_open in zip(pictures, alert_of(policy, rule, pictures)[0], strict=True):
                    if is_open:
                        open_at[partition, picture.at_ms].add((account_id, rule.name))
    return {boundary: frozenset(episodes) for boundary, episodes in open_at.items()}


def alerts_on_arrival(log: Iterable[Record], policy_text: str, now_ms: int) -> dict[int, Episodes]:
    """Return what is open, by partition, when the whole log was read in silence and every account is then scored.

    The moment is that of the newest event; a boundary at that very moment has not passed.
    """
    policy = read_policy(policy_text)
    open_by_partition: dict[int, Episodes] = {}
    for partition, records in merged(log, policy.added).items():
        newest_ms = steps_of(records, policy, now_ms)[1]
        if newest_ms is None:
            continue
        seen, _, state = _look(records, policy, now_ms, None)
        now = pictures_of(state, policy, newest_ms, state.scores(policy, newest_ms))
        open_now = {(NO_ACCOUNT, f"stalled:{source}") for source in state.clocks_ms(policy, newest_ms)}
        for account_id, picture in now.items():
            for rule in rules_of(policy):
                if _is_open_between(policy, rule, seen.get(account_id, []), picture):
                    open_now.add((account_id, rule.name))
        open_by_partition[partition] = frozenset(open_now)
    return open_by_partition


def snoozed_at(records: Iterable[Record], policy_text: str, now_ms: int, boundary_ms: int) -> dict[Episode, int]:
    """Return until when each (account, rule) of one partition is snoozed at a boundary.

    Of several snoozes the latest by (time, id) holds.
    """
    policy = read_policy(policy_text)
    unit_ms = boundary_unit_ms(policy)
    snoozes: dict[Episode, Event] = {}
    for number, event in steps_of(records, policy, now_ms)[0]:
        if event.texts.get("kind") == "snooze" and number is not None and number * unit_ms <= boundary_ms:
            before = snoozes.setdefault((event.account_id, event.texts["rule"]), event)
            if (event.time_ms, event.event_id) > (before.time_ms, before.event_id):
                snoozes[event.account_id, event.texts["rule"]] = event
    until_ms = {key: event.times_ms["until"] for key, event in snoozes.items()}
    return {key: until for key, until in until_ms.items() if until > boundary_ms}


def _look(
    records: Iterable[Record], policy: Policy, now_ms: int, until_ms: int | None
) -> tuple[dict[str, list[Picture]], dict[int, list[str]], PartitionState]:
    """Return every account's pictures, the stalled sources at every boundary, and the final state."""
    forecasts = [rule for rule in rules_of(policy) if rule.kind == "forecast"]
    seen: dict[str, list[Picture]] = {}
    stalled: dict[int, list[str]] = {}
    state = PartitionState()
    for boundary_ms, scores in on_boundaries(state, steps_of(records, policy, now_ms)[0], policy, until_ms):
        looking = forecasts if boundary_ms % DAY_MS == 0 else []
        for account_id, picture in pictures_of(state, policy, boundary_ms, scores, looking).items():
            seen.setdefault(account_id, []).append(picture)
        stalled[boundary_ms] = list(state.clocks_ms(policy, boundary_ms))
    return seen, stalled, state

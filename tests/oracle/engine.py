"""The oracle: outcomes, scores and alert episodes of a whole log, computed from scratch, slowly and exactly.

Owns a second reading of docs/reference/policy, to judge the engine by: integers of milliseconds, integers of millionths
and fractions; a float only where a result leaves. It keeps no state from one answer to the next. This module owns
order, outcomes and what accounts hold to at boundaries; beside it, `tests.oracle.policy` reads policies,
`tests.oracle.measures`, `tests.oracle.scores` and `tests.oracle.bands` score one account.
Must not know the product's own code: it imports nothing from `schemas`, `stream` or `agents`.
Called by the tests, with the full log of every input topic.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from tests.oracle.counted import time_of
from tests.oracle.events import ACCOUNTS, Event, Record, RejectedError, profile_of
from tests.oracle.measures import points_of
from tests.oracle.merges import Merges, is_erasure, is_merge, moves_accounts
from tests.oracle.policy import Policy, boundary_unit_ms, is_late, read_policy
from tests.oracle.profiles import Said
from tests.oracle.recognised import read_record
from tests.oracle.scores import AccountScores, ScoreOf, score_all
from tests.oracle.status import ACTIVE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.oracle.bands import Held

__all__ = [
    "AccountScore",
    "AccountScores",
    "Record",
    "ScoreOf",
    "band_episodes",
    "boundary_scores",
    "boundary_scores_all",
    "boundary_unit_ms",
    "final_scores",
    "final_scores_all",
    "merged",
    "outcomes",
    "points_of",
    "read_policy",
]

Outcome = Literal["applied", "late", "rejected", "duplicate"]
Status = Literal["firing", "resolved"]
Factor = tuple[str, float | None, float | None, float]
Boundaries = dict[tuple[int, int], dict[str, "AccountScore"]]
AllBoundaries = dict[tuple[int, int], dict[str, AccountScores]]
Step = tuple[int | None, Event]
"""An event or profile, and the number of the first boundary at which it has been read; None is before every event."""

REPARTITION = "vitals-inbox"
SOURCE_ORDER = (
    "product-usage",
    "support-tickets",
    "surveys",
    "billing",
    "engagement",
    "controls",
    "signals",
    ACCOUNTS,
    REPARTITION,
)


@dataclass(frozen=True)
class AccountScore:
    """A policy's first score, its band, and its factors (measure, value, points, contribution) in the policy's order.

    `alert` is the severity the band fires with, or None. A measure whose weight is shared among the others has no
    value, no points and contribution 0.
    """

    value: float | None
    band: str | None
    factors: list[Factor]
    alert: str | None = None
    status: str = ACTIVE


def _first_of(account: AccountScores) -> AccountScore:
    score = next(iter(account.scores.values()))
    factors = [(name, value, points, contribution) for name, value, points, _, contribution in score.factors]
    return AccountScore(score.value, score.band, factors, score.alert, account.status)


def merged(log: Iterable[Record], added: Iterable[str] = ()) -> dict[int, list[Record]]:
    """Return the records of each partition number in the order in which its sources advance together.

    That order is by the source partition's newest record timestamp so far, then by source, then by offset. Sources that
    a policy adds come in the order of their names, after the other sources of events.
    """
    order = [*SOURCE_ORDER[:-2], *sorted(added), *SOURCE_ORDER[-2:]]
    newest: dict[tuple[int, str], int] = {}
    keyed: dict[int, list[tuple[int, int, int, Record]]] = {}
    for record in sorted(log, key=lambda record: record.offset):
        stream = (record.partition, record.source)
        newest[stream] = max(newest.get(stream, record.timestamp_ms), record.timestamp_ms)
        sort_key = (newest[stream], order.index(record.source), record.offset, record)
        keyed.setdefault(record.partition, []).append(sort_key)
    return {
        partition: [sort_key[3] for sort_key in sorted(sort_keys)] for partition, sort_keys in sorted(keyed.items())
    }


@dataclass
class PartitionState:
    """What one partition knows of its accounts.

    Events that count, sorted by time; the profiles that hold; the bands that accounts hold to, by score.
    """

    events: dict[str, list[Event]] = field(default_factory=dict)
    said: dict[str, list[Said]] = field(default_factory=dict)
    profiles: dict[str, Event] = field(default_factory=dict)
    times_ms: dict[str, list[int]] = field(default_factory=dict)
    """Times of all events by source, those of erased accounts too: a source does not fall silent by an erasure."""
    held: dict[str, dict[str, Held]] = field(default_factory=dict)
    merges: Merges = field(default_factory=Merges)
    merged: set[str] = field(default_factory=set)
    """Accounts that had events when they were merged into another one."""

    def take(self, event: Event) -> None:
        """Enter an event, or a record of a profile, of which the latest value of each field holds.

        An erasure leaves nothing of its account. A merge makes all events of its account those of the other one.
        """
        if is_erasure(event):
            for account in self.merges.erase(event.account_id):
                self.merged.discard(account)
                for known_of in (self.events, self.said, self.profiles, self.held):
                    known_of.pop(account, None)
            return
        if is_merge(event):
            self._merge(event)
            return
        if event.source != ACCOUNTS:
            self.times_ms.setdefault(event.source, []).append(event.time_ms)
            insort(self.events.setdefault(event.account_id, []), event, key=time_of)
            return
        assert event.said is not None
        records = self.said.setdefault(event.account_id, [])
        records.append(event.said)
        self.profiles[event.account_id] = profile_of(event.account_id, records)

    def _merge(self, merge: Event) -> None:
        account = merge.account_id
        if account in self.merges.into:
            return
        self.merges.add(merge)
        into = self.merges.home(account)
        self.held.pop(account, None)
        self.profiles.pop(account, None)
        for event in self.events.pop(account, []):
            self.merged.add(account)
            insort(self.events.setdefault(into, []), replace(event, account_id=into), key=time_of)
        said = self.said.pop(account, [])
        deleted = max(((each.time_ms, each.event_id) for each in said if each.deletes), default=None)
        said = [each for each in said if deleted is None or (each.time_ms, each.event_id) > deleted]
        if said:
            self.said.setdefault(into, []).extend(said)
            self.profiles[into] = profile_of(into, self.said[into])

    def clocks_ms(self, policy: Policy, as_of_ms: int) -> dict[str, int]:
        """Return the clocks of sources that have stalled: their newest event and how long they may be silent."""
        clocks: dict[str, int] = {}
        for source, after_ms in policy.stall_after_ms.items():
            known = [time_ms for time_ms in self.times_ms.get(source, ()) if time_ms <= as_of_ms]
            if known and as_of_ms > max(known) + after_ms:
                clocks[source] = max(known) + after_ms
        return clocks

    def scores(self, policy: Policy, as_of_ms: int, *, at_boundary: bool = False) -> dict[str, AccountScores]:
        """Score every account that has an event not after the moment."""
        clocks_ms = self.clocks_ms(policy, as_of_ms)
        merged = {account: score_all([], policy, as_of_ms, clocks_ms=clocks_ms, ended=True) for account in self.merged}
        return merged | {
            account_id: score_all(
                events,
                policy,
                as_of_ms,
                self.profiles.get(account_id),
                self.held.get(account_id),
                at_boundary=at_boundary,
                clocks_ms=clocks_ms,
            )
            for account_id, events in self.events.items()
            if events[0].time_ms <= as_of_ms
        }

    def on_boundary(self, policy: Policy, boundary_ms: int) -> dict[str, AccountScores]:
        """Score every account at a boundary, and keep the bands that they hold to from there on."""
        scores = self.scores(policy, boundary_ms, at_boundary=True)
        for account_id, account in scores.items():
            self.held[account_id] = {name: score.held for name, score in account.scores.items() if score.held}
        return scores


def _judge(
    records: Iterable[Record], policy: Policy, now_ms: int
) -> Iterator[tuple[Record, Outcome, Event | None, int | None]]:
    """Yield each record of one partition with its outcome, its event or profile, and the newest event time so far.

    A record is judged in this order: rejected, duplicate, late, applied. Of what is not applied there is no event. A
    profile that is deleted is an empty one of the record's time, at which the account ended.
    """
    seen: set[tuple[str, str, str]] = set()
    merges = Merges()
    newest_ms: int | None = None
    for record in records:
        source = record.origin if record.source == REPARTITION else record.source
        if source is None:
            raise ValueError(f"the record at offset {record.offset} of {REPARTITION} names no origin")
        if source == ACCOUNTS and record.value is None and record.key:
            said = Said(record.timestamp_ms, f"tombstone-{record.offset}", deletes=True)
            gone = Event(ACCOUNTS, said.event_id, record.key.decode(), said.time_ms, {}, {}, said=said)
            yield record, "applied", merges.at_home(gone), newest_ms
            continue
        try:
            event = read_record(source, record.value, now_ms, policy.band_names, policy.added, key=record.key)
        except RejectedError:
            yield record, "rejected", None, newest_ms
            continue
        if source == ACCOUNTS:
            yield record, "applied", merges.at_home(event), newest_ms
            continue
        if (source, event.account_id, event.event_id) in seen:
            yield record, "duplicate", None, newest_ms
            continue
        seen.add((source, event.account_id, event.event_id))
        if moves_accounts(event):
            accepted = merges.take(event)
            yield record, "applied" if accepted else "rejected", event if accepted else None, newest_ms
            continue
        event = replace(event, account_id=merges.home(event.account_id))
        newest_ms = event.time_ms if newest_ms is None else max(newest_ms, event.time_ms)
        outcome: Outcome = "late" if is_late(event.time_ms, newest_ms, policy) else "applied"
        yield record, outcome, event if outcome == "applied" else None, newest_ms


def outcomes(log: Iterable[Record], policy_text: str, now_ms: int) -> Counter[tuple[str, Outcome]]:
    """Count the records of the log by (topic they were read from, outcome). A profile is applied or rejected."""
    policy = read_policy(policy_text)
    return Counter(
        (record.source, outcome)
        for records in merged(log, policy.added).values()
        for record, outcome, _, _ in _judge(records, policy, now_ms)
    )


def steps_of(
    records: Iterable[Record], policy: Policy, now_ms: int, *, timed_profiles: bool = False
) -> tuple[list[Step], int | None]:
    """Return what of one partition's records counts, in order, and the newest event time.

    With `timed_profiles` (files) a profile is first read at the boundary at or after its own time.
    """
    unit_ms = boundary_unit_ms(policy)
    steps: list[Step] = []
    newest_ms: int | None = None
    for _, _, event, newest_ms in _judge(records, policy, now_ms):
        if event is None:
            continue
        known_ms = newest_ms
        if timed_profiles and newest_ms is not None:
            known_ms = max(newest_ms, event.time_ms)
        steps.append((None if known_ms is None else -(-known_ms // unit_ms), event))
    return steps, newest_ms


def on_boundaries(
    state: PartitionState, steps: Sequence[Step], policy: Policy, until_ms: int | None
) -> Iterator[tuple[int, dict[str, AccountScores]]]:
    """Yield each boundary's time and scores, from the first event on; then take what no boundary saw into the state.

    The boundaries are those before the last event (`until_ms` None), or those up to `until_ms`, that one included. A
    boundary counts every record that was read before the newest event time passed it: a profile holds from its
    position in the log.
    """
    unit_ms = boundary_unit_ms(policy)
    timed = [
        number for number, event in steps if event.source != ACCOUNTS and not is_erasure(event) and not is_merge(event)
    ]
    numbers = [number for number in timed if number is not None]
    taken = 0
    if numbers:
        for boundary in range(numbers[0], numbers[-1] if until_ms is None else until_ms // unit_ms + 1):
            while taken < len(steps) and ((number := steps[taken][0]) is None or number <= boundary):
                state.take(steps[taken][1])
                taken += 1
            yield boundary * unit_ms, state.on_boundary(policy, boundary * unit_ms)
    for _, event in steps[taken:]:
        state.take(event)


def final_scores_all(
    log: Iterable[Record],
    policy_text: str,
    now_ms: int,
    as_of_ms: int | None = None,
    *,
    timed_profiles: bool = False,
) -> dict[str, AccountScores]:
    """Return every score of every account after the whole log.

    `as_of_ms` None means the newest event time of the account's partition; a boundary at that very time has not passed.
    A given `as_of_ms` is the clock's: boundaries up to it have passed, with events or without. `timed_profiles`: see
    `steps_of`. An account is known from
    its first applied event that is not after `as_of_ms`. Raises ValueError when one account's events lie in two
    partitions.
    """
    policy = read_policy(policy_text)
    scores: dict[str, AccountScores] = {}
    homes: dict[str, int] = {}
    for partition, records in merged(log, policy.added).items():
        state = PartitionState()
        steps, newest_ms = steps_of(records, policy, now_ms, timed_profiles=timed_profiles)
        if policy.holds_bands:
            for _ in on_boundaries(state, steps, policy, as_of_ms):
                pass
        else:
            for _, event in steps:
                state.take(event)
        for account_id in state.events:
            if homes.setdefault(account_id, partition) != partition:
                raise ValueError(f"account {account_id!r} has events in partition {partition} and in an earlier one")
        moment_ms = newest_ms if as_of_ms is None else as_of_ms
        if moment_ms is not None:
            scores |= state.scores(policy, moment_ms)
    return scores


def final_scores(
    log: Iterable[Record],
    policy_text: str,
    now_ms: int,
    as_of_ms: int | None = None,
    *,
    timed_profiles: bool = False,
) -> dict[str, AccountScore]:
    """Return the policy's first score of every account, as `final_scores_all` has it."""
    scores = final_scores_all(log, policy_text, now_ms, as_of_ms, timed_profiles=timed_profiles)
    return {account_id: _first_of(account) for account_id, account in scores.items()}


def boundary_scores_all(log: Iterable[Record], policy_text: str, now_ms: int) -> AllBoundaries:
    """Return every score of every account at every boundary crossed between a partition's first and last event.

    Keys are (partition, boundary in epoch ms). The band is the one held from that boundary on.
    """
    policy = read_policy(policy_text)
    return {
        (partition, boundary_ms): scores
        for partition, records in merged(log, policy.added).items()
        for boundary_ms, scores in on_boundaries(PartitionState(), steps_of(records, policy, now_ms)[0], policy, None)
    }


def boundary_scores(log: Iterable[Record], policy_text: str, now_ms: int) -> Boundaries:
    """Return the policy's first score of every account at every boundary, as `boundary_scores_all` has it."""
    return {
        boundary: {account_id: _first_of(account) for account_id, account in scores.items()}
        for boundary, scores in boundary_scores_all(log, policy_text, now_ms).items()
    }


def band_episodes(boundaries: Boundaries) -> list[tuple[str, str, Status, int]]:
    """Return the alert transitions at boundaries: (account, rule, status, boundary in epoch ms), in time order.

    A band with an `alert` fires at the first boundary that finds the account in it, and resolves at the next one that
    does not. At one boundary an account's old band resolves before its new band fires.
    """
    firing: dict[str, str] = {}
    transitions: list[tuple[str, str, Status, int]] = []
    for (_, boundary_ms), scores in sorted(boundaries.items(), key=lambda item: (item[0][1], item[0][0])):
        for account_id, score in sorted(scores.items()):
            rule = f"band:health:{score.band}" if score.alert is not None else None
            fired = firing.get(account_id)
            if rule == fired:
                continue
            if fired is not None:
                transitions.append((account_id, fired, "resolved", boundary_ms))
                del firing[account_id]
            if rule is not None:
                transitions.append((account_id, rule, "firing", boundary_ms))
                firing[account_id] = rule
    return transitions

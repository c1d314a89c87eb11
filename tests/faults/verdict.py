"""The verdict: what the topics hold against what the oracle makes of the input.

Owns the comparison of scores, counts, dead letters, changes and alerts. Must not know how records came to be or what
was done to the workers, nor use the product's code. Called by `tests.faults.deployment`.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from tests.faults.topic_log import Stored, partition_of
from tests.oracle import engine as oracle
from tests.oracle.events import ACCOUNTS, RejectedError
from tests.oracle.recognised import read_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SOURCES = tuple(source for source in oracle.SOURCE_ORDER if source != oracle.REPARTITION)
INPUTS = oracle.SOURCE_ORDER
SCORES, CHANGES, ALERTS = "health.scores", "health.score-changes", "health.alerts"
LETTERS = tuple(f"{source}.dlq" for source in SOURCES)
ORIGIN = "vitals.origin"
TOLERANCE = 1e-9
FAR_FUTURE_MS = 2**53


class InputLog:
    """The whole input as the broker keeps it, sorted out for the oracle."""

    def __init__(self, topics: Mapping[str, Sequence[Stored]], now_ms: int = FAR_FUTURE_MS) -> None:
        """`topics` are all input topics with the inbox, `now_ms` is the clock that future events are judged by."""
        self.now_ms = now_ms
        self.sent = sum(len(topics[source]) for source in SOURCES)
        self.inbox = len(topics[oracle.REPARTITION])
        self.records: list[oracle.Record] = []
        self.rejected: list[Stored] = []
        self.forwarded = Counter[str]()
        for record in (record for topic in INPUTS for record in topics[topic]):
            self._sort_in(record)

    def _sort_in(self, record: Stored) -> None:
        headers = {name: value for name, value in record.headers if value is not None}
        origin = headers[ORIGIN].decode() if record.topic == oracle.REPARTITION else None
        source = origin or record.topic
        if source == ACCOUNTS and record.value is None and record.key:
            account = record.key.decode()
        else:
            try:
                account = read_record(source, record.value, self.now_ms, key=record.key).account_id
            except RejectedError:
                self.rejected.append(record)
                account = None
        if origin is None and account is not None and partition_of(account.encode()) != record.partition:
            self.forwarded[record.topic] += 1
            return
        position = (record.topic, record.partition, record.offset, record.timestamp_ms)
        self.records.append(oracle.Record(*position, record.key, record.value, origin))

    def outcomes(self, policy: str) -> Counter[str]:
        """Return how many records have each outcome, `forwarded` among them."""
        counts = Counter({"forwarded": self.forwarded.total()})
        for (_, outcome), count in oracle.outcomes(self.records, policy, self.now_ms).items():
            counts[outcome] += count
        return +counts

    def scores(self, policy: str, as_of_ms: int | None = None) -> dict[str, oracle.AccountScore]:
        """Return the oracle's final scores."""
        return oracle.final_scores(self.records, policy, self.now_ms, as_of_ms)


def documents(records: Iterable[Stored]) -> list[dict[str, Any]]:
    """Return the JSON of records that have a value."""
    return [json.loads(record.value) for record in records if record.value is not None]


def latest_scores(records: Iterable[Stored]) -> dict[str, dict[str, Any]]:
    """Return the last message of each account on `health.scores`; a tombstone deletes those of its partition."""
    latest: dict[str, tuple[int, dict[str, Any]]] = {}
    for record in records:
        account = (record.key or b"").decode()
        if record.value is not None:
            latest[account] = record.partition, json.loads(record.value)
        elif latest.get(account, (None,))[0] == record.partition:
            del latest[account]
    return {account: message for account, (_, message) in latest.items()}


def score_differences(
    expected: Mapping[str, oracle.AccountScore], published: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Return in words where scores are not the oracle's: value, band, value, points and contribution of factors."""
    wrong = [f"{account}: no score" for account in sorted(expected.keys() - published.keys())]
    wrong += [f"{account}: a score of nothing" for account in sorted(published.keys() - expected.keys())]
    for account in sorted(expected.keys() & published.keys()):
        (score,) = published[account]["scores"].values()
        want = expected[account]
        if not _close(score["value"], want.value) or score["band"] != want.band:
            wrong.append(f"{account}: {score['value']} {score['band']}, not {want.value} {want.band}")
        factors = [
            (factor["measure"], factor["value"], factor["points"], factor["contribution"])
            for factor in score["factors"]
        ]
        if len(factors) != len(want.factors):
            wrong.append(f"{account}: {len(factors)} factors, not {len(want.factors)}")
        for have, factor in zip(factors, want.factors, strict=False):
            if have[0] != factor[0] or not all(map(_close, have[1:], factor[1:])):
                wrong.append(f"{account}: factor {have}, not {factor}")
        if not _close(sum(factor[3] for factor in factors), score["value"] or 0.0):
            wrong.append(f"{account}: contributions do not sum to {score['value']}")
    return wrong


def _close(have: float | None, want: float | None) -> bool:
    if have is None or want is None:
        return have is want
    return abs(have - want) <= TOLERANCE * max(1.0, abs(want))


def twice_named(messages: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the ids that name two contents."""
    contents: dict[str, str] = {}
    wrong = []
    for message in messages:
        content = json.dumps(message, sort_keys=True)
        if contents.setdefault(message["id"], content) != content:
            wrong.append(f"{message['id']}: {contents[message['id']]} and {content}")
    return wrong


def change_differences(
    messages: Sequence[Mapping[str, Any]], expected: Mapping[str, oracle.AccountScore], min_change: float
) -> list[str]:
    """Return in words where the changes are not one chain to the final scores, or do not add up by themselves."""
    wrong = twice_named(messages)
    last: dict[str, Mapping[str, Any]] = {}
    seen: set[str] = set()
    for message in messages:
        if message["id"] in seen:
            continue  # written twice by the broker's client, after an answer was lost
        seen.add(message["id"])
        before = last.get(message["account_id"], {"to": 0, "band_to": None})
        if (before["to"], before["band_to"]) != (message["from"], message["band_from"]):
            wrong.append(f"{message['id']}: goes on from {message['from']}, not from {before['to']}")
        last[message["account_id"]] = message
        moved = sum(factor["delta"] for factor in message["factors"])
        if abs(moved - (message["to"] - message["from"])) > TOLERANCE:
            wrong.append(f"{message['id']}: deltas sum to {moved}")
    for account, score in sorted(expected.items()):
        if score.value is None:
            if account in last and last[account].get("state") is None:
                wrong.append(f"{account}: no change says that it has no score")
        elif account not in last:
            wrong.append(f"{account}: no change was published")
        elif abs(last[account]["to"] - score.value) >= min_change or last[account]["band_to"] != score.band:
            wrong.append(f"{account}: last published {last[account]['to']}, is {score.value} {score.band}")
    return wrong


def repeated_alerts(messages: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the alerts that fire while they fire, or are resolved while they do not, in the order of the topic.

    Input without acknowledgements is assumed: nothing else publishes an open alert again.
    """
    firing: set[tuple[str, str, str]] = set()
    seen: set[str] = set()
    wrong = []
    for message in messages:
        if message["id"] in seen:
            continue  # written twice by the broker's client, after an answer was lost
        seen.add(message["id"])
        # Each partition has storms and idle sources of its own.
        name = (message["account_id"], message["rule"], message["labels"].get("partition", ""))
        fires = message["status"] == "firing"
        if fires == (name in firing):
            wrong.append(f"{name}: {message['status']} again as {message['id']}")
        (firing.add if fires else firing.discard)(name)
    return wrong


def missing_episodes(
    messages: Iterable[Mapping[str, Any]], transitions: Iterable[tuple[str, str, str, int]], unit_ms: int
) -> list[str]:
    """Return the oracle's alert transitions (account, rule, status, boundary in ms) that no alert message has.

    A transition seen at a boundary took place after the boundary before it.
    """
    published_ms: dict[tuple[str, str, str], set[int]] = defaultdict(set)
    for message in messages:
        moment = message["starts_at"] if message["status"] == "firing" else message["ends_at"]
        published_ms[message["account_id"], message["rule"], message["status"]].add(-(-moment // unit_ms) * unit_ms)
    return [
        f"{account}: {rule} {status} by {boundary_ms}"
        for account, rule, status, boundary_ms in transitions
        if boundary_ms not in published_ms[account, rule, status]
    ]


def rule_transitions(open_at: Mapping[tuple[int, int], frozenset[tuple[str, str]]]) -> list[tuple[str, str, str, int]]:
    """Return account, rule, status and boundary of every rule that began or ended to be open at a boundary.

    `open_at` is by partition and boundary. Bands' own rules are left out.
    """
    transitions: list[tuple[str, str, str, int]] = []
    before: dict[int, frozenset[tuple[str, str]]] = {}
    for (partition, boundary_ms), episodes in sorted(open_at.items()):
        known = before.get(partition, frozenset())
        turns = [*((pair, "firing") for pair in episodes - known), *((pair, "resolved") for pair in known - episodes)]
        transitions += [
            (*pair, status, boundary_ms) for pair, status in sorted(turns) if not pair[1].startswith("band:")
        ]
        before[partition] = episodes
    return transitions


def open_alerts(messages: Iterable[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """Return (account, rule) of what fired and was not resolved, in the order of the topic."""
    firing: set[tuple[str, str]] = set()
    for message in messages:
        name = (message["account_id"], message["rule"])
        if message["status"] == "firing":
            firing.add(name)
        else:
            firing.discard(name)
    return firing


def letter_differences(rejected: Iterable[Stored], letters: Iterable[Stored], *, once: bool) -> list[str]:
    """Return in words where dead letters are not the rejected records byte for byte, with six headers more.

    `once` asks for exactly one letter each, as long as no worker was killed.
    """
    wrong = []
    letters_by_origin: dict[tuple[str, int, int], list[Stored]] = defaultdict(list)
    for letter in letters:
        why = dict(letter.headers[-6:])
        names = {f"vitals.error.{name}" for name in ("reason", "message", "topic", "partition", "offset", "time")}
        if set(why) != names or not all(why.values()):
            wrong.append(f"letter with headers {letter.headers}")
            continue
        origin = [(why[f"vitals.error.{name}"] or b"").decode() for name in ("topic", "partition", "offset")]
        letters_by_origin[origin[0], int(origin[1]), int(origin[2])].append(letter)
    for record in rejected:
        copies = letters_by_origin.pop((record.topic, record.partition, record.offset), [])
        if not copies or (once and len(copies) > 1):
            wrong.append(f"{record.topic} {record.partition}@{record.offset}: {len(copies)} letters")
        wrong += [
            f"{record.topic} {record.partition}@{record.offset}: not byte for byte"
            for copy in copies
            if (copy.key, copy.value, copy.headers[:-6]) != (record.key, record.value, record.headers)
        ]
    wrong += [f"a letter for {origin}, which was not rejected" for origin in letters_by_origin]
    return wrong

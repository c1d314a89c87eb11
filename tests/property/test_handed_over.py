"""Merges and aliases of accounts of several partitions: in the end all scores are the oracle's, whatever crashed when.

Events are shuffled, repeated, late within the windows, and read before or after the merge. Every worker may crash at
any record that it sends or saves, with and without deduplication by id, and with a shadow.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.engine.engine import Engine
from tests.driving.engine import plan_of
from tests.driving.merging import PARTITIONS, Cluster
from tests.driving.scores import messages_of
from tests.oracle.engine import Record, final_scores_all
from tests.strategies.effort import examples
from tests.strategies.policies import DAY_MS, NOW_MS

ACCOUNTS = ("acme", "birch", "cedar", "delta", "elm", "fir")
AS_OF_MS = NOW_MS + DAY_MS
POLICY = """
name = "p"
[measures.users]
source = "product-usage"
stat = "distinct_users"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 5 }
weight = 3
[measures.long]
source = "product-usage"
stat = "sum"
field = "duration_s"
window = "365d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 5000 }
weight = 1
[measures.least]
source = "surveys"
stat = "min"
field = "score"
window = "45d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 1
[measures.latest]
source = "surveys"
stat = "last"
field = "score"
window = "45d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 1
[measures.median]
source = "product-usage"
stat = "percentile"
percent = 50
field = "duration_s"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 500 }
weight = 1
[measures.open]
source = "support-tickets"
stat = "open"
field = "ticket_id"
of = { status = ["opened", "updated", "reopened"] }
normalise = { kind = "linear", zero_at = 5, hundred_at = 0 }
weight = 1
[measures.first]
source = "product-usage"
stat = "days_to_first"
where = { feature = ["export"] }
normalise = { kind = "linear", zero_at = 60, hundred_at = 0 }
weight = 1
missing = "zero"
[measures.hours]
source = "product-usage"
stat = "count"
window = "2d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 20 }
weight = 1
[measures.revenue]
source = "accounts"
stat = "value"
field = "arr"
normalise = { kind = "linear", zero_at = 0, hundred_at = 1000 }
weight = 1
[scores.health]
min_change = 1
bands = [{ name = "good", from = 60 }, { name = "poor", from = 0, alert = "warning" }]
"""
CANDIDATE = (
    POLICY.replace('name = "p"', 'name = "candidate"').replace('"30d"', '"20d"').replace("weight = 3", "weight = 9")
)


KINDS: list[tuple[str, dict[str, Any]]] = [
    ("product-usage", {"user_id": "u1", "duration_s": 10, "feature": "export"}),
    ("product-usage", {"user_id": "u2", "duration_s": 500.5}),
    ("product-usage", {"user_id": "u3", "duration_s": 2000}),
    ("surveys", {"kind": "nps", "score": 3}),
    ("surveys", {"kind": "nps", "score": 9}),
    ("support-tickets", {"ticket_id": "T1", "status": "opened"}),
    ("support-tickets", {"ticket_id": "T1", "status": "solved"}),
    ("support-tickets", {"ticket_id": "T2", "status": "opened"}),
    ("billing", {"kind": "cancelled"}),
    ("accounts", {"arr": 100}),
    ("accounts", {"arr": 900, "tier": "gold"}),
    ("accounts", {"arr": None}),
]


@dataclass(frozen=True)
class Sent:
    """A record for the cluster and for the oracle."""

    topic: str
    account: str
    time_ms: int
    fields: dict[str, Any]

    def value(self, event_id: str) -> bytes:
        return json.dumps({"id": event_id, "account_id": self.account, "time": self.time_ms, **self.fields}).encode()


@st.composite
def events(draw: st.DrawFn) -> Sent:
    """Draw an event that no window drops as late, or a profile."""
    account, time_ms = draw(st.sampled_from(ACCOUNTS)), NOW_MS - draw(st.integers(0, 40 * 24)) * 3_600_000
    topic, fields = draw(st.sampled_from(KINDS))
    return Sent(topic, account, time_ms, fields)


@st.composite
def merges(draw: st.DrawFn) -> list[Sent]:
    """Draw merges and aliases without a circle: each account into a later one, at most once; an alias several times."""
    pairs = draw(
        st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5)), min_size=1, max_size=4, unique_by=lambda p: p[0])
    )
    aliases: dict[str, list[str]] = {}
    merged: list[Sent] = []
    for first, step in pairs:
        account, into = ACCOUNTS[first], ACCOUNTS[min(first + step, 5)]
        if draw(st.booleans()):
            aliases.setdefault(into, []).append(account)
        else:
            merged.append(Sent("controls", account, NOW_MS, {"kind": "merge", "into": into}))
    for account, names in aliases.items():
        all_at_once = draw(st.booleans())
        lists = [names] if all_at_once else [[name] for name in names]
        lists += draw(st.lists(st.sampled_from(lists), max_size=2))
        merged += [Sent("accounts", account, NOW_MS - 1, {"aliases": names, "arr": 500}) for names in lists]
    return merged


@st.composite
def logs(draw: st.DrawFn, *, repeated: bool) -> list[tuple[Sent, bytes]]:
    """Draw events and merges in any order, some of them sent again later."""
    sent = draw(st.permutations([*draw(st.lists(events(), min_size=3, max_size=30)), *draw(merges())]))
    log = [(each, each.value(f"e-{number}")) for number, each in enumerate(sent)]
    if repeated:
        log += draw(st.lists(st.sampled_from(log), max_size=5))
    return log


def live_through(data: st.DataObject, cluster: Cluster, log: list[tuple[Sent, bytes]]) -> None:
    """Let the log arrive piece by piece, and workers run, save and crash at random."""
    waiting = list(log)
    for _ in range(data.draw(st.integers(2, 14))):
        count = data.draw(st.integers(0, len(waiting)))
        for each, value in waiting[:count]:
            cluster.append(each.topic, each.account.encode(), value, time_ms=len(log) - len(waiting))
        waiting = waiting[count:]
        worker = cluster.workers[data.draw(st.integers(0, PARTITIONS - 1))]
        worker.take(data.draw(st.integers(1, 20)))
        match data.draw(st.sampled_from(("run", "send", "commit", "crash", "crash"))):
            case "send":
                worker.send(data.draw(st.integers(0, 5)))
            case "commit":
                worker.commit()
            case "crash":
                worker.crash(data.draw(st.one_of(st.none(), st.integers(0, 20))), data.draw(st.integers(0, 5)))
            case _:
                pass
    for each, value in waiting:
        cluster.append(each.topic, each.account.encode(), value, time_ms=len(log))
    cluster.finish(AS_OF_MS)


def published(engines: list[Engine]) -> dict[str, dict[str, Any]]:
    """The score messages of all accounts."""
    return {account: message for engine in engines for account, message in messages_of(engine).items()}


def claims_of(profile: Sent) -> list[tuple[Sent, bytes]]:
    """The merges that the oracle reads in a profile with aliases: right after it, under one id."""
    merged = [
        Sent("controls", alias, NOW_MS, {"kind": "merge", "into": profile.account})
        for alias in profile.fields.get("aliases", ())
    ]
    return [(merge, merge.value(f"alias of {profile.account}")) for merge in merged]


def assert_exact(engines: list[Engine], log: list[tuple[Sent, bytes]], policy_text: str) -> None:
    """Fail unless every account has the score, the band and the factors of the oracle."""
    expanded = [follow for each, value in log for follow in ((each, value), *claims_of(each))]
    records = [
        Record(each.topic, 0, number, number, each.account.encode(), value)
        for number, (each, value) in enumerate(expanded)
    ]
    expected = final_scores_all(records, policy_text, NOW_MS, AS_OF_MS)
    actual = published(engines)
    merged = {each.account for each, _ in expanded if each.topic == "controls"}
    assert {account for account in actual if account not in merged} == expected.keys() - merged
    for account, message in actual.items():
        score = message["scores"]["health"]
        if account in merged:
            assert (score["value"], score["band"], message["state"]) == (None, None, "ended")
            assert message["merged_into"]
            continue
        wanted = expected[account].scores["health"]
        assert score["band"] == wanted.band, account
        assert score["value"] == pytest.approx(wanted.value), account
        factors = {factor["measure"]: factor["value"] for factor in score["factors"]}
        assert factors == pytest.approx({name: value for name, value, *_ in wanted.factors}), account


@settings(max_examples=examples(150))
@given(st.data(), st.booleans())
def test_merged_accounts_have_the_scores_of_the_oracle(data: st.DataObject, dedup: bool) -> None:
    log = data.draw(logs(repeated=dedup))
    cluster = Cluster(plan_of(POLICY), dedup=dedup)
    live_through(data, cluster, log)
    assert_exact(cluster.engines(), log, POLICY)
    assert cluster.letters == []


@settings(max_examples=examples(50))
@given(st.data(), logs(repeated=True))
def test_a_shadow_merges_as_well(data: st.DataObject, log: list[tuple[Sent, bytes]]) -> None:
    cluster = Cluster(plan_of(POLICY), plan_of(CANDIDATE))
    live_through(data, cluster, log)
    assert_exact(cluster.engines(), log, POLICY)
    assert_exact(cluster.engines(shadow=True), log, CANDIDATE)

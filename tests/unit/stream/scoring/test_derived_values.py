"""Values from other measures beside percentiles among peers, and inputs that are not part of a score."""

from __future__ import annotations

from pathlib import Path

from tests.golden.replays import Log, gives, near, replay, values

POLICY = """
name = "p"
[measures.among_peers]
source = "product-usage"
stat = "count"
window = "30d"
compare = "peers"
weight = 1
normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }
[measures.users]
source = "product-usage"
stat = "distinct_users"
window = "30d"
[measures.use]
value = "users / account.arr"
weight = 1
normalise = { kind = "linear", zero_at = 0, hundred_at = 1 }
[measures.twice]
value = "use * 2 + account.arr * 0"
weight = 1
[measures.twice.normalise]
kind = "grid"
by = "among_peers"
rows = [
  { from = 0, kind = "linear", zero_at = 0, hundred_at = 10 },
  { from = 50, kind = "linear", zero_at = 0, hundred_at = 2 },
]
[scores.health]
min_change = 0
bands = [{ name = "any", from = 0 }]
"""


def test_derived_values_percentiles_and_inputs_are_in_their_own_fields(tmp_path: Path) -> None:
    log = (
        Log()
        .users("a", 1, 2)
        .users("b", 3, 2)
        .users("c", 1)
        .add("accounts", "a", 3, arr=2)
        .add("accounts", "b", 3, arr=4)
    )
    replayed = replay(tmp_path, POLICY, log)
    a, b = replayed.accounts["a"], replayed.accounts["b"]
    assert values(a.scores["health"]) == {"among_peers": 25, "use": 0.5, "twice": 1}
    assert values(b.scores["health"]) == {"among_peers": 75, "use": 0.75, "twice": 1.5}
    assert gives(a.scores["health"]) == near({"among_peers": 25 / 3, "use": 50 / 3, "twice": 10 / 3})
    assert gives(b.scores["health"]) == near({"among_peers": 25, "use": 25, "twice": 25})
    assert (a.raw, b.raw) == ({"among_peers": 1}, {"among_peers": 3})
    assert a.inputs == {"users": 1, "account.arr": 2, "use": 0.5, "among_peers": 25}
    assert b.inputs == {"users": 3, "account.arr": 4, "use": 0.75, "among_peers": 75}


def test_a_policy_that_reads_nothing_else_publishes_no_inputs(tmp_path: Path) -> None:
    policy = POLICY[: POLICY.index("[measures.users]")] + POLICY[POLICY.index("[scores.health]") :]
    replayed = replay(tmp_path, policy, Log().users("a", 1))
    assert replayed.accounts["a"].inputs is None

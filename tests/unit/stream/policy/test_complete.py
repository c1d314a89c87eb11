"""How the unfinished pane counts: what a policy may say, and what follows from the statistic and the comparison."""

from __future__ import annotations

import pytest

from stream.policy.measures import Measure
from stream.policy.policy import parse_policy

POLICY = """
name = "one"
[measures.m]
source = "product-usage"
window = "7d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 1
LINES
[scores.health]
min_change = 1
bands = [{ name = "all", from = 0 }]
"""


def measure(*lines: str) -> Measure:
    (only,) = parse_policy(POLICY.replace("LINES", "\n".join(lines))).measures
    return only


@pytest.mark.parametrize(
    ("lines", "current_pane", "reach"),
    [
        (('stat = "count"',), None, 7),
        (('stat = "count"', "complete = false"), None, 7),
        (('stat = "count"', "complete = true"), "only", 8),
        (('stat = "count"', 'complete = "at-least"'), "at-least", 8),
        (('stat = "rate"',), "only", 8),
        (('stat = "rate"', "complete = true"), "only", 8),
        (('stat = "rate"', "complete = false"), None, 7),
        (('stat = "count"', 'compare = "previous"'), "only", 15),
        (('stat = "count"', 'compare = "previous"', "complete = false"), None, 14),
        (('stat = "count"', 'compare = "z"', 'history = "21d"'), "only", 29),
        (('stat = "count"', 'compare = "peers"'), "only", 8),
        (('stat = "mean"', 'field = "duration_s"', 'compare = "peers"'), "only", 8),
        (('stat = "distinct_users"', 'compare = "peers"'), "at-least", 8),
        (('stat = "distinct_users"', 'compare = "peers"', 'complete = "at-least"'), "at-least", 8),
        (('stat = "distinct_users"', 'compare = "peers"', "complete = false"), None, 7),
        (('stat = "distinct_users"', 'complete = "at-least"'), "at-least", 8),
        (('stat = "last"', 'field = "duration_s"', 'compare = "peers"'), None, 7),
        (('stat = "days_since_last"', "complete = true"), "only", 8),
        (('stat = "days_since_last"',), None, 7),
    ],
)
def test_the_current_pane_of_a_measure(lines: tuple[str, ...], current_pane: str | None, reach: int) -> None:
    assert (measure(*lines).current_pane, measure(*lines).reach) == (current_pane, reach)


def test_what_says_nothing_new_has_the_same_digest() -> None:
    def digest(*lines: str) -> str:
        return parse_policy(POLICY.replace("LINES", "\n".join(lines))).digest

    count, rate = 'stat = "count"', 'stat = "rate"'
    assert digest(count) == digest(count, "complete = false")
    assert digest(rate) == digest(rate, "complete = true")
    peers = ('stat = "distinct_users"', 'compare = "peers"')
    assert digest(*peers) == digest(*peers, 'complete = "at-least"')
    others = {digest(count), digest(count, "complete = true"), digest(count, 'complete = "at-least"')}
    assert len(others | {digest(rate), digest(rate, "complete = false")}) == 5


def test_the_longest_windows_have_room_for_the_current_pane() -> None:
    longest = POLICY.replace('"7d"', '"365d"')
    (only,) = parse_policy(longest.replace("LINES", 'stat = "count"\ncomplete = true')).measures
    assert only.reach == 366
    held = 'stat = "mean"\nfield = "duration_s"\ncomplete = true\nmissing = "hold"'
    (only,) = parse_policy(longest.replace("LINES", held)).measures
    assert (only.stale_after, only.reach) == (365, 366)

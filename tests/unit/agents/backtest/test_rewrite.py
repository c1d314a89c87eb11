"""New weights in the text of a policy: nothing else changes, and it is still a valid policy."""

from __future__ import annotations

import difflib

import pytest

from agents.backtest.report import FittedWeight
from agents.backtest.rewrite import with_weights
from agents.settings.settings import default_policy
from stream.policy.policy import parse_policy

NORMALISE = "{ kind = 'linear', zero_at = 10, hundred_at = 0 }"
SCORES = '[scores.health]\nmin_change = 1\nbands = [{ name = "all", from = 0 }]\n'


def test_only_the_lines_of_weights_change() -> None:
    text = default_policy().read_text(encoding="utf-8")
    names = [measure.name for measure in parse_policy(text).measures]
    rewritten = with_weights(
        text, [FittedWeight(name, 20, number + 0.5, "a reason") for number, name in enumerate(names)]
    )
    changed = [line for line in difflib.ndiff(text.splitlines(), rewritten.splitlines()) if line[0] in "+-"]
    assert changed == [
        "- weight = 30",
        "+ weight = 0.5 # was 20; a reason",
        "- weight = 20",
        "+ weight = 1.5 # was 20; a reason",
        "- weight = 25",
        "+ weight = 2.5 # was 20; a reason",
        "- weight = 15",
        "+ weight = 3.5 # was 20; a reason",
        "- weight = 10",
        "+ weight = 4.5 # was 20; a reason",
    ]
    assert [measure.weight for measure in parse_policy(rewritten).measures] == [0.5, 1.5, 2.5, 3.5, 4.5]


INLINE = f"""[measures]
a = {{ source = "billing", stat = "count", window = "1d", normalise = {NORMALISE}, weight = 5 }}
"""
TABLE = f"""[measures.a]
source = "billing"
stat = "count"
window = "1d"
normalise = {NORMALISE}
weight = 5 # ours
"""
DOTTED = f"""measures.a.source = "billing"
measures.a.stat = "count"
measures.a.window = "1d"
measures.a.normalise = {NORMALISE}
measures.a.weight = 5
"""


@pytest.mark.parametrize(
    ("measure", "line"),
    [
        (INLINE, "weight = 2.5 } # a: was 5; a reason"),
        (TABLE, "weight = 2.5 # ours; was 5; a reason"),
        (DOTTED, "measures.a.weight = 2.5 # was 5; a reason"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_weights_are_replaced_in_every_form_of_a_table(measure: str, line: str, end: str) -> None:
    text = f'name = "p"\n{measure}{SCORES}'.replace("\n", end)
    rewritten = with_weights(text, [FittedWeight("a", 5, 2.5, "a reason")])
    assert line in rewritten
    assert parse_policy(rewritten).measures[0].weight == 2.5
    assert rewritten.count("\r\n") == text.count("\r\n")


def test_a_whole_weight_has_no_decimals() -> None:
    rewritten = with_weights(f'name = "p"\n{TABLE}{SCORES}', [FittedWeight("a", 5, 3.0, "r")])
    assert "weight = 3 # ours; was 5; r\n" in rewritten

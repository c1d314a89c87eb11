"""Hypothesis strategies for measures that are computed from others, and for points that depend on a second measure.

Owns which expressions and grids are tried. Must not know the engine or how anything is scored. Called by
`tests.strategies.rich_policies`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.strategies.policies import amounts, normalisers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hypothesis.strategies import DrawFn

Table = dict[str, Any]

ACCOUNT_NUMBERS = (
    *("account.arr", "account.days_since_start", "account.days_to_renewal", "account.seats", '"account.seats"'),
    *("days_since(account.trained)", 'days_until("account.trained")', "days_until(account.renewal_at)"),
)
COMPARABLE = ("count", "sum", "weighted_count")
LONGEST = {"h": 72, "d": 365}
MOST = 2
"""Derived measures of a policy."""


@st.composite
def _operands(draw: DrawFn, names: Sequence[str]) -> str:
    name = draw(st.sampled_from((*names, *names, *ACCOUNT_NUMBERS)))
    if name in ACCOUNT_NUMBERS:
        return name
    return json.dumps(name) if " " in name or draw(st.integers(0, 5)) == 0 else name


@st.composite
def _divisors(draw: DrawFn, names: Sequence[str]) -> str:
    """Draw a divisor, which is 0 or missing now and then."""
    operand = draw(_operands(names))
    forms = (operand, f"max({operand}, 1)", f"({operand} + 1)", f"({operand} - {draw(_operands(names))})", "-4")
    return draw(st.sampled_from(forms))


@st.composite
def expressions(draw: DrawFn, names: Sequence[str], depth: int = 2) -> str:
    """Draw an expression that reads at least one of `names` or a number of the profile."""
    if depth == 0:
        return draw(_operands(names))
    inner = expressions(names, depth - 1)
    left, right = draw(inner), draw(st.one_of(inner, amounts(-3, 20).map(lambda number: format(number, "f"))))
    forms = (
        f"{left} / {draw(_divisors(names))}",
        f"100 * ({left}) / {draw(_divisors(names))}",
        f"({left}) + {right}",
        f"{left} - ({right})",
        f"-({left}) * 2",
        f"min({left}, {right})",
        f"max({left}, {right}, 0)",
        f"clamp({left}, 0, {right})",
        left,
    )
    return draw(st.sampled_from(forms))


@st.composite
def derived_measures(draw: DrawFn, measures: Mapping[str, Table]) -> Table:
    """Draw a measure that is computed from some of `measures`, compared with the window before where they can be."""
    able = [name for name, table in measures.items() if _can_look_back(table)]
    compared = bool(able) and draw(st.integers(0, 2)) == 0
    text = draw(expressions(able if compared else list(measures)))
    # Huge values, and changes against tiny ones, would say nothing but how floats are rounded.
    low = draw(st.sampled_from((0.25, 1))) if compared and "/" in text else -1000
    table: Table = {"value": f"clamp({text}, {low}, 1000)"} | ({"compare": "previous"} if compared else {})
    table["normalise"] = draw(normalisers((-100, 100) if compared else None, decay=True))
    if draw(st.booleans()):
        table["missing"] = draw(st.one_of(st.sampled_from(("redistribute", "neutral", "zero")), amounts(0, 100)))
    return table


def _can_look_back(table: Table) -> bool:
    window = table.get("window", "365d")
    comparable = table.get("stat") in COMPARABLE and "compare" not in table
    return comparable and 2 * int(window[:-1]) <= LONGEST[window[-1]]


@st.composite
def grids(draw: DrawFn, by: str) -> Table:
    """Draw a normaliser that depends on the measure `by`."""
    starts = sorted(draw(st.lists(amounts(-2, 30), min_size=1, max_size=3, unique=True)))
    return {
        "kind": "grid",
        "by": by,
        "rows": [{"from": start} | draw(normalisers(decay=True)) for start in starts],
    }

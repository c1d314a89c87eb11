"""Tables of a policy as TOML, and Hypothesis strategies for the small ones: `new_accounts` and `status`.

Must not know the engine. Called by the strategies of policies and of alert rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.strategies.policies import toml_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn

Table = dict[str, Any]


def written(path: str, table: Table) -> list[str]:
    """Write a table as TOML; groups and segments get tables of their own."""
    inner = {name: table[name] for name in ("groups", "segments") if isinstance(table.get(name), dict)}
    lines = ["", f"[{path}]", *(f"{name} = {toml_value(value)}" for name, value in table.items() if name not in inner)]
    for name, tables in inner.items():
        for key, below in tables.items():
            lines += written(f"{path}.{name}.{key}", below)
    return lines


@st.composite
def new_accounts(draw: DrawFn, ages: Sequence[str]) -> list[str]:
    """Draw when accounts are new, as the lines of a table; often never."""
    age = draw(st.sampled_from((None, None, *ages)))
    return [] if age is None else written("new_accounts", {"min_age": age})


@st.composite
def statuses(draw: DrawFn, spans: Sequence[str]) -> list[str]:
    """Draw what ends an account and when it has no data, as the lines of a table; often the defaults."""
    table: Table = {}
    if draw(st.booleans()):
        table["dormant_after"] = draw(st.sampled_from(spans))
    if draw(st.sampled_from((False, False, False, True))):
        table["while_silent"] = draw(st.sampled_from(("worse", "now")))
    if draw(st.booleans()):
        ends = [
            {"source": "billing", "where": {"kind": ["cancelled", "downgraded"]}},
            {"source": "engagement", "where": {"kind": ["webinar"], "role": ["admin"]}},
            {"source": "surveys"},
        ]
        table["ended_by"] = draw(st.lists(st.sampled_from(ends), min_size=1, max_size=2))
    return written("status", table) if table else []

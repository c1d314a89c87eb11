"""Hypothesis strategies for conditions on an account: `when` of segments and measures.

Owns which conditions are tried. Must not know the engine or how they are evaluated. Called by
`tests.strategies.rich_policies`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from tests.strategies.policies import NOW_MS, amounts
from tests.strategies.tables import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn


@st.composite
def _spans(draw: DrawFn, lowest: int, highest: int) -> Table:
    start, end = sorted(draw(st.lists(amounts(lowest, highest), min_size=2, max_size=2, unique=True)))
    return draw(st.sampled_from(({"from": start}, {"below": end}, {"from": start, "below": end})))


WHEN_FIELDS = ("tier", "text", "arr", "started", "renewal", "country", "seats", "trained", "date")
TEXT_FIELDS = ("tier", "plan", "segment", "persona", "owner")


@st.composite
def _texts(draw: DrawFn, values: Sequence[str]) -> Table | list[str]:
    """Draw a condition on a text: a list of values, or a table."""
    listed = st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True)
    prefixes = st.sampled_from((values[0][:1], [values[0], values[-1][:2]]))
    tables = (
        listed.map(lambda texts: {"in": texts}),
        listed.map(lambda texts: {"not": texts}),
        listed.map(lambda texts: {"exists": True, "not": texts}),
        prefixes.map(lambda texts: {"prefix": texts}),
        st.sampled_from(({"exists": True}, {"exists": False})),
    )
    drawn: Table | list[str] = draw(st.one_of(listed, listed, *tables))
    return drawn


@st.composite
def _dates(draw: DrawFn, field: str) -> tuple[str, Table]:
    """Draw a condition on a date: itself, or the days since or until it."""
    days = st.sampled_from(("days_since", "days_until"))
    now = datetime.fromtimestamp(NOW_MS // 1000, UTC)
    ends = sorted(draw(st.lists(st.integers(-40, 10), min_size=2, max_size=2, unique=True)))
    first, last = (f"{now + timedelta(days=end):%Y-%m-%d}" for end in ends)
    forms = (
        st.just({"from": first}),
        st.just({"below": last}),
        st.just({"from": first, "below": last}),
        st.builds(lambda word, span: {word: span}, days, _spans(-30, 100)),
        st.builds(lambda word, span: {word: span, "below": last}, days, _spans(-30, 100)),
        st.sampled_from(({"exists": True}, {"exists": False})),
    )
    return field, draw(st.one_of(*forms))


@st.composite
def whens(draw: DrawFn) -> Table:
    """Draw what a segment or a measure asks of a profile."""
    when: Table = {}
    most = draw(st.sampled_from((1, 1, 2)))
    for name in draw(st.lists(st.sampled_from(WHEN_FIELDS), min_size=1, max_size=most, unique=True)):
        if name == "text":
            when[draw(st.sampled_from(TEXT_FIELDS[1:]))] = draw(_texts(("one", "two")))
        elif name == "tier":
            when[draw(st.sampled_from(("tier", "account.tier")))] = draw(_texts(("one", "two")))
        elif name == "arr":
            when[draw(st.sampled_from(("arr", "account.arr")))] = draw(_spans(0, 100_000))
        elif name == "started":
            when["days_since_start"] = draw(_spans(0, 400))
        elif name == "country":
            when["account.country"] = draw(_texts(("DE", "AT", "true", "7")))
        elif name == "seats":
            when["account.seats"] = draw(st.one_of(_spans(0, 50), _texts(("many", "true", "1e3"))))
        elif name == "renewal":
            when["days_to_renewal"] = draw(_spans(-50, 100))
        else:
            fields = ("account.trained",) if name == "trained" else ("account.started_at", "renewal_at")
            field, table = draw(_dates(draw(st.sampled_from(fields))))
            when[field] = table
    return when

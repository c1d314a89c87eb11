"""Policies about things with a state, first events and latest texts: live, through crashes, against the oracle.

Events are reduced as soon as that is possible, so that every restore and every late event meets reduced state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.columns.things import Things
from stream.engine.engine import Mode
from tests.driving.crashes import Crashing, live_through
from tests.driving.engine import assert_same, partitions, plan_of, plausible_logs, scores_of
from tests.oracle.engine import final_scores, outcomes
from tests.strategies.policies import NOW_MS, conditions, normalisers, toml_value

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

    from tests.oracle.events import Record

TICKETS: dict[str, Any] = {"source": "support-tickets"}
BANDS = 'bands = [{ name = "good", from = 60 }, { name = "fair", from = 30 }, { name = "poor", from = 0 }]'


@st.composite
def _things(draw: DrawFn, windows: tuple[str, ...]) -> dict[str, Any]:
    stat = draw(st.sampled_from(("open", "open", "open_max_days", "open_mean_days") if "" in windows else ("open",)))
    window = draw(st.sampled_from(windows)) if stat == "open" else ""
    table: dict[str, Any] = {
        "stat": stat,
        "field": draw(st.sampled_from(("ticket_id", "ticket_id", "properties.plan"))),
    }
    table["of"] = {"status": {"not": ["solved"]}} if draw(st.booleans()) else draw(conditions("support-tickets"))
    return table | ({"window": window} if window else {})


@st.composite
def _others(draw: DrawFn, windows: tuple[str, ...]) -> dict[str, Any]:
    if "" in windows and draw(st.booleans()):
        return {"stat": "days_to_first", "where": draw(conditions("support-tickets"))}
    window = draw(st.sampled_from(windows))
    weights = {"status": {"opened": 1, "solved": 9}, "priority": {"low": 2, "urgent": 0.5}}
    field = draw(st.sampled_from(sorted(weights)))
    return {"stat": "last", "weights": {field: weights[field]}} | ({"window": window} if window else {})


@st.composite
def thing_policies(draw: DrawFn) -> str:
    windows = draw(st.sampled_from((("1d", "2d", "5d"), ("2d", ""), ("",))))
    tables = draw(st.lists(st.one_of(_things(windows), _things(windows), _others(windows)), min_size=1, max_size=3))
    lines = ['name = "drawn"']
    for number, table in enumerate(tables):
        settings = TICKETS | table | {"normalise": draw(normalisers((0, 9))), "weight": number + 1}
        lines += ["", f"[measures.m{number}]", *(f"{key} = {toml_value(value)}" for key, value in settings.items())]
    return "\n".join([*lines, "", "[scores.health]", "min_change = 0", BANDS]) + "\n"


@pytest.mark.parametrize("modes", [(Mode.HEAD,), (Mode.HEAD, Mode.CONFLATED), (Mode.EXACT,)])
@given(st.data(), plausible_logs(partitions=1, backdated=False, sources=("support-tickets",)), thing_policies())
def test_after_crashes_things_are_as_the_oracle_says(
    modes: tuple[Mode, ...], data: st.DataObject, log: list[Record], policy_text: str
) -> None:
    before = Things.fold_from, Things.fold_growth
    Things.fold_from, Things.fold_growth = 1, 0
    try:
        (records,) = partitions(log).values()
        worker = Crashing(plan_of(policy_text), records)
        live_through(data, worker, modes)
        assert_same(scores_of(worker.drive.engine), final_scores(log, policy_text, NOW_MS))
        assert +worker.drive.engine.settled == outcomes(log, policy_text, NOW_MS)
    finally:
        Things.fold_from, Things.fold_growth = before

"""Windows in business days and in calendar months: values, outcomes and restarts, as the oracle says."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.engine.engine import Mode
from tests.driving.crashes import Crashing, live_through
from tests.driving.engine import CATCHING_UP, cuts, driven, partitions, plan_of, plausible_logs
from tests.driving.scores import Message, WatchedScores, assert_same_scores, messages_of
from tests.oracle.engine import boundary_scores_all, final_scores_all, outcomes
from tests.strategies.calendars import calendars
from tests.strategies.effort import examples
from tests.strategies.policies import NOW_MS, RICH, bands_of, measures, normalisers, toml_value
from tests.strategies.tables import Table, written

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

    from tests.oracle.engine import Record

COUNTED = ("count", "sum", "weighted_count", "rate", "mean", "min", "max", "share", "nps")
TOTALS = ("count", "sum", "weighted_count")
BUSINESS_DAYS = ("1bd", "3bd", "5bd", "20bd")
WINDOWS = (*BUSINESS_DAYS, "1mo", "1mo", "1mo", "2mo", "10mo", "7d")


@st.composite
def counted_measures(draw: DrawFn) -> Table:
    """A measure whose window is in business days, months or days, compared with the one before where it can be."""
    table = draw(measures(("7d",)).filter(lambda drawn: drawn["stat"] in COUNTED))
    for name in ("compare", "complete", "missing"):
        table.pop(name, None)
    table["window"] = draw(st.sampled_from(WINDOWS))
    if draw(st.booleans()):
        table["complete"] = draw(st.booleans())
    if table["stat"] in TOTALS and not table["window"].endswith("mo") and draw(st.booleans()):
        table |= {"compare": "previous", "normalise": draw(normalisers((-100, 100)))}
        if table.get("complete"):
            del table["complete"]
    elif table["stat"] == "rate" and table.get("complete"):
        del table["complete"]
    return table


@st.composite
def counted_policies(draw: DrawFn) -> str:
    """A policy with such measures, and one that compares the total of some."""
    tables = {f"m{number}": draw(counted_measures()) for number in range(draw(st.integers(1, 4)))}
    able = [
        name
        for name, table in tables.items()
        if table["stat"] in TOTALS and "compare" not in table and not table["window"].endswith("mo")
    ]
    if able:
        value = " + ".join(able)
        tables["derived"] = {
            "value": f"clamp({value}, 1, 1000)",
            "compare": "previous",
            "normalise": draw(normalisers((-100, 100))),
            "weight": 1,
        }
    lines = ['name = "counted"']
    if any(table.get("window") in BUSINESS_DAYS for table in tables.values()) and (calendar := draw(calendars())):
        lines += written("calendar", calendar)
    for name, table in tables.items():
        lines += written(f"measures.{name}", table)
    return "\n".join([*lines, "", "[scores.health]", "min_change = 0", f"bands = {toml_value(draw(bands_of()))}", ""])


@settings(max_examples=examples(60))
@given(st.data(), plausible_logs(**RICH), counted_policies(), st.sampled_from(CATCHING_UP))
def test_scores_and_outcomes_are_the_oracles(
    data: st.DataObject, log: list[Record], policy_text: str, catching_up: Mode
) -> None:
    messages: dict[str, Message] = {}
    settled: Counter[tuple[str, str]] = Counter()
    for records in partitions(log).values():
        drive = driven(data.draw(cuts(records, (Mode.HEAD, catching_up))), plan_of(policy_text))
        messages |= messages_of(drive.engine)
        settled += drive.outcomes
    assert_same_scores(messages, final_scores_all(log, policy_text, NOW_MS), policy_text)
    assert settled == outcomes(log, policy_text, NOW_MS)


@settings(max_examples=examples(40))
@given(st.data(), plausible_logs(**RICH), counted_policies(), st.sampled_from((Mode.HEAD, Mode.EXACT)))
def test_scores_at_every_midnight(data: st.DataObject, log: list[Record], policy_text: str, mode: Mode) -> None:
    expected = boundary_scores_all(log, policy_text, NOW_MS)
    for partition, records in partitions(log).items():
        engine = driven(data.draw(cuts(records, (mode,))), plan_of(policy_text), kind=WatchedScores).engine
        assert isinstance(engine, WatchedScores)
        last: dict[str, Message] = {}
        for (number, boundary_ms), scores in sorted(expected.items()):
            if number == partition:
                last = engine.messages.get(boundary_ms, last)
                assert_same_scores(last, scores, policy_text, boundary_ms)


@settings(max_examples=examples(30))
@given(
    st.data(),
    plausible_logs(partitions=1, **RICH),
    counted_policies(),
    st.sampled_from(((Mode.HEAD,), (Mode.HEAD, Mode.CONFLATED), (Mode.EXACT,))),
)
def test_scores_are_exact_after_crashes(
    data: st.DataObject, log: list[Record], policy_text: str, modes: tuple[Mode, ...]
) -> None:
    (records,) = partitions(log).values()
    worker = Crashing(plan_of(policy_text), records)
    live_through(data, worker, modes)
    assert_same_scores(messages_of(worker.drive.engine), final_scores_all(log, policy_text, NOW_MS), policy_text)

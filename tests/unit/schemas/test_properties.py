"""Properties of events: only those that a policy names are decoded, and what is no property is missing."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from schemas.codecs import decode
from schemas.events import ControlEvent, UsageEvent
from schemas.properties import event_type, property_number, property_text, united, values_of
from schemas.sources import BUILT_IN
from stream.plan.extractor import Extractor
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy

POLICY = """
name = "p"
[measures.seats]
source = "product-usage"
stat = "sum"
field = "properties.seats used"
window = "30d"
where = { properties.plan = ["pro"], action = ["open"] }
[measures.plans]
source = "billing"
stat = "distinct"
field = "properties.plan"
window = "30d"
[measures.weighed]
source = "billing"
stat = "weighted_count"
weights = { "properties.level" = { high = 2, "7" = 1 } }
window = "30d"
[scores.health]
model = "additive"
min_change = 0
impacts = { seats = 1, plans = 1, weighed = 1 }
bands = [{ name = "all", from = 0 }]
"""


def event(**more: Any) -> bytes:
    return msgspec.json.encode({"id": "1", "account_id": "a", "time": 1_700_000_000_000, **more})


def vars_of(struct: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def test_a_plan_names_the_properties_that_it_reads() -> None:
    plan = compile_plan(parse_policy(POLICY))
    assert plan.properties == {"product-usage": ("plan", "seats used"), "billing": ("level", "plan")}
    plain = compile_plan(
        parse_policy(
            POLICY.replace("properties.", "").replace("seats used", "count").split("[meas")[0]
            + """[measures.uses]
source = "product-usage"
stat = "count"
window = "1d"
[scores.health]
model = "additive"
min_change = 0
impacts = { uses = 1 }
bands = [{ name = "all", from = 0 }]
"""
        )
    )
    assert plain.properties == {}


def test_without_named_properties_events_have_none() -> None:
    (usage,) = decode(BUILT_IN["product-usage"], [event(properties={"a": 1})]).events
    assert type(usage) is UsageEvent
    assert values_of([usage], "a") == [None]


def test_only_named_properties_are_kept() -> None:
    named = {"product-usage": ("a", "b c")}
    values = [event(properties={"a": 1, "b c": "x", "z": {"deep": [1]}}), event(), event(properties={"z": 1})]
    events = decode(BUILT_IN["product-usage"], values, named).events
    assert all(isinstance(each, UsageEvent) for each in events)
    assert [values_of(events, name) for name in ("a", "b c", "z")] == [[1, None, None], ["x", None, None], [None] * 3]
    assert len(msgspec.structs.fields(type(vars_of(events[0])["properties"]))) == 2
    assert event_type(BUILT_IN["product-usage"], ("a", "b c")) is type(events[0])


@pytest.mark.parametrize("properties", [None, [], ["a"], "a", 7, 0.5, True, {}])
def test_what_is_no_object_has_no_properties(properties: Any) -> None:
    decoded = decode(BUILT_IN["product-usage"], [event(properties=properties)], {"product-usage": ("a",)})
    assert not decoded.rejects
    assert values_of(decoded.events, "a") == [None]


def test_a_control_keeps_its_checks() -> None:
    decoded = decode(BUILT_IN["controls"], [event(kind="pulse"), event(kind="pulse", value=1)], {"controls": ("a",)})
    assert [reject.message for reject in decoded.rejects] == ["controls: a pulse needs value, 0..100"]
    assert isinstance(decoded.events[0], ControlEvent)


@pytest.mark.parametrize(
    ("value", "number", "text"),
    [
        (41, 41.0, "41"),
        (41.0, 41.0, "41"),
        (" 41 ", 41.0, " 41 "),
        ("pro", math.nan, "pro"),
        ("", math.nan, ""),
        (True, 1.0, "true"),
        (1e13, math.nan, "10000000000000"),
        ("1e13", math.nan, "1e13"),
        (None, math.nan, None),
        ([1], math.nan, None),
        ({"a": 1}, math.nan, None),
    ],
)
def test_a_property_is_read_as_what_the_policy_needs(value: Any, number: float, text: str | None) -> None:
    assert (repr(property_number(value)), property_text(value)) == (repr(number), text)


def test_columns_read_properties() -> None:
    plan = compile_plan(parse_policy(POLICY))
    values = [
        event(action="open", properties={"seats used": "4.5", "plan": "pro"}),
        event(action="open", properties={"seats used": 9, "plan": "basic"}),
        event(properties={"seats used": 9, "plan": "pro"}),
        event(action="open", properties={"seats used": "x", "plan": "pro"}),
    ]
    (taken,) = Extractor(plan, "product-usage").extract(
        decode(BUILT_IN["product-usage"], values, plan.properties).events
    )
    assert taken.mask is not None
    assert taken.mask.tolist() == [True, False, False, False]
    assert taken.amounts is not None
    assert taken.amounts[0] == 4_500_000
    bills = [
        event(kind="renewed", properties={"plan": plan_, "level": level}) for plan_, level in (("a", 7), (None, "high"))
    ]
    decoded = decode(BUILT_IN["billing"], bills, plan.properties)
    members, weighed, _ended = Extractor(plan, "billing").extract(decoded.events)
    assert members.amounts is not None
    assert weighed.amounts is not None
    assert (members.amounts != 0).tolist() == [True, False]
    assert weighed.amounts.tolist() == [1_000_000, 2_000_000]


def test_properties_of_several_policies_are_united() -> None:
    assert united([{"billing": ("b",)}, {"billing": ("a", "b"), "surveys": ("c",)}]) == {
        "billing": ("a", "b"),
        "surveys": ("c",),
    }


@pytest.mark.parametrize(
    ("fields", "counted", "amount"),
    [({}, 1.0, 0.0), ({"count": None, "duration_s": None}, 1.0, 0.0), ({"count": 0, "duration_s": 5}, 0.0, 5.0)],
)
def test_null_is_as_absent_and_a_default_takes_the_place_of_both(
    fields: dict[str, Any], counted: float, amount: float
) -> None:
    text = """name = "p"
[measures.uses]
source = "product-usage"
stat = "sum"
field = "count"
window = "1d"
[measures.time]
source = "product-usage"
stat = "sum"
field = "duration_s"
window = "1d"
[measures.empty]
source = "product-usage"
stat = "count"
where = { action = [""] }
window = "1d"
[scores.health]
model = "additive"
min_change = 0
impacts = { uses = 1, time = 1, empty = 1 }
bands = [{ name = "all", from = 0 }]
"""
    plan = compile_plan(parse_policy(text))
    events = decode(
        BUILT_IN["product-usage"], [event(**fields), event(action=None, **fields), event(action="", **fields)]
    ).events
    uses, time, empty = Extractor(plan, "product-usage").extract(events)
    assert uses.amounts is not None
    assert time.amounts is not None
    assert uses.amounts.tolist() == [counted * 1e6] * 3
    assert time.amounts.tolist() == [amount * 1e6] * 3
    assert empty.mask is not None
    assert empty.mask.tolist() == [False, False, True]


def test_a_number_without_a_default_is_missing_where_it_is_null_or_absent() -> None:
    text = POLICY.split("[measures.plans]", maxsplit=1)[0].replace("product-usage", "support-tickets")
    text = text.replace("properties.seats used", "resolution_s").split("where")[0]
    text += '[scores.health]\nmodel = "additive"\nmin_change = 0\nimpacts = { seats = 1 }\n'
    plan = compile_plan(parse_policy(text + 'bands = [{ name = "all", from = 0 }]\n'))
    tickets = [
        event(ticket_id="t", status="solved", **more) for more in ({}, {"resolution_s": None}, {"resolution_s": 0})
    ]
    (taken,) = Extractor(plan, "support-tickets").extract(decode(BUILT_IN["support-tickets"], tickets).events)
    assert taken.mask is not None
    assert taken.mask.tolist() == [False, False, True]

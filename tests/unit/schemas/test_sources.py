"""Sources as one value: the built-in ones, and those of a policy with fields that it names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.codecs import decode
from schemas.properties import values_of
from schemas.sources import BUILT_IN, SourcesError, attribute_of, source_of_fields, united_sources

FIELDS = (("seats", "number"), ("in use", "number"), ("class", "text"), ("active", "flag"))
LICENCES = source_of_fields("licences", "crm.licences", FIELDS, ["seats"])  # type: ignore[arg-type]
VISITS = source_of_fields("visits", "visits", ())


def event(**fields: Any) -> bytes:
    return json.dumps({"id": "1", "account_id": "acme", "time": 1_772_000_000_000, **fields}).encode()


def test_inputs_are_the_sources_with_profiles_last_then_the_internal_topics() -> None:
    sources = BUILT_IN.extended([LICENCES, VISITS])
    assert BUILT_IN.inputs[-3:] == ("accounts", "inbox", "peers")
    assert sources.of_events == (*BUILT_IN.of_events, "licences", "visits")
    assert sources.inputs == (*sources.of_events, "accounts", "inbox", "peers")
    assert sources.topics[-5:] == ("crm.licences", "visits", "accounts", "vitals-inbox", "vitals-peers")
    assert [sources.input_of[topic] for topic in sources.topics] == list(sources.inputs)
    assert sources.spelled["crm.licences"] == sources.spelled["licences"] == "licences"
    assert BUILT_IN.extended([]) is BUILT_IN


def test_fields_are_decoded_whatever_they_are_called() -> None:
    values = [event(seats=7, **{"in use": 2.5, "class": "a", "active": True, "other": []}), event(seats=1)]
    first, second = decode(LICENCES, values).events
    read = [[getattr(each, attribute_of(name)) for name, _ in FIELDS] for each in (first, second)]
    assert read == [[7, 2.5, "a", True], [1, None, None, None]]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "licences: Object missing required field `seats`"),
        ({"seats": None}, "licences: Expected `float`, got `null` - at `$.seats`"),
        (
            {"seats": "7"},
            (
                "licences: Expected `float`, got `str` - at `$.seats`; "
                'the value is "7": write a JSON number, such as 4800.5'
            ),
        ),
        ({"seats": 2e12}, "licences: Expected `float` <= 1000000000000.0 - at `$.seats`; the value is 2000000000000.0"),
        (
            {"seats": 1, "in use": True},
            "licences: Expected `float | null`, got `bool` - at `$.in use`; the value is true",
        ),
        ({"seats": 1, "class": 7}, "licences: Expected `str | null`, got `int` - at `$.class`; the value is 7"),
        (
            {"seats": 1, "active": "yes"},
            'licences: Expected `bool | null`, got `str` - at `$.active`; the value is "yes"',
        ),
    ],
)
def test_a_record_without_a_required_field_or_of_another_type_is_refused(fields: dict[str, Any], message: str) -> None:
    decoded = decode(LICENCES, [event(seats=3), event(**fields)])
    assert [reject[:3] for reject in decoded.rejects] == [(1, "invalid_field", message)]
    assert len(decoded.events) == 1


def test_events_may_have_properties() -> None:
    (decoded,) = decode(VISITS, [event(properties={"by": "train"})], {"visits": ("by",)}).events
    assert values_of([decoded], "by") == ["train"]


def test_there_are_no_defaults_and_flags_have_two_texts() -> None:
    assert LICENCES.defaults == {}
    assert LICENCES.closed == {"active": ("true", "false")}
    assert (LICENCES.texts, LICENCES.numbers, LICENCES.flags) == (("class", "active"), ("seats", "in use"), ("active",))
    assert BUILT_IN["product-usage"].defaults == {"count": 1.0, "duration_s": 0.0}
    assert BUILT_IN["support-tickets"].defaults == {"priority": "normal"}
    assert BUILT_IN["billing"].defaults == {"amount": 0.0, "days_late": 0.0}


def test_equal_fields_have_one_type_so_that_policies_can_be_compared() -> None:
    again = source_of_fields("licences", "crm.licences", FIELDS, ["seats"])  # type: ignore[arg-type]
    assert again == LICENCES
    assert again.event_type is LICENCES.event_type
    assert source_of_fields("licences", "crm.licences", FIELDS) != LICENCES  # type: ignore[arg-type]


def test_two_policies_in_one_process_know_nothing_of_each_other() -> None:
    first, other = BUILT_IN.extended([LICENCES]), BUILT_IN.extended([VISITS])
    assert "visits" not in first
    assert "licences" not in other
    assert "licences" not in BUILT_IN


def test_built_in_sources_can_have_other_topics() -> None:
    moved = BUILT_IN.renamed({"surveys": "app.answers", "accounts": "crm.accounts"})
    assert moved.names == BUILT_IN.names
    assert (moved.input_of["app.answers"], moved.profiles.topic) == ("surveys", "crm.accounts")
    assert moved.renamed_topics == {"surveys": "app.answers", "accounts": "crm.accounts"}
    assert BUILT_IN.renamed({}) is BUILT_IN
    assert not BUILT_IN.renamed_topics
    assert united_sources([BUILT_IN, moved.extended([VISITS])]) == moved.extended([VISITS])
    with pytest.raises(SourcesError, match="mean different sources by 'surveys'"):
        united_sources([moved, BUILT_IN.renamed({"surveys": "other"})])


def test_sources_of_several_policies_are_united_if_they_mean_the_same() -> None:
    both = united_sources([BUILT_IN.extended([VISITS]), BUILT_IN.extended([LICENCES, VISITS]), BUILT_IN])
    assert both.of_events == (*BUILT_IN.of_events, "licences", "visits")
    other_fields = source_of_fields("licences", "crm.licences", FIELDS)  # type: ignore[arg-type]
    same_topic = source_of_fields("contracts", "crm.licences", ())
    for other in (other_fields, same_topic):
        with pytest.raises(SourcesError, match=r"mean different sources by '(crm\.)?licences'"):
            united_sources([BUILT_IN.extended([LICENCES]), BUILT_IN.extended([other])])

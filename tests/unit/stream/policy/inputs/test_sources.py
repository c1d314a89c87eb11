"""The sources of a policy; its mistakes are rows of `policies/sources_mistakes.txt`."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.sources import BUILT_IN
from stream.plan.plan import compile_plan
from stream.policy.inputs.sources import MOST_FIELDS, MOST_SOURCES, IdleSource
from stream.policy.policy import Policy, PolicyError, parse_policy

TEXT = (Path(__file__).parents[1] / "policies" / "sources.toml").read_text(encoding="utf-8")
DAY_MS = 86_400_000


def changed(old: str, new: str) -> Policy:
    assert TEXT.count(old) == 1
    return parse_policy(TEXT.replace(old, new))


def test_a_policy_adds_sources_in_the_order_of_their_names() -> None:
    policy = parse_policy(TEXT)
    assert policy.sources.of_events == (*BUILT_IN.of_events, "licences", "visits")
    licences = policy.sources["licences"]
    assert (licences.topic, licences.numbers) == ("crm.licences", ("in use", "seats"))
    assert licences.texts == ("active", "module")
    assert policy.sources["visits"].topic == "visits"
    assert policy.idle_sources == (IdleSource("billing", 3 * DAY_MS), IdleSource("licences", 2 * DAY_MS))
    assert compile_plan(policy).sources == policy.sources


def test_policies_without_sources_of_their_own_have_the_built_in_ones() -> None:
    text = """
name = "p"
[measures.m]
source = "product-usage"
stat = "count"
window = "1d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 1 }
weight = 1
[scores.health]
min_change = 1
bands = [{ name = "all", from = 0 }]
"""
    assert parse_policy(text).sources is BUILT_IN


def test_built_in_sources_have_the_topics_that_a_policy_gives_them() -> None:
    """Another topic of the same events changes no score, so the digest stays."""
    policy = parse_policy(
        TEXT + '[sources.surveys]\ntopic = "app.answers"\n[sources.accounts]\ntopic = "crm.accounts"\n'
    )
    assert policy.sources["surveys"].topic == "app.answers"
    assert policy.sources.profiles.topic == "crm.accounts"
    assert policy.idle_sources == parse_policy(TEXT).idle_sources
    assert policy.digest == parse_policy(TEXT).digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[sources.visits]\n", '[sources.visits]\ntopic = "visits"\n'),
        ('required = ["seats", "module"]', 'required = ["module", "seats", "module"]'),
        ('seats = "number", module = "text", active = "flag"', 'active = "flag", module = "text", seats = "number"'),
    ],
)
def test_what_is_written_in_another_way_has_the_same_digest(old: str, new: str) -> None:
    assert changed(old, new).digest == parse_policy(TEXT).digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('topic = "crm.licences"', 'topic = "erp.licences"'),
        ('required = ["seats", "module"]', 'required = ["seats"]'),
        ('fields = { minutes = "number" }', 'fields = { minutes = "text" }'),
        ('fields = { minutes = "number" }', "fields = {}"),
    ],
)
def test_what_a_source_is_belongs_to_the_digest(old: str, new: str) -> None:
    assert changed(old, new).digest != parse_policy(TEXT).digest


def test_a_policy_has_a_limited_number_of_sources_and_fields() -> None:
    many = "".join(f"[sources.s{number}]\nfields = {{}}\n" for number in range(MOST_SOURCES - 1))
    with pytest.raises(PolicyError, match="must add at most 50 sources, not 51"):
        changed("[sources.visits]\n", many + "[sources.visits]\n")
    fields = ", ".join(f'f{number} = "text"' for number in range(MOST_FIELDS + 1))
    with pytest.raises(PolicyError, match="must be at most 200 fields, not 201"):
        changed('fields = { minutes = "number" }', f"fields = {{ {fields} }}")


def test_mistakes_in_sources_are_reported_before_what_names_them_is_read() -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(TEXT.replace('"crm.licences"', '"billing"').replace('minutes = "number"', 'minutes = "numbr"'))
    assert [problem.key for problem in caught.value.problems] == [
        "sources.licences.topic",
        "sources.visits.fields.minutes",
    ]

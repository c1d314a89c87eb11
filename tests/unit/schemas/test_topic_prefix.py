"""The names of topics in a deployment with a prefix, and what is told apart from names that a policy gives."""

from __future__ import annotations

import pytest

from agents.kafka.rights import ROLES, rights_of
from agents.settings.settings import SettingsError, load_settings
from schemas.catalog.records import dead_letter_topics, records_of
from schemas.sources import BUILT_IN, source_of_fields
from schemas.topics import MAPPER_DLQ, SCORE_ROWS, all_topics, double_names, optional_topics

PREFIX = "acme."
OWN = source_of_fields("seats", "seats", [("used", "number")])
NAMED = source_of_fields("crm", "crm-events", [("used", "number")])
SOURCES = BUILT_IN.renamed({"billing": "invoices"}).extended([OWN, NAMED])
PREFIXED = SOURCES.under(PREFIX)


def test_without_a_prefix_nothing_changes() -> None:
    assert BUILT_IN.under("") is BUILT_IN
    assert all_topics("g", BUILT_IN) == all_topics("g", BUILT_IN.under(""))


def test_all_topics_but_those_that_the_policy_names_have_the_prefix() -> None:
    plain, prefixed = all_topics("g", SOURCES), all_topics("g", PREFIXED)
    named = {"invoices", "crm-events"}
    expected = [topic.name if topic.name in named else PREFIX + topic.name for topic in plain]
    assert [topic.name for topic in prefixed] == expected
    assert [topic._replace(name="") for topic in prefixed] == [topic._replace(name="") for topic in plain]
    assert {"acme.invoices.dlq", "acme.g-accounts-changelog", "acme.vitals-inbox"} <= set(expected)


def test_letters_of_a_topic_that_is_named_with_the_prefix_have_it_once() -> None:
    sources = BUILT_IN.renamed({"billing": "acme.invoices"}).under(PREFIX)
    assert sources.letters_of("acme.invoices") == "acme.invoices.dlq"
    assert sources.of_letters["acme.invoices.dlq"] == "acme.invoices"
    assert PREFIXED.of_letters["acme.invoices.dlq"] == "invoices"


def test_a_source_keeps_its_name_and_its_place() -> None:
    assert PREFIXED.names == SOURCES.names
    assert PREFIXED.inputs == SOURCES.inputs
    assert PREFIXED.input_of["acme.product-usage"] == "product-usage"
    assert PREFIXED.input_of["acme.vitals-peers"] == "peers"
    assert PREFIXED.spelled["product-usage"] == PREFIXED.spelled["acme.product-usage"] == "product-usage"
    assert PREFIXED.extended([]).prefix == PREFIXED.renamed({"surveys": "nps"}).prefix == PREFIX


@pytest.mark.parametrize("topic", ["acme.health.scores", "acme.vitals-inbox", "acme_signals", "acme.vitals-mapper.dlq"])
def test_a_policy_cannot_name_a_topic_that_the_prefix_makes(topic: str) -> None:
    sources = BUILT_IN.renamed({"billing": topic}).under(PREFIX)
    assert topic in double_names("g", sources)
    assert not double_names("g", PREFIXED)


@pytest.mark.parametrize("role", ROLES)
def test_the_rights_of_each_role_are_on_the_same_topics(role: str) -> None:
    plain, prefixed = rights_of(role, "g", SOURCES), rights_of(role, "g", PREFIXED)
    known = dict(
        zip(
            (each.name for each in (*all_topics("g", SOURCES), *optional_topics(SOURCES))),
            (each.name for each in (*all_topics("g", PREFIXED), *optional_topics(PREFIXED))),
            strict=True,
        )
    )
    known["vitals-demo-*"] = "acme.vitals-demo-*"
    expected = [right._replace(name=known[right.name]) if right.kind == "topic" else right for right in plain]
    assert list(prefixed) == expected


def test_the_catalog_is_of_the_topics_of_the_deployment() -> None:
    plain, prefixed = records_of(SOURCES), records_of(PREFIXED)
    assert [each._replace(topic=None) for each in prefixed] == [each._replace(topic=None) for each in plain]  # type: ignore[arg-type]
    names = {each.topic.name for each in prefixed}
    assert {"acme.health.scores", "acme.accounts", "invoices", PREFIX + SCORE_ROWS.name} <= names
    assert "acme.invoices" in dead_letter_topics(PREFIXED)
    assert MAPPER_DLQ.name not in names


@pytest.mark.parametrize("prefix", [".", "__x", "a b", "ä", "x" * 101, "a/"])
def test_a_prefix_that_kafka_or_a_person_would_stumble_over_is_refused(prefix: str) -> None:
    with pytest.raises(SettingsError, match="topic_prefix"):
        load_settings(topic_prefix=prefix)


def test_a_prefix_and_a_group_have_to_fit_a_name() -> None:
    with pytest.raises(SettingsError, match="249"):
        load_settings(topic_prefix="x" * 100, group="g" * 200)
    assert load_settings(topic_prefix="acme.").topic("health.scores") == "acme.health.scores"

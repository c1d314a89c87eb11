"""The table of rights: its names exist, and each role has what it reads and writes; brokers are in tests/faults."""

from __future__ import annotations

import re

import pytest
from kafka.admin import ACLOperation

from agents.cli.check import check
from agents.cli.dlq import dlq
from agents.cli.state import state
from agents.kafka import rights_check
from agents.kafka.client import FinalBrokerError
from agents.kafka.rights import GROUP, ROLES, Right, rights_of
from agents.kafka.rights_check import denied, require_rights
from agents.settings.settings import load_settings
from schemas.sources import BUILT_IN, source_of_fields
from schemas.topics import ALERTS, CHANGES, DLQ_PROGRESS, MAPPER_DLQ, SCORE_ROWS, WEBHOOK_DLQ, all_topics

TOPICS = {topic.name for topic in all_topics(GROUP, BUILT_IN)} | {
    DLQ_PROGRESS.name,
    MAPPER_DLQ.name,
    SCORE_ROWS.name,
    "vitals-demo-*",
}
READ = Right("topic", ALERTS, "READ")
OPTIONAL = Right("topic", "controls", "WRITE", "no acknowledgements")


@pytest.mark.parametrize("role", ROLES)
def test_the_names_of_a_role_exist(role: str) -> None:
    rights = ROLES[role].rights
    assert {right.name for right in rights if right.kind == "topic"} <= TOPICS
    assert {right.operation for right in rights} <= set(ACLOperation.__members__)
    assert len(set(rights)) == len(rights)
    for right in rights_of(role, "live"):
        assert "<" not in right.name


def test_a_worker_reads_what_it_published_before_a_crash() -> None:
    rights = rights_of("worker", "live")
    assert {Right("topic", ALERTS, "READ"), Right("topic", CHANGES, "READ")} <= set(rights)
    assert Right("transactional id", "live-*", "WRITE") in rights
    assert Right("topic", "live-accounts-changelog", "WRITE") in rights


def test_a_sink_has_a_group_of_its_own() -> None:
    assert Right("group", "live-sink-webhook", "READ") in rights_of("webhook", "live")
    assert Right("topic", WEBHOOK_DLQ, "WRITE") in rights_of("webhook", "live")


def test_check_names_every_role() -> None:
    (option,) = (
        option
        for annotation in check.__annotations__.values()
        if (option := re.search(r"Whose rights on the broker to check: (.*)\.", str(annotation)))
    )
    listed = re.findall(r"\w+", option[1].replace('" "', ""))
    assert sorted(set(listed) - {"or"}) == sorted(ROLES)


def test_a_denial_is_one_line_with_user_operation_and_resource() -> None:
    settings = load_settings(security_protocol="SASL_SSL", sasl_username="ann", sasl_password="s3cr3t-7")
    assert denied(settings, [READ]) == "user ann is denied READ on topic health.alerts"
    assert denied(settings, [OPTIONAL]).endswith("WRITE on topic controls (no acknowledgements)")
    assert denied(load_settings(), [READ]).startswith("a client without credentials is denied")


def test_only_a_right_that_is_needed_ends_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rights_check, "missing_rights", lambda *_: [OPTIONAL])
    require_rights(load_settings(), "board")
    monkeypatch.setattr(rights_check, "missing_rights", lambda *_: [OPTIONAL, READ])
    with pytest.raises(FinalBrokerError, match=r"is denied READ on topic health\.alerts; docs/how-to/secure\.md"):
        require_rights(load_settings(), "board")


def test_a_subcommand_needs_the_rights_without_which_it_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    grow = Right("topic", ALERTS, "ALTER", "no `repartition`")
    assert grow in rights_of("state", "live")
    monkeypatch.setattr(rights_check, "missing_rights", lambda *_: [grow])
    require_rights(load_settings(), "state", "rebuild")
    with pytest.raises(FinalBrokerError, match=r"is denied ALTER on topic health\.alerts \(no `repartition`\)"):
        require_rights(load_settings(), "state", "repartition")


@pytest.mark.parametrize("role", ["dlq", "state"])
def test_the_subcommands_in_the_table_exist(role: str) -> None:
    commands = {"dlq": dlq, "state": state}[role].registered_commands
    names = {command.name or command.callback.__name__ for command in commands if command.callback}
    named = {name for right in ROLES[role].rights for name in re.findall(r"`(\w+)`", right.without)}
    assert named
    assert named <= names


@pytest.mark.parametrize("role", ROLES)
def test_topics_of_a_policys_sources_need_the_rights_of_topics_of_events(role: str) -> None:
    sources = BUILT_IN.extended([source_of_fields("licences", "crm.licences", ())])
    more = set(rights_of(role, "live", sources)) - set(rights_of(role, "live"))
    like = {right for right in rights_of(role, "live") if right.name in {"engagement", "engagement.dlq"}}
    assert more == {right._replace(name=right.name.replace("engagement", "crm.licences")) for right in like}
    if role == "worker":
        assert {(right.name, right.operation) for right in more} == {
            ("crm.licences", "READ"),
            ("crm.licences", "DESCRIBE_CONFIGS"),
            ("crm.licences.dlq", "WRITE"),
            ("crm.licences.dlq", "DESCRIBE_CONFIGS"),
        }


@pytest.mark.parametrize("role", ROLES)
def test_rights_are_on_the_topics_that_built_in_sources_have_by_the_policy(role: str) -> None:
    moved = {"engagement": "app.events", "accounts": "crm.accounts"}
    names = {name + end: topic + end for name, topic in moved.items() for end in ("", ".dlq")}
    expected = [
        right._replace(name=names.get(right.name, right.name)) if right.kind == "topic" else right
        for right in rights_of(role, "live")
    ]
    assert list(rights_of(role, "live", BUILT_IN.renamed(moved))) == expected


@pytest.mark.parametrize("role", ["dlq", "board", "status"])
def test_who_reads_dead_letters_reads_those_of_the_mapper_and_works_without_them(role: str) -> None:
    (right,) = (right for right in rights_of(role, "live") if right.name == MAPPER_DLQ.name)
    assert (right.operation, right.without) == ("READ", "no dead letters of `vitals mapper`")

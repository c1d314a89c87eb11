"""Who a worker is: what counts as its configuration, and its client id."""

from __future__ import annotations

import re
from typing import Any

import pytest

from agents.settings.settings import Settings, default_policy
from agents.worker.identity import Client, client_here, client_of, writer_of
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy

TEXT = default_policy().read_text("utf-8")
PLAN = compile_plan(parse_policy(TEXT))
MOVED = compile_plan(parse_policy(TEXT + '\n[sources.controls]\ntopic = "crm.controls"\n'))
OTHER = compile_plan(parse_policy(TEXT.replace("min_change = ", "min_change = 1")))


def configuration(**settings: Any) -> str:
    return writer_of(Settings(**settings), PLAN).configuration


def test_the_client_id_is_read_back_and_has_only_characters_that_brokers_take() -> None:
    client = client_here(writer_of(Settings(instance="a_b"), PLAN))
    assert client_of(client.client_id()) == client
    assert re.fullmatch(r"[A-Za-z0-9._-]+", client.client_id())
    assert client_of(Client("1", "c", "t", "my_host").client_id()) == Client("1", "c", "t", "my-host")


def test_each_process_has_a_token_of_its_own() -> None:
    writer = writer_of(Settings(), PLAN)
    assert client_here(writer).token != client_here(writer).token


@pytest.mark.parametrize("client_id", ["faust-0.15.3", "vitals-admin", "", "vitals_1_2", "vitals_1_2_3_4_5"])
def test_the_client_id_of_anything_else_is_not_one(client_id: str) -> None:
    assert client_of(client_id) is None


def test_what_decides_the_scores_is_part_of_the_configuration() -> None:
    same = configuration()
    assert configuration(instance="one", web_port=1, commit_interval_s=5, allow_before="2000-01-01") == same
    others = [
        configuration(partitions=8),
        configuration(dedup=False),
        configuration(dedup_ids=7),
        configuration(time="event"),
        configuration(allow_before="1990-01-01"),
        writer_of(Settings(), OTHER).configuration,
        writer_of(Settings(), MOVED).configuration,
    ]
    assert len({same, *others}) == len(others) + 1
    assert writer_of(Settings(), MOVED).inputs["controls"] == "crm.controls"

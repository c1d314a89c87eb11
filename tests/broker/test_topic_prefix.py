"""A deployment whose topics have a prefix: no program makes or needs a topic without it, and scores are right."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from kafka.admin import NewTopic

from agents.kafka.topics import create_topics
from schemas.sources import BUILT_IN
from schemas.topics import DLQ_PROGRESS, MAPPER_DLQ, ROLLUPS, SCORE_ROWS, all_topics
from schemas.topics import PEERS as PEERS_TOPIC
from tests.faults import topic_log
from tests.faults.deployment import GROUP, Deployment
from tests.faults.events import DAY_MS, END_MS, SHORT, USAGE, company, event, misplaced
from tests.faults.worker_process import ROOT, clean_environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.broker

PREFIX = "acme."
FOREIGN = "crm-export"
MAPPING = """
[[map]]
name = "logins"
from = ["crm-export"]
to = "product-usage"
fields = { account_id = "customer", user_id = "who", time = { path = "at", unit = "ms" } }
"""
PEERS = SHORT.replace('stat = "distinct_users"', 'stat = "distinct_users"\ncompare = "peers"').replace(
    'normalise = { kind = "linear", zero_at = 0, hundred_at = 8 }',
    'normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }',
)
OF_KAFKA = {"__consumer_offsets", "__transaction_state"}


def vitals(deployment: Deployment, *arguments: str, **settings: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "agents", *arguments],
        env=clean_environment({**deployment.settings, **settings}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"vitals {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.faults
def test_a_deployment_with_a_prefix_has_no_topic_without_it(tmp_path: Path) -> None:
    """Events, records in a wrong partition, dead letters, a kill and every program that has topics of its own."""
    events = company(12, 30)
    with Deployment(tmp_path, prefix=PREFIX, topics=False) as deployment:
        vitals(deployment, "topics", "--create")
        half = len(events) // 2
        bad = event(USAGE, "bad", "acme", END_MS)._replace(value=b"no JSON")
        deployment.send(events[:half])
        first = deployment.start("first")
        deployment.until_done()
        deployment.kill(first)
        # What is forwarded comes after the rest, so it is of the last days: else it would be too late for the windows.
        recent = [each.topic == USAGE and each.timestamp_ms > END_MS - 3 * DAY_MS for each in events]
        sent = [
            misplaced(each) if new and number % 9 == 0 else each
            for number, (each, new) in enumerate(zip(events, recent, strict=True))
        ]
        deployment.send([*sent[half:], bad])
        second = deployment.start("second")
        deployment.until_done()
        figures = deployment.judge()
        assert figures["forwarded"]
        assert figures["rejected"] == 1
        every_program(deployment, tmp_path)
        assert deployment.stop(second) == 0
        exported = tmp_path / "state.jsonl"
        vitals(deployment, "state", "export", str(exported))
        assert f'"{PREFIX}{GROUP}-accounts-changelog"' in exported.read_text("utf-8")
        with deployment.kafka.admin() as admin:
            topics = set(admin.list_topics()) - OF_KAFKA - {FOREIGN}
        expected = {topic.name for topic in all_topics(GROUP, BUILT_IN.under(PREFIX))}
        assert topics == expected | {PREFIX + topic.name for topic in (MAPPER_DLQ, SCORE_ROWS, DLQ_PROGRESS)}
        assert all(topic.startswith(PREFIX) for topic in topics)


def every_program(deployment: Deployment, folder: Path) -> None:
    """Run each program that reads or writes topics of the product, beside the running worker."""
    account = next(iter(deployment.scores()))
    assert json.loads(vitals(deployment, "explain", account, "--json"))["account_id"] == account
    for name, topic in (("rows", SCORE_ROWS.name), ("rollup", ROLLUPS)):
        assert f" written to {PREFIX}{topic}\n" in vitals(deployment, name, "--once")
    with_peers = folder / "peers.toml"
    with_peers.write_text(PEERS, "utf-8")
    assert f" written to {PREFIX}{PEERS_TOPIC}\n" in vitals(deployment, "peers", "--once", policy=with_peers)
    assert deployment.documents(SCORE_ROWS.name)
    mapping = folder / "mapping.toml"
    mapping.write_text(MAPPING, "utf-8")
    created: Any = {"customer": account, "who": "u", "at": END_MS}
    values = [json.dumps(created).encode(), b"no JSON"]
    make_topic(deployment, FOREIGN)
    messages = [topic_log.Message(FOREIGN, b"1", value, END_MS) for value in values]
    topic_log.send(deployment.kafka.bootstrap, messages)
    vitals(deployment, "mapper", FOREIGN, "--mapping", str(mapping), "--once")
    groups = json.loads(vitals(deployment, "dlq", "list", "--json"))
    assert {group["topic"] for group in groups} == {f"{PREFIX}{USAGE}.dlq", f"{PREFIX}{MAPPER_DLQ.name}"}
    vitals(deployment, "dlq", "discard", "--topic", USAGE)
    vitals(deployment, "topics")
    vitals(deployment, "check")
    vitals(deployment, "status")


def make_topic(deployment: Deployment, name: str) -> None:
    with deployment.kafka.admin() as admin:
        admin.create_topics([NewTopic(name, num_partitions=topic_log.PARTITIONS, replication_factor=1)])


def test_two_deployments_share_a_broker_under_two_prefixes(tmp_path: Path) -> None:
    """The topics of one are none of the other's."""
    with Deployment(tmp_path, policy=SHORT, prefix=PREFIX) as deployment:
        before = set(create_topics(deployment.kafka.bootstrap, topic_log.PARTITIONS, GROUP, prefix="other-"))
        assert before == {topic.name for topic in all_topics(GROUP, BUILT_IN.under("other-"))}

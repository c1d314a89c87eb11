"""Sources and days of a policy on a real Kafka: workers publish what `vitals score` says of the same events."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from agents.kafka.topics import create_topics
from stream.policy.policy import parse_policy
from tests.broker.test_worker import vitals
from tests.faults.deployment import GROUP, Deployment
from tests.faults.events import DAY_MS, HOUR_MS, USAGE, event
from tests.faults.topic_log import PARTITIONS, partition_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.faults.topic_log import Message

pytestmark = pytest.mark.broker

LICENCES = "crm.licences"
ZONE = ZoneInfo("America/New_York")
END_MS = int(datetime(2026, 3, 12, 15, tzinfo=UTC).timestamp() * 1000)
"""Four days after New York has put its clocks forward: the windows contain a day of 23 hours."""
ACCOUNTS = tuple(f"account-{number}" for number in range(12))

WITHOUT_SOURCE = """
name = "new-york"

[calendar]
timezone = "America/New_York"

[measures.active_days]
source = "product-usage"
stat = "active"
window = "14d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 14 }
weight = 1

[measures.uses]
source = "product-usage"
stat = "count"
window = "7d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 25 }
weight = 1

[scores.health]
min_change = 0
bands = [{ name = "fine", from = 50 }, { name = "poor", from = 0, alert = "warning" }]
"""
POLICY = (
    WITHOUT_SOURCE
    + f"""
[sources.licences]
topic = "{LICENCES}"
fields = {{ seats = "number", module = "text" }}
required = ["seats"]

[measures.seats]
source = "licences"
stat = "last"
field = "seats"
where = {{ module = ["core"] }}
window = "30d"
normalise = {{ kind = "linear", zero_at = 0, hundred_at = 50 }}
weight = 1
"""
)


MOVED = {USAGE: "app.events", "accounts": "crm.accounts"}
"""Built-in sources that have other topics by a policy."""
MOVED_TOPICS = "".join(f'[sources.{name}]\ntopic = "{topic}"\n' for name, topic in MOVED.items())


def history(accounts: Sequence[str] = ACCOUNTS) -> list[Message]:
    """Three weeks of each account, in the order of time, whose last event is at the same moment."""
    messages = []
    for number, account in enumerate(accounts):
        # Every 7 to 18 hours: on some days before, and on some after midnight in New York and UTC.
        for index, ago_ms in enumerate(range(0, 21 * DAY_MS, (7 + number) * HOUR_MS)):
            messages.append(event(USAGE, f"u{index}", account, END_MS - ago_ms, user_id=f"u{index % 4}"))
        for index, module in enumerate(("core", "extra", "core")):
            time_ms = END_MS - index * 3 * DAY_MS - HOUR_MS
            messages.append(event(LICENCES, f"l{index}", account, time_ms, seats=number + 10 * index, module=module))
        messages.append(event(LICENCES, "refused", account, END_MS - 2 * HOUR_MS, module="core"))
    return sorted(messages, key=lambda message: message.timestamp_ms)


def scored_files(deployment: Deployment, messages: Sequence[Message], folder: Path, *options: str) -> dict[str, dict]:
    """What `vitals score` says of the events, by account."""
    lines = defaultdict[str, list[bytes]](list)
    for message in messages:
        assert message.value is not None
        lines[message.topic].append(message.value)
    files = [folder / f"{topic}.jsonl" for topic in lines]
    for file, values in zip(files, lines.values(), strict=True):
        file.write_bytes(b"\n".join(values))
    answer = vitals(deployment, "score", *map(str, files), *options)
    refused = f"left out: {len(ACCOUNTS)} lines (invalid_field)\n" if LICENCES in lines else ""
    assert answer.stderr.endswith(refused) if refused else not answer.stderr, answer.stderr
    return {score["account_id"]: score for score in map(json.loads, answer.stdout.splitlines())}


@pytest.mark.faults
def test_topics_of_a_policy_and_days_of_its_zone_score_as_files_do(tmp_path: Path) -> None:
    before_2000 = event(USAGE, "first", ACCOUNTS[0], int(datetime(1995, 6, 1, tzinfo=UTC).timestamp() * 1000))
    profile = event("accounts", "p", ACCOUNTS[1], END_MS - 20 * DAY_MS, name="One", started_at="2026-02-01")
    messages = [message._replace(topic=MOVED.get(message.topic, message.topic)) for message in history()]
    messages = [before_2000._replace(topic=MOVED[USAGE]), profile._replace(topic=MOVED["accounts"]), *messages]
    assert {partition_of(account.encode()) for account in ACCOUNTS} == set(range(PARTITIONS))
    policy = POLICY + MOVED_TOPICS
    with Deployment(tmp_path, policy=policy, topics=False, added=(LICENCES,), allow_before="1990-01-01") as deployment:
        deployment.inputs = tuple(MOVED.get(topic, topic) for topic in deployment.inputs)
        created = vitals(deployment, "topics", "--create", "--json")
        assert created.returncode == 0, created.stderr
        topics = {row["topic"] for row in json.loads(created.stdout)}
        assert {LICENCES, *MOVED.values(), f"{MOVED[USAGE]}.dlq"} <= topics
        assert not topics & MOVED.keys()
        deployment.send(messages)
        deployment.start()
        deployment.until_done()
        published = deployment.scores()
        assert published == scored_files(deployment, messages, tmp_path)
        assert len(deployment.documents(f"{LICENCES}.dlq")) == len(ACCOUNTS)
        utc = tmp_path / "utc.toml"
        utc.write_text(policy.replace("America/New_York", "UTC"), "utf-8")
        in_utc = scored_files(deployment, messages, tmp_path, "--policy", str(utc))
        assert any(score["scores"] != published[account]["scores"] for account, score in in_utc.items())


@pytest.mark.faults
def test_a_policy_with_a_new_source_goes_through_a_rolling_restart_and_back(tmp_path: Path) -> None:
    """Old and new workers run together, and records of the new source come all the time.

    The workers have instance names: the group gives a worker that comes back the partitions it had, of the old topics.
    """
    messages = history()
    thirds = [messages[number::3] for number in range(3)]
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text(WITHOUT_SOURCE, "utf-8")
    new.write_text(POLICY, "utf-8")
    with Deployment(tmp_path, policy=WITHOUT_SOURCE, added=(LICENCES,)) as deployment:
        create_topics(deployment.kafka.bootstrap, PARTITIONS, GROUP, parse_policy(POLICY).sources)
        deployment.send(thirds[0])
        workers = {name: deployment.start(name) for name in ("one", "two")}

        def both_work() -> bool:
            return all(worker.settled().total() for worker in workers.values())

        def replace(name: str, policy: Path) -> None:
            assert deployment.stop(workers[name]) == 0
            workers[name] = deployment.start(name, policy=policy)
            deployment.until(both_work, "both have partitions again")

        deployment.until(both_work, "both have partitions")
        for name, later in zip(tuple(workers), thirds[1:], strict=True):
            replace(name, new)
            deployment.send(later)
        deployment.until_done()
        expected = shown(scored_files(deployment, messages, tmp_path, "--policy", str(new)))
        assert shown(deployment.scores()) == expected

        for name in workers:
            replace(name, old)
        usage = [message for message in messages if message.topic == USAGE]
        usage += [event(USAGE, "back", account, END_MS + HOUR_MS, user_id="u1") for account in ACCOUNTS]
        deployment.send(usage[-len(ACCOUNTS) :])
        expected = shown(scored_files(deployment, usage, tmp_path, "--policy", str(old)))
        deployment.until(lambda: shown(deployment.scores()) == expected, "the old policy is back")


def shown(scores: dict[str, dict]) -> dict[str, dict]:
    """Scores and their moments, without the policy and what it has left incomplete."""
    return {account: {"scores": score["scores"], "as_of": score["as_of"]} for account, score in scores.items()}

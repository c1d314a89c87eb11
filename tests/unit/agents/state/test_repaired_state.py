"""State that was rebuilt, or of which one account was set aside: workers publish what the oracle says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agents.kafka.client import BrokerError
from agents.kafka.partitions import partition_of
from agents.process.progress import unseen
from agents.settings.settings import Settings
from agents.state.quarantine import quarantine
from agents.state.rebuild import rebuild_state, restart_topic
from schemas.topics import SCORES, changelog
from stream.columns.row_schema import RowSchemaError
from stream.recovery.repartition import state_of
from tests.driving.deployment import MemoryCluster, input_log
from tests.driving.engine import plan_of
from tests.driving.moved_state import AFTER, AS_OF_MS, BEFORE, GROUP, Scenario
from tests.faults import verdict
from tests.faults.events import DAY_MS, END_MS, RULES, TEMPLATE, USAGE, event
from tests.oracle.engine import final_scores

if TYPE_CHECKING:
    from pathlib import Path


# -- rebuild ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("partition", "policy"), [(None, TEMPLATE), (2, TEMPLATE), (None, RULES)])
def test_a_rebuilt_state_is_exact_and_revisions_only_rise(partition: int | None, policy: str) -> None:
    scenario = Scenario.halfway(policy=policy)
    published = scenario.cluster.scores()
    done = rebuild_state(scenario.cluster, scenario.settings, partition, unseen, dry_run=False)
    assert done.missing == []
    assert done.revision == max(score["revision"] for score in published.values())
    counts = {number: len(scenario.cluster.logs[SCORES, number]) for number in range(4)}
    scenario.work(AFTER, AS_OF_MS)
    for number in done.partitions:
        for record in scenario.cluster.logs[SCORES, number][counts[number] :]:
            assert json.loads(record.value)["revision"] > done.revision
    scenario.assert_exact()


def test_a_rebuild_reads_state_that_no_worker_can_read() -> None:
    scenario = Scenario.halfway()
    scenario.cluster.append(changelog(GROUP).name, 1, b"s", b"{not JSON")
    rebuild_state(scenario.cluster, scenario.settings, None, unseen, dry_run=False)
    scenario.work(AFTER, AS_OF_MS)
    scenario.assert_exact()


def test_a_rebuild_says_what_retention_has_removed() -> None:
    scenario = Scenario.halfway()
    scenario.cluster.removed[USAGE, 1] = 10
    done = rebuild_state(scenario.cluster, scenario.settings, None, unseen, dry_run=True)
    (missing,) = done.missing
    first = scenario.cluster.logs[USAGE, 1][10]
    assert (missing.topic, missing.partition, missing.offset, missing.since) == (USAGE, 1, 10, first.timestamp)


def test_forwarded_events_count_once_after_a_rebuild_and_forbid_that_of_one_partition() -> None:
    scenario = Scenario()
    scenario.settings = Settings(group=GROUP, partitions=4, time="event", dedup=False)
    foreign = [message._replace(partition=0) for message in BEFORE if message.topic == USAGE][:60]
    others = [message for message in BEFORE if message.topic != USAGE]
    scenario.work([*foreign, *others])
    with pytest.raises(BrokerError, match="Rebuild all partitions"):
        rebuild_state(scenario.cluster, scenario.settings, 1, unseen, dry_run=False)
    rebuild_state(scenario.cluster, scenario.settings, None, unseen, dry_run=False)
    scenario.work(AFTER, AS_OF_MS)
    scenario.assert_exact()
    settled = [entry for number in range(4) for entry in state_of(scenario.cluster.newest(number))["settled"]]
    applied = sum(count for source, outcome, count in settled if (source, outcome) == (USAGE, "applied"))
    forwarded = sum(count for source, outcome, count in settled if (source, outcome) == (USAGE, "forwarded"))
    sent = sum(len(scenario.cluster.logs[USAGE, number]) for number in range(4))
    assert (applied, forwarded > 0) == (sent, True)


def test_a_topic_that_was_created_again_is_read_from_its_first_record() -> None:
    scenario = Scenario.halfway()
    first = MemoryCluster(GROUP, 4)
    first.logs.update(scenario.cluster.create_again(USAGE))
    repeated = [message for message in BEFORE if message.topic == USAGE][-100:]
    done = restart_topic(scenario.cluster, scenario.settings, USAGE, unseen, dry_run=False)
    assert (done.position, done.accounts) == ({0: 0, 1: 0, 2: 0, 3: 0}, len(scenario.cluster.scores()))
    scenario.work(repeated + AFTER, AS_OF_MS)
    log = input_log([first, scenario.cluster])
    expected = final_scores(log, TEMPLATE, 2**53, AS_OF_MS)
    assert not verdict.score_differences(expected, scenario.cluster.scores())
    with pytest.raises(BrokerError, match=r"nothing is no input topic: these are product-usage"):
        restart_topic(scenario.cluster, scenario.settings, "nothing", unseen, dry_run=False)


# -- quarantine -------------------------------------------------------------------------------------------------------


def test_a_damaged_account_is_computed_from_its_events_and_no_other_is_touched(tmp_path: Path) -> None:
    scenario, path = Scenario.halfway(), tmp_path / "aside.jsonl"
    cluster, name = scenario.cluster, changelog(GROUP).name
    account = sorted(cluster.scores())[3]
    number = partition_of(account.encode(), 4)
    key = b"r" + account.encode()
    before = cluster.newest(number)
    cluster.append(name, number, key, before[key][:40])
    done = quarantine(cluster, scenario.settings, scenario.plan, account, path, progress=unseen, dry_run=False)
    assert done.events > 0
    assert done.published == 1, "the score; changes and alerts are those that readers have"
    assert account in path.read_text("utf-8")
    assert done.set_aside == len(path.read_text("utf-8").splitlines())
    after = cluster.newest(number)
    others = {name for name in before if not name.endswith(account.encode()) and name[:1] != b"l"}
    assert {name: after[name] for name in others} == {name: before[name] for name in others}
    scenario.work(AFTER, AS_OF_MS)
    scenario.assert_exact()


@pytest.mark.parametrize("policy", [TEMPLATE, RULES])
def test_every_account_that_is_set_aside_in_turn_leaves_a_state_that_is_exact(tmp_path: Path, policy: str) -> None:
    scenario = Scenario.halfway(policy=policy)
    for account in sorted(scenario.cluster.scores())[:4]:
        quarantine(
            scenario.cluster,
            scenario.settings,
            scenario.plan,
            account,
            tmp_path / "aside",
            progress=unseen,
            dry_run=False,
        )
    scenario.work(AFTER, AS_OF_MS)
    scenario.assert_exact()


def test_a_quarantine_that_was_interrupted_can_be_run_again(tmp_path: Path) -> None:
    scenario, path = Scenario.halfway(), tmp_path / "aside"
    account = min(scenario.cluster.scores())
    how: Any = {"progress": unseen, "dry_run": False}
    for writes in (1, 3):
        scenario.cluster.writes_left = writes
        with pytest.raises(BrokerError, match="gone"):
            quarantine(scenario.cluster, scenario.settings, scenario.plan, account, path, **how)
        scenario.cluster.writes_left = None
        with pytest.raises(RowSchemaError, match=f"`vitals state quarantine {account}` was interrupted"):
            scenario.work([])
    quarantine(scenario.cluster, scenario.settings, scenario.plan, account, path, **how)
    scenario.work(AFTER, AS_OF_MS)
    scenario.assert_exact()


def test_an_account_without_events_has_no_state_afterwards(tmp_path: Path) -> None:
    scenario = Scenario()
    ghost = event(USAGE, "1", "ghost", END_MS - DAY_MS, user_id="u")
    scenario.work([*BEFORE, ghost])
    number = partition_of(b"ghost", 4)
    scenario.cluster.removed[USAGE, number] = len(scenario.cluster.logs[USAGE, number])
    done = quarantine(
        scenario.cluster, scenario.settings, scenario.plan, "ghost", tmp_path / "q", progress=unseen, dry_run=False
    )
    assert (done.events, [gap.topic for gap in done.missing]) == (0, [USAGE])
    assert done.missing[0].since is None
    assert b"rghost" not in scenario.cluster.newest(number)


def test_another_policy_than_the_workers_is_refused(tmp_path: Path) -> None:
    scenario = Scenario.halfway()
    account = next(iter(scenario.cluster.scores()))
    with pytest.raises(BrokerError, match="give the policy that the workers ran"):
        quarantine(
            scenario.cluster,
            scenario.settings,
            plan_of(RULES),
            account,
            tmp_path / "q",
            progress=unseen,
            dry_run=False,
        )

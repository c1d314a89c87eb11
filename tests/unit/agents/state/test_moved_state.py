"""State that was exported, imported, moved, rebuilt or repaired: workers publish what the oracle says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agents.kafka.client import BrokerError
from agents.kafka.partitions import partition_of
from agents.settings.settings import Settings
from agents.state.export import export_state
from agents.state.importing import import_state
from agents.state.quarantine import quarantine
from agents.state.rebuild import rebuild_state, restart_topic
from agents.state.repartition import repartition_state
from schemas.topics import ALERTS, CHANGES, REPARTITION, SCORES, changelog
from stream.columns.row_schema import RowSchemaError
from stream.recovery.repartition import RepartitionError, state_of
from tests.driving.deployment import MemoryCluster, MemoryWorkers, input_log
from tests.driving.engine import plan_of
from tests.faults import verdict
from tests.faults.events import DAY_MS, END_MS, RULES, TEMPLATE, USAGE, company, event
from tests.oracle.engine import final_scores

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.topic_log import Message

GROUP = "g"
EVENTS = company(40, 20)
AS_OF_MS = END_MS + DAY_MS
INPUTS = ("product-usage", "support-tickets", "surveys", "billing", "engagement", "controls", "signals", "accounts")


def quiet(_what: str, _done: int, _total: int) -> None:
    """Show no progress."""


def settings_of(partitions: int, group: str = GROUP) -> Settings:
    return Settings(group=group, partitions=partitions, time="event")


class Scenario:
    """A group whose workers have applied a company's history, or the first part of it."""

    def __init__(self, partitions: int = 4, policy: str = TEMPLATE) -> None:
        self.policy, self.plan = policy, plan_of(policy)
        self.cluster = MemoryCluster(GROUP, partitions)
        self.settings = settings_of(partitions)

    def work(self, messages: list[Message], as_of_ms: int | None = None, **how: Any) -> None:
        self.cluster.send(messages)
        MemoryWorkers(self.cluster, self.settings, self.plan).run(as_of_ms, **how)

    def assert_exact(self, *before: MemoryCluster, alerts_once: bool = True) -> None:
        """Fail unless scores, the chain of changes and the open alerts are the oracle's."""
        log = input_log([*before, self.cluster])
        expected = final_scores(log, self.policy, 2**53, AS_OF_MS)
        assert len(expected) > 30
        differences = verdict.score_differences(expected, self.cluster.scores())
        assert not differences, differences[:5]
        messages = [message for cluster in (*before, self.cluster) for message in cluster.published(CHANGES)]
        messages.sort(key=lambda message: message["revision"])
        differences = verdict.change_differences(messages, expected, 1.0)
        assert not differences, differences[:5]
        alerts = [message for cluster in (*before, self.cluster) for message in cluster.published(ALERTS)]
        firing = {(account, f"band:health:{score.band}") for account, score in expected.items() if score.alert}
        opened = {pair for pair in verdict.open_alerts(alerts) if pair[1].startswith("band:")}
        assert opened == firing
        ids = {message["id"]: (message["account_id"], message["rule"], message["starts_at"]) for message in alerts}
        firings = [episode for name, episode in ids.items() if name.startswith("f")]
        assert not alerts_once or len(set(firings)) == len(firings), "no alert is published twice"


HALF = len(EVENTS) // 2
BEFORE, AFTER = EVENTS[:HALF], EVENTS[HALF:]


def test_workers_without_any_command_are_exact() -> None:
    scenario = Scenario()
    scenario.work(BEFORE)
    scenario.work(AFTER, AS_OF_MS)
    scenario.assert_exact()


# -- export and import ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "policy"), [("state.jsonl", TEMPLATE), ("state.jsonl.gz", RULES)])
def test_an_exported_state_is_imported_into_another_group_as_it_was(tmp_path: Path, name: str, policy: str) -> None:
    scenario, path = Scenario(policy=policy), tmp_path / name
    scenario.work(BEFORE)
    records = [scenario.cluster.newest(number) for number in range(4)]
    exported = export_state(scenario.cluster, scenario.settings, path, quiet, dry_run=False)
    assert (exported.accounts, exported.not_final) == (len(scenario.cluster.scores()), [])
    assert exported.policies == [scenario.plan.label]
    offsets = scenario.cluster.committed()
    scenario.cluster.add_group("other")
    scenario.settings = settings_of(4, "other")
    done = import_state(scenario.cluster, scenario.settings, path, quiet, replace=False, start=None, dry_run=False)
    assert (done.accounts, done.moved, done.positions) == (exported.accounts, 0, "kept")
    assert [scenario.cluster.newest(number) for number in range(4)] == records
    assert scenario.cluster.committed() == offsets
    scenario.work(AFTER, AS_OF_MS)
    scenario.assert_exact()


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    scenario, path = Scenario(), tmp_path / "state.jsonl"
    scenario.work(BEFORE)
    cluster, settings = scenario.cluster, scenario.settings
    real = tmp_path / "real.jsonl"
    export_state(cluster, settings, real, quiet, dry_run=False)
    before = {name: len(log) for name, log in cluster.logs.items() if log}
    export_state(cluster, settings, path, quiet, dry_run=True)
    assert not path.exists()
    done = import_state(cluster, settings, real, quiet, replace=True, start=None, dry_run=True)
    assert done.replaced == done.records > 0
    assert rebuild_state(cluster, settings, None, quiet, dry_run=True).deleted == done.records
    account = next(iter(cluster.scores()))
    quarantine(cluster, settings, scenario.plan, account, path, progress=quiet, dry_run=True)
    for topic in INPUTS:
        cluster.counts[topic] = 8
    moved = repartition_state(cluster, settings_of(8), path, quiet, dry_run=True)
    assert 0 < moved.moved < moved.accounts
    assert not path.exists()
    assert {name: len(log) for name, log in cluster.logs.items() if log} == before


def test_an_import_needs_a_group_without_state_or_the_option(tmp_path: Path) -> None:
    scenario, path = Scenario(), tmp_path / "state.jsonl"
    scenario.work(BEFORE)
    export_state(scenario.cluster, scenario.settings, path, quiet, dry_run=False)
    with pytest.raises(BrokerError, match="--replace"):
        import_state(scenario.cluster, scenario.settings, path, quiet, replace=False, start=None, dry_run=False)
    scenario.work(AFTER)  # a state that is thrown away
    import_state(scenario.cluster, scenario.settings, path, quiet, replace=True, start=None, dry_run=False)
    scenario.work([], AS_OF_MS)
    scenario.assert_exact()


def test_a_command_that_was_interrupted_is_refused_by_workers_and_can_be_run_again(tmp_path: Path) -> None:
    scenario, path = Scenario(), tmp_path / "state.jsonl"
    scenario.work(BEFORE)
    export_state(scenario.cluster, scenario.settings, path, quiet, dry_run=False)
    scenario.cluster.writes_left = 50
    with pytest.raises(BrokerError, match="gone"):
        import_state(scenario.cluster, scenario.settings, path, quiet, replace=True, start=None, dry_run=False)
    scenario.cluster.writes_left = None
    with pytest.raises(RowSchemaError, match=r"import .* --replace` was interrupted; run it again"):
        scenario.work([])
    with pytest.raises(BrokerError, match="interrupted"):
        export_state(scenario.cluster, scenario.settings, tmp_path / "second", quiet, dry_run=False)
    import_state(scenario.cluster, scenario.settings, path, quiet, replace=True, start=None, dry_run=False)
    scenario.work(AFTER, AS_OF_MS)
    scenario.assert_exact()


def test_running_workers_are_an_error_for_all_but_the_export(tmp_path: Path) -> None:
    scenario, path = Scenario(), tmp_path / "state.jsonl"
    scenario.work(BEFORE)
    cluster, settings = scenario.cluster, scenario.settings
    cluster.running = True
    export_state(cluster, settings, path, quiet, dry_run=False)
    with pytest.raises(BrokerError, match="stop all workers"):
        import_state(cluster, settings, path, quiet, replace=True, start=None, dry_run=False)
    with pytest.raises(BrokerError, match="stop all workers"):
        rebuild_state(cluster, settings, None, quiet, dry_run=False)
    with pytest.raises(BrokerError, match="stop all workers"):
        quarantine(cluster, settings, scenario.plan, "a", tmp_path / "q", progress=quiet, dry_run=False)
    with pytest.raises(BrokerError, match="stop all workers"):
        repartition_state(cluster, settings, tmp_path / "r", quiet, dry_run=False)


def test_positions_beyond_the_end_of_a_topic_are_refused(tmp_path: Path) -> None:
    scenario, path = Scenario(), tmp_path / "state.jsonl"
    scenario.work(BEFORE)
    export_state(scenario.cluster, scenario.settings, path, quiet, dry_run=False)
    del scenario.cluster.logs[USAGE, 2][5:]
    with pytest.raises(BrokerError, match="product-usage partition 2 ends at 5"):
        import_state(scenario.cluster, scenario.settings, path, quiet, replace=True, start=None, dry_run=True)


# -- other topics, other partition counts -----------------------------------------------------------------------------


@pytest.mark.parametrize("partitions", [4, 3, 6])
def test_state_goes_on_in_another_cluster_with_empty_topics(tmp_path: Path, partitions: int) -> None:
    scenario, path = Scenario(), tmp_path / "state.jsonl"
    scenario.work(BEFORE)
    export_state(scenario.cluster, scenario.settings, path, quiet, dry_run=False)
    first, second = scenario.cluster, Scenario(partitions)
    second.cluster.identity = "second"
    done = import_state(second.cluster, second.settings, path, quiet, replace=False, start=None, dry_run=False)
    assert (done.positions, bool(done.moved)) == ("end", partitions != 4)
    repeated = BEFORE[-200:]  # a producer that sends again what the old cluster has acknowledged
    second.work(repeated + AFTER, AS_OF_MS)
    second.assert_exact(first)


def test_state_goes_from_8_partitions_to_3(tmp_path: Path) -> None:
    first, path = Scenario(8), tmp_path / "state.jsonl"
    first.work(BEFORE)
    export_state(first.cluster, first.settings, path, quiet, dry_run=False)
    second = Scenario(3)
    second.cluster.identity = "second"
    import_state(second.cluster, second.settings, path, quiet, replace=False, start=None, dry_run=False)
    second.work(AFTER, AS_OF_MS)
    second.assert_exact(first.cluster)


def test_other_topics_with_records_need_a_start(tmp_path: Path) -> None:
    scenario, path = Scenario(), tmp_path / "state.jsonl"
    scenario.work(BEFORE)
    export_state(scenario.cluster, scenario.settings, path, quiet, dry_run=False)
    first = scenario.cluster
    for start in ("beginning", "end"):
        second = Scenario()
        second.cluster.identity = "second"
        second.cluster.send(AFTER if start == "beginning" else BEFORE)
        with pytest.raises(BrokerError, match="--start beginning if none"):
            import_state(second.cluster, second.settings, path, quiet, replace=False, start=None, dry_run=False)
        import_state(second.cluster, second.settings, path, quiet, replace=False, start=start, dry_run=False)
        second.work([] if start == "beginning" else AFTER, AS_OF_MS)
        expected = final_scores(input_log([first, second.cluster]), TEMPLATE, 2**53, AS_OF_MS)
        assert not verdict.score_differences(expected, second.cluster.scores())


@pytest.mark.parametrize("partitions", [8, 6])
def test_more_partitions_lose_and_repeat_nothing(tmp_path: Path, partitions: int) -> None:
    """Events before the growth, unread ones in old partitions, and new ones in new partitions."""
    scenario, path = Scenario(), tmp_path / "state.jsonl.gz"
    scenario.work(BEFORE)
    unread, between, after = AFTER[:150], AFTER[150:300], AFTER[300:]
    scenario.cluster.send(unread)
    for topic in INPUTS:
        scenario.cluster.counts[topic] = partitions
    scenario.cluster.send(between)
    scenario.settings = settings_of(partitions)
    done = repartition_state(scenario.cluster, scenario.settings, path, quiet, dry_run=False)
    assert 0 < done.moved < done.accounts
    assert changelog(GROUP).name in done.grown
    assert scenario.cluster.partitions(REPARTITION) == partitions
    scenario.work(BEFORE[-100:] + after, AS_OF_MS)
    scenario.assert_exact()
    again = repartition_state(scenario.cluster, scenario.settings, tmp_path / "again", quiet, dry_run=False)
    assert (again.moved, again.grown) == (0, [])
    rebuild_state(scenario.cluster, scenario.settings, None, quiet, dry_run=False)
    scenario.work([], AS_OF_MS)
    # Old events of an account come by the repartition topic: its alert may resolve before they do, and fire again.
    scenario.assert_exact(alerts_once=False)


def test_input_topics_must_have_the_new_count(tmp_path: Path) -> None:
    scenario = Scenario()
    scenario.work(BEFORE)
    with pytest.raises(BrokerError, match=r"product-usage \(4\).*--partitions 8"):
        repartition_state(scenario.cluster, settings_of(8), tmp_path / "f", quiet, dry_run=False)


def test_state_of_a_crash_is_not_moved_but_can_be_restored_where_it_was(tmp_path: Path) -> None:
    scenario, path = Scenario(), tmp_path / "state.jsonl"
    scenario.work(BEFORE)
    scenario.work(AFTER, crash=True)  # publishes and does not commit
    exported = export_state(scenario.cluster, scenario.settings, path, quiet, dry_run=False)
    assert "does not know" in exported.not_final[0]
    other = Scenario(3)
    other.cluster.identity = "second"
    with pytest.raises(BrokerError, match="not stopped in order"):
        import_state(other.cluster, other.settings, path, quiet, replace=False, start=None, dry_run=False)
    import_state(scenario.cluster, scenario.settings, path, quiet, replace=True, start=None, dry_run=False)
    scenario.work([], AS_OF_MS)
    scenario.assert_exact()


def test_an_account_in_two_partitions_is_an_error(tmp_path: Path) -> None:
    scenario, path = Scenario(), tmp_path / "state.jsonl"
    scenario.work(BEFORE)
    name = changelog(GROUP).name
    key = next(key for key in scenario.cluster.newest(0) if key[:1] == b"r")
    for record in list(scenario.cluster.logs[name, 0]):
        if record.key == key or record.key[:1] == b"l":
            scenario.cluster.append(name, 1, record.key, record.value)
    for topic in INPUTS:
        scenario.cluster.counts[topic] = 8
    with pytest.raises(RepartitionError, match="has state in partitions 0 and 1"):
        repartition_state(scenario.cluster, settings_of(8), path, quiet, dry_run=False)


# -- rebuild ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("partition", "policy"), [(None, TEMPLATE), (2, TEMPLATE), (None, RULES)])
def test_a_rebuilt_state_is_exact_and_revisions_only_rise(partition: int | None, policy: str) -> None:
    scenario = Scenario(policy=policy)
    scenario.work(BEFORE)
    published = scenario.cluster.scores()
    done = rebuild_state(scenario.cluster, scenario.settings, partition, quiet, dry_run=False)
    assert done.missing == []
    assert done.revision == max(score["revision"] for score in published.values())
    counts = {number: len(scenario.cluster.logs[SCORES, number]) for number in range(4)}
    scenario.work(AFTER, AS_OF_MS)
    for number in done.partitions:
        for record in scenario.cluster.logs[SCORES, number][counts[number] :]:
            assert json.loads(record.value)["revision"] > done.revision
    scenario.assert_exact()


def test_a_rebuild_reads_state_that_no_worker_can_read() -> None:
    scenario = Scenario()
    scenario.work(BEFORE)
    scenario.cluster.append(changelog(GROUP).name, 1, b"s", b"{not JSON")
    rebuild_state(scenario.cluster, scenario.settings, None, quiet, dry_run=False)
    scenario.work(AFTER, AS_OF_MS)
    scenario.assert_exact()


def test_a_rebuild_says_what_retention_has_removed() -> None:
    scenario = Scenario()
    scenario.work(BEFORE)
    scenario.cluster.removed[USAGE, 1] = 10
    done = rebuild_state(scenario.cluster, scenario.settings, None, quiet, dry_run=True)
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
        rebuild_state(scenario.cluster, scenario.settings, 1, quiet, dry_run=False)
    rebuild_state(scenario.cluster, scenario.settings, None, quiet, dry_run=False)
    scenario.work(AFTER, AS_OF_MS)
    scenario.assert_exact()
    settled = [entry for number in range(4) for entry in state_of(scenario.cluster.newest(number))["settled"]]
    applied = sum(count for source, outcome, count in settled if (source, outcome) == (USAGE, "applied"))
    forwarded = sum(count for source, outcome, count in settled if (source, outcome) == (USAGE, "forwarded"))
    sent = sum(len(scenario.cluster.logs[USAGE, number]) for number in range(4))
    assert (applied, forwarded > 0) == (sent, True)


def test_a_topic_that_was_created_again_is_read_from_its_first_record() -> None:
    scenario = Scenario()
    scenario.work(BEFORE)
    first = MemoryCluster(GROUP, 4)
    for number in range(4):
        first.logs[USAGE, number] = scenario.cluster.logs[USAGE, number]
        scenario.cluster.logs[USAGE, number] = []
        scenario.cluster.offsets.pop((USAGE, number))
    repeated = [message for message in BEFORE if message.topic == USAGE][-100:]
    done = restart_topic(scenario.cluster, scenario.settings, USAGE, quiet, dry_run=False)
    assert (done.position, done.accounts) == ({0: 0, 1: 0, 2: 0, 3: 0}, len(scenario.cluster.scores()))
    scenario.work(repeated + AFTER, AS_OF_MS)
    log = input_log([first, scenario.cluster])
    expected = final_scores(log, TEMPLATE, 2**53, AS_OF_MS)
    assert not verdict.score_differences(expected, scenario.cluster.scores())
    with pytest.raises(BrokerError, match=r"nothing is no input topic: these are product-usage"):
        restart_topic(scenario.cluster, scenario.settings, "nothing", quiet, dry_run=False)


# -- quarantine -------------------------------------------------------------------------------------------------------


def test_a_damaged_account_is_computed_from_its_events_and_no_other_is_touched(tmp_path: Path) -> None:
    scenario, path = Scenario(), tmp_path / "aside.jsonl"
    scenario.work(BEFORE)
    cluster, name = scenario.cluster, changelog(GROUP).name
    account = sorted(cluster.scores())[3]
    number = partition_of(account.encode(), 4)
    key = b"r" + account.encode()
    before = cluster.newest(number)
    cluster.append(name, number, key, before[key][:40])
    done = quarantine(cluster, scenario.settings, scenario.plan, account, path, progress=quiet, dry_run=False)
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
    scenario = Scenario(policy=policy)
    scenario.work(BEFORE)
    for account in sorted(scenario.cluster.scores())[:12]:
        quarantine(
            scenario.cluster,
            scenario.settings,
            scenario.plan,
            account,
            tmp_path / "aside",
            progress=quiet,
            dry_run=False,
        )
    scenario.work(AFTER, AS_OF_MS)
    scenario.assert_exact()


def test_a_quarantine_that_was_interrupted_can_be_run_again(tmp_path: Path) -> None:
    scenario, path = Scenario(), tmp_path / "aside"
    scenario.work(BEFORE)
    account = min(scenario.cluster.scores())
    how: Any = {"progress": quiet, "dry_run": False}
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
        scenario.cluster, scenario.settings, scenario.plan, "ghost", tmp_path / "q", progress=quiet, dry_run=False
    )
    assert (done.events, [gap.topic for gap in done.missing]) == (0, [USAGE])
    assert done.missing[0].since is None
    assert b"rghost" not in scenario.cluster.newest(number)


def test_another_policy_than_the_workers_is_refused(tmp_path: Path) -> None:
    scenario = Scenario()
    scenario.work(BEFORE)
    account = next(iter(scenario.cluster.scores()))
    with pytest.raises(BrokerError, match="give the policy that the workers ran"):
        quarantine(
            scenario.cluster,
            scenario.settings,
            plan_of(RULES),
            account,
            tmp_path / "q",
            progress=quiet,
            dry_run=False,
        )

"""State that was exported, imported, moved, rebuilt or repaired: workers publish what the oracle says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agents.kafka.client import BrokerError
from agents.kafka.partitions import partition_of
from agents.process.progress import unseen
from agents.state.export import export_state
from agents.state.importing import import_state
from agents.state.quarantine import quarantine
from agents.state.rebuild import rebuild_state
from agents.state.repartition import repartition_state
from schemas.topics import REPARTITION, changelog
from stream.columns.row_schema import RowSchemaError
from stream.recovery.repartition import RepartitionError
from tests.driving.deployment import input_log
from tests.driving.moved_state import AFTER, AS_OF_MS, BEFORE, GROUP, INPUTS, Scenario, settings_of
from tests.faults import verdict
from tests.faults.events import RULES, TEMPLATE, USAGE, event
from tests.oracle.engine import final_scores

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.topic_log import Message


def test_workers_without_any_command_are_exact() -> None:
    scenario = Scenario.halfway()
    scenario.work(AFTER, AS_OF_MS)
    scenario.assert_exact()


# -- export and import ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "policy"), [("state.jsonl", TEMPLATE), ("state.jsonl.gz", RULES)])
def test_an_exported_state_is_imported_into_another_group_as_it_was(tmp_path: Path, name: str, policy: str) -> None:
    scenario, path = Scenario.halfway(policy=policy), tmp_path / name
    records = [scenario.cluster.newest(number) for number in range(4)]
    exported = export_state(scenario.cluster, scenario.settings, path, unseen, dry_run=False)
    assert (exported.accounts, exported.not_final) == (len(scenario.cluster.scores()), [])
    assert exported.policies == [scenario.plan.label]
    offsets = scenario.cluster.committed()
    scenario.cluster.add_group("other")
    scenario.settings = settings_of(4, "other")
    done = import_state(scenario.cluster, scenario.settings, path, unseen, replace=False, start=None, dry_run=False)
    assert (done.accounts, done.moved, done.positions) == (exported.accounts, 0, "kept")
    assert [scenario.cluster.newest(number) for number in range(4)] == records
    assert scenario.cluster.committed() == offsets
    scenario.work(AFTER, AS_OF_MS)
    scenario.assert_exact()


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    scenario, path = Scenario.halfway(), tmp_path / "state.jsonl"
    cluster, settings = scenario.cluster, scenario.settings
    real = tmp_path / "real.jsonl"
    export_state(cluster, settings, real, unseen, dry_run=False)
    before = {name: len(log) for name, log in cluster.logs.items() if log}
    export_state(cluster, settings, path, unseen, dry_run=True)
    assert not path.exists()
    done = import_state(cluster, settings, real, unseen, replace=True, start=None, dry_run=True)
    assert done.replaced == done.records > 0
    assert rebuild_state(cluster, settings, None, unseen, dry_run=True).deleted == done.records
    account = next(iter(cluster.scores()))
    quarantine(cluster, settings, scenario.plan, account, path, progress=unseen, dry_run=True)
    for topic in INPUTS:
        cluster.counts[topic] = 8
    moved = repartition_state(cluster, settings_of(8), path, unseen, dry_run=True)
    assert 0 < moved.moved < moved.accounts
    assert not path.exists()
    assert {name: len(log) for name, log in cluster.logs.items() if log} == before


def test_an_import_needs_a_group_without_state_or_the_option(tmp_path: Path) -> None:
    scenario, path = Scenario.halfway(), tmp_path / "state.jsonl"
    export_state(scenario.cluster, scenario.settings, path, unseen, dry_run=False)
    with pytest.raises(BrokerError, match="--replace"):
        import_state(scenario.cluster, scenario.settings, path, unseen, replace=False, start=None, dry_run=False)
    scenario.work(AFTER)  # a state that is thrown away
    import_state(scenario.cluster, scenario.settings, path, unseen, replace=True, start=None, dry_run=False)
    scenario.work([], AS_OF_MS)
    scenario.assert_exact()


def test_a_command_that_was_interrupted_is_refused_by_workers_and_can_be_run_again(tmp_path: Path) -> None:
    scenario, path = Scenario.halfway(), tmp_path / "state.jsonl"
    export_state(scenario.cluster, scenario.settings, path, unseen, dry_run=False)
    scenario.cluster.writes_left = 50
    with pytest.raises(BrokerError, match="gone"):
        import_state(scenario.cluster, scenario.settings, path, unseen, replace=True, start=None, dry_run=False)
    scenario.cluster.writes_left = None
    with pytest.raises(RowSchemaError, match=r"import .* --replace` was interrupted; run it again"):
        scenario.work([])
    with pytest.raises(BrokerError, match="interrupted"):
        export_state(scenario.cluster, scenario.settings, tmp_path / "second", unseen, dry_run=False)
    import_state(scenario.cluster, scenario.settings, path, unseen, replace=True, start=None, dry_run=False)
    scenario.work(AFTER, AS_OF_MS)
    scenario.assert_exact()


def test_running_workers_are_an_error_for_all_but_the_export(tmp_path: Path) -> None:
    scenario, path = Scenario.halfway(), tmp_path / "state.jsonl"
    cluster, settings = scenario.cluster, scenario.settings
    cluster.running = True
    export_state(cluster, settings, path, unseen, dry_run=False)
    with pytest.raises(BrokerError, match="stop all workers"):
        import_state(cluster, settings, path, unseen, replace=True, start=None, dry_run=False)
    with pytest.raises(BrokerError, match="stop all workers"):
        rebuild_state(cluster, settings, None, unseen, dry_run=False)
    with pytest.raises(BrokerError, match="stop all workers"):
        quarantine(cluster, settings, scenario.plan, "a", tmp_path / "q", progress=unseen, dry_run=False)
    with pytest.raises(BrokerError, match="stop all workers"):
        repartition_state(cluster, settings, tmp_path / "r", unseen, dry_run=False)


def test_positions_beyond_the_end_of_a_topic_are_refused(tmp_path: Path) -> None:
    scenario, path = Scenario.halfway(), tmp_path / "state.jsonl"
    export_state(scenario.cluster, scenario.settings, path, unseen, dry_run=False)
    del scenario.cluster.logs[USAGE, 2][5:]
    with pytest.raises(BrokerError, match="product-usage partition 2 ends at 5"):
        import_state(scenario.cluster, scenario.settings, path, unseen, replace=True, start=None, dry_run=True)


# -- other topics, other partition counts -----------------------------------------------------------------------------


@pytest.mark.parametrize("partitions", [4, 3, 6])
def test_state_goes_on_in_another_cluster_with_empty_topics(tmp_path: Path, partitions: int) -> None:
    scenario, path = Scenario.halfway(), tmp_path / "state.jsonl"
    export_state(scenario.cluster, scenario.settings, path, unseen, dry_run=False)
    first, second = scenario.cluster, Scenario(partitions)
    second.cluster.identity = "second"
    done = import_state(second.cluster, second.settings, path, unseen, replace=False, start=None, dry_run=False)
    assert (done.positions, bool(done.moved)) == ("end", partitions != 4)
    repeated = BEFORE[-200:]  # a producer that sends again what the old cluster has acknowledged
    second.work(repeated + AFTER, AS_OF_MS)
    second.assert_exact(first)


def test_state_goes_from_8_partitions_to_3(tmp_path: Path) -> None:
    first, path = Scenario.halfway(8), tmp_path / "state.jsonl"
    export_state(first.cluster, first.settings, path, unseen, dry_run=False)
    second = Scenario(3)
    second.cluster.identity = "second"
    import_state(second.cluster, second.settings, path, unseen, replace=False, start=None, dry_run=False)
    second.work(AFTER, AS_OF_MS)
    second.assert_exact(first.cluster)


def test_other_topics_with_records_need_a_start(tmp_path: Path) -> None:
    scenario, path = Scenario.halfway(), tmp_path / "state.jsonl"
    export_state(scenario.cluster, scenario.settings, path, unseen, dry_run=False)
    first = scenario.cluster
    for start in ("beginning", "end"):
        second = Scenario()
        second.cluster.identity = "second"
        second.cluster.send(AFTER if start == "beginning" else BEFORE)
        with pytest.raises(BrokerError, match="--start beginning if none"):
            import_state(second.cluster, second.settings, path, unseen, replace=False, start=None, dry_run=False)
        import_state(second.cluster, second.settings, path, unseen, replace=False, start=start, dry_run=False)
        second.work([] if start == "beginning" else AFTER, AS_OF_MS)
        expected = final_scores(input_log([first, second.cluster]), TEMPLATE, 2**53, AS_OF_MS)
        assert not verdict.score_differences(expected, second.cluster.scores())


@pytest.mark.parametrize("partitions", [8, 6])
def test_more_partitions_lose_and_repeat_nothing(tmp_path: Path, partitions: int) -> None:
    """Events before the growth, unread ones in old partitions, and new ones in new partitions."""
    scenario, path = Scenario.halfway(), tmp_path / "state.jsonl.gz"
    unread, between, after = AFTER[:150], AFTER[150:300], AFTER[300:]
    scenario.cluster.send(unread)
    for topic in INPUTS:
        scenario.cluster.counts[topic] = partitions
    scenario.cluster.send(between)
    scenario.settings = settings_of(partitions)
    done = repartition_state(scenario.cluster, scenario.settings, path, unseen, dry_run=False)
    assert 0 < done.moved < done.accounts
    assert changelog(GROUP).name in done.grown
    assert scenario.cluster.partitions(REPARTITION) == partitions
    scenario.work(BEFORE[-100:] + after, AS_OF_MS)
    scenario.assert_exact()
    again = repartition_state(scenario.cluster, scenario.settings, tmp_path / "again", unseen, dry_run=False)
    assert (again.moved, again.grown) == (0, [])
    rebuild_state(scenario.cluster, scenario.settings, None, unseen, dry_run=False)
    scenario.work([], AS_OF_MS)
    # Old events of an account come by the repartition topic: its alert may resolve before they do, and fire again.
    scenario.assert_exact(alerts_once=False)


def test_an_account_that_is_erased_after_a_repartition_does_not_come_back_from_its_old_partition(
    tmp_path: Path,
) -> None:
    scenario = Scenario.halfway()
    for topic in INPUTS:
        scenario.cluster.counts[topic] = 8
    scenario.settings = settings_of(8)
    repartition_state(scenario.cluster, scenario.settings, tmp_path / "before", unseen, dry_run=False)
    moved = [account for account in scenario.cluster.scores() if changes_partition(account)]
    later = {event.key for event in AFTER}
    gone, back = moved[0], next(account for account in moved[1:] if account.encode() in later)
    rest = [event for event in AFTER if event.key not in {gone.encode(), back.encode()}]
    returns = [event for event in AFTER if event.key == back.encode()]
    scenario.work([erasure(gone), erasure(back), *rest, *returns], AS_OF_MS)
    scenario.assert_exact()
    assert gone not in scenario.cluster.scores()
    assert back in scenario.cluster.scores()
    scenario.cluster.counts.update(dict.fromkeys(INPUTS, 12))
    scenario.settings = settings_of(12)
    repartition_state(scenario.cluster, scenario.settings, tmp_path / "again", unseen, dry_run=False)
    scenario.work([], AS_OF_MS)
    scenario.assert_exact()
    assert gone not in scenario.cluster.scores()
    rebuild_state(scenario.cluster, scenario.settings, None, unseen, dry_run=False)
    assert not [key for number in range(12) for key in scenario.cluster.newest(number) if gone.encode() in key]


def changes_partition(account: str) -> bool:
    return partition_of(account.encode(), 4) != partition_of(account.encode(), 8)


def erasure(account: str) -> Message:
    at_ms = BEFORE[-1].timestamp_ms
    return event("controls", f"erase-{account}", account, at_ms, kind="erase")


def test_input_topics_must_have_the_new_count(tmp_path: Path) -> None:
    scenario = Scenario.halfway()
    with pytest.raises(BrokerError, match=r"product-usage \(4\).*--partitions 8"):
        repartition_state(scenario.cluster, settings_of(8), tmp_path / "f", unseen, dry_run=False)


def test_state_of_a_crash_is_not_moved_but_can_be_restored_where_it_was(tmp_path: Path) -> None:
    scenario, path = Scenario.halfway(), tmp_path / "state.jsonl"
    scenario.work(AFTER, crash=True)  # publishes and does not commit
    exported = export_state(scenario.cluster, scenario.settings, path, unseen, dry_run=False)
    assert "does not know" in exported.not_final[0]
    other = Scenario(3)
    other.cluster.identity = "second"
    with pytest.raises(BrokerError, match="not stopped in order"):
        import_state(other.cluster, other.settings, path, unseen, replace=False, start=None, dry_run=False)
    import_state(scenario.cluster, scenario.settings, path, unseen, replace=True, start=None, dry_run=False)
    scenario.work([], AS_OF_MS)
    scenario.assert_exact()


def test_an_account_in_two_partitions_is_an_error(tmp_path: Path) -> None:
    scenario, path = Scenario.halfway(), tmp_path / "state.jsonl"
    name = changelog(GROUP).name
    key = next(key for key in scenario.cluster.newest(0) if key[:1] == b"r")
    for record in list(scenario.cluster.logs[name, 0]):
        if record.key == key or record.key[:1] == b"l":
            scenario.cluster.append(name, 1, record.key, record.value)
    for topic in INPUTS:
        scenario.cluster.counts[topic] = 8
    with pytest.raises(RepartitionError, match="has state in partitions 0 and 1"):
        repartition_state(scenario.cluster, settings_of(8), path, unseen, dry_run=False)

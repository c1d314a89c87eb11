"""State that the commands leave is taken over by workers, and the way out that a refused worker names works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agents.kafka.client import BrokerError
from agents.process.progress import unseen
from agents.state.export import export_state
from agents.state.importing import import_state
from agents.state.quarantine import quarantine
from agents.state.rebuild import rebuild_state, restart_topic
from agents.state.repartition import repartition_state
from agents.worker.fatal import RefusedError
from schemas.topics import SCORES, changelog
from stream.recovery.history import HISTORY_KEY
from stream.recovery.namespaces import LIVE_KEY
from stream.recovery.record_form import NAMESPACE_TAG, STATE_KEY
from stream.recovery.repartition import has_other_namespaces, state_of
from stream.recovery.writer import STATE_FORMAT, WRITER_KEY, decode_writer, encode_writer
from tests.driving.deployment import MemoryCluster, input_log
from tests.driving.engine import plan_of
from tests.driving.moved_state import AFTER, AS_OF_MS, BEFORE, GROUP, INPUTS, Scenario, settings_of
from tests.faults import verdict
from tests.faults.events import DAY_MS, END_MS, SHORT, TEMPLATE, TICKETS, USAGE, event
from tests.oracle.engine import final_scores

if TYPE_CHECKING:
    from pathlib import Path

CHANGELOG = changelog(GROUP).name
LONG = SHORT.replace('window = "3d"', 'window = "30d"')
FROM_ALL_PARTITIONS = [
    event(USAGE, f"x{number}", f"new-{number}", END_MS - DAY_MS, user_id="u") for number in range(40)
]


def worked(policy: str = TEMPLATE) -> Scenario:
    return Scenario.halfway(policy=policy)


def writer(scenario: Scenario, number: int) -> Any:
    return decode_writer(scenario.cluster.newest(number)[WRITER_KEY])


def with_format(scenario: Scenario, number: int, state_format: int) -> None:
    later = msgspec.structs.replace(writer(scenario, number), format=state_format, version="9.9")
    scenario.cluster.append(CHANGELOG, number, WRITER_KEY, encode_writer(later))


# -- refused, and the way out -----------------------------------------------------------------------------------------


def test_a_lost_changelog_is_rebuilt_partition_by_partition_as_workers_say() -> None:
    scenario = worked()
    scenario.cluster.create_again(CHANGELOG)
    for number in range(4):
        with pytest.raises(RefusedError, match="has no state: ") as caught:
            scenario.work([])
        assert caught.value.way_out.startswith(f"`vitals state rebuild --partition {number}`: ")
        rebuild_state(scenario.cluster, scenario.settings, number, unseen, dry_run=False)
    scenario.work(AFTER, AS_OF_MS)
    scenario.assert_exact()


def test_a_changelog_that_was_cut_is_rebuilt_and_begins_where_it_does() -> None:
    scenario = worked()
    scenario.cluster.removed[CHANGELOG, 2] = 5
    with pytest.raises(RefusedError, match=r"partition 2 begins at offset 5, not 0"):
        scenario.work([])
    rebuild_state(scenario.cluster, scenario.settings, 2, unseen, dry_run=False)
    assert writer(scenario, 2).first == 5
    scenario.work(AFTER, AS_OF_MS)
    scenario.assert_exact()
    scenario.cluster.removed[CHANGELOG, 2] = 9
    with pytest.raises(RefusedError, match=r"partition 2 begins at offset 9, not 5"):
        scenario.work([])


def test_a_changelog_older_than_the_offsets_is_rebuilt(tmp_path: Path) -> None:
    scenario, path = worked(), tmp_path / "state.jsonl"
    backup = {number: scenario.cluster.newest(number) for number in range(4)}
    export_state(scenario.cluster, scenario.settings, path, unseen, dry_run=False)
    scenario.work(AFTER)
    scenario.cluster.create_again(CHANGELOG)
    for number, records in backup.items():
        for key, value in records.items():
            scenario.cluster.append(CHANGELOG, number, key, value)
    with pytest.raises(RefusedError, match="is older than the committed offsets"):
        scenario.work([])
    rebuild_state(scenario.cluster, scenario.settings, None, unseen, dry_run=False)
    scenario.work([], AS_OF_MS)
    scenario.assert_exact()
    # An import sets the offsets back to those of its state, which workers then take as committed with it.
    import_state(scenario.cluster, scenario.settings, path, unseen, replace=True, start=None, dry_run=False)
    scenario.work([], AS_OF_MS)
    scenario.assert_exact(alerts_once=False)


def test_a_topic_that_was_created_again_is_refused_until_it_is_restarted_and_no_other_is() -> None:
    scenario = worked()
    first = MemoryCluster(GROUP, 4)
    first.logs.update(scenario.cluster.create_again(USAGE))
    scenario.cluster.send([message for message in AFTER if message.topic == USAGE])
    with pytest.raises(RefusedError, match=f"topic {USAGE} was deleted and created again") as caught:
        scenario.work([])
    assert caught.value.way_out.startswith(f"`vitals state rebuild --topic {USAGE}`")
    tickets = scenario.cluster.create_again(TICKETS)
    done = restart_topic(scenario.cluster, scenario.settings, USAGE, unseen, dry_run=False)
    assert not done.shadow_dropped
    assert {offset for (topic, _), offset in scenario.cluster.committed().items() if topic == USAGE} == {0}
    with pytest.raises(RefusedError, match=f"topic {TICKETS} was deleted and created again"):
        scenario.work([])
    first.logs.update(tickets)
    restart_topic(scenario.cluster, scenario.settings, TICKETS, unseen, dry_run=False)
    scenario.work([message for message in AFTER if message.topic != USAGE], AS_OF_MS)
    expected = final_scores(input_log([first, scenario.cluster]), TEMPLATE, 2**53, AS_OF_MS)
    assert not verdict.score_differences(expected, scenario.cluster.scores())


def test_a_source_with_another_topic_is_refused_until_that_topic_is_begun() -> None:
    """All that was read before stays."""
    scenario = worked()
    for number in range(4):
        before = msgspec.structs.replace(writer(scenario, number), inputs={USAGE: "app.events"})
        scenario.cluster.append(CHANGELOG, number, WRITER_KEY, encode_writer(before))
    first = MemoryCluster(GROUP, 4)
    first.logs.update(scenario.cluster.create_again(USAGE))
    with pytest.raises(RefusedError, match=r"has records of topic app\.events up to offset") as caught:
        scenario.work([])
    assert f"`vitals state rebuild --topic {USAGE}`" in caught.value.way_out
    restart_topic(scenario.cluster, scenario.settings, USAGE, unseen, dry_run=False)
    scenario.work(AFTER, AS_OF_MS)
    expected = final_scores(input_log([first, scenario.cluster]), TEMPLATE, 2**53, AS_OF_MS)
    assert not verdict.score_differences(expected, scenario.cluster.scores())


def test_a_topic_created_again_after_the_export_is_not_taken_for_the_one_of_the_state(tmp_path: Path) -> None:
    scenario, path = worked(), tmp_path / "state.jsonl"
    scenario.cluster.create_again(USAGE)
    scenario.cluster.send([message for message in [*BEFORE, *AFTER] if message.topic == USAGE])
    export_state(scenario.cluster, scenario.settings, path, unseen, dry_run=False)
    import_state(scenario.cluster, scenario.settings, path, unseen, replace=True, start=None, dry_run=False)
    with pytest.raises(RefusedError, match=f"topic {USAGE} was deleted and created again"):
        scenario.work([])
    account = next(iter(scenario.cluster.scores()))
    with pytest.raises(BrokerError, match=f"First run `vitals state rebuild --topic {USAGE}`"):
        quarantine(
            scenario.cluster,
            scenario.settings,
            scenario.plan,
            account,
            tmp_path / "aside",
            progress=unseen,
            dry_run=False,
        )


# -- the writer record ------------------------------------------------------------------------------------------------


def test_the_writer_goes_with_moved_state_and_gets_the_new_topics_and_changelog(tmp_path: Path) -> None:
    scenario, path = worked(), tmp_path / "state.jsonl"
    export_state(scenario.cluster, scenario.settings, path, unseen, dry_run=False)
    second = Scenario(3)
    second.cluster.identity = "second"
    second.cluster.removed[CHANGELOG, 1] = 7
    second.cluster.logs[CHANGELOG, 1] = [*scenario.cluster.logs[CHANGELOG, 1]][:7]
    import_state(second.cluster, second.settings, path, unseen, replace=False, start=None, dry_run=False)
    for number in range(3):
        known = writer(second, number)
        assert known.configuration == writer(scenario, 0).configuration
        assert known.topics == second.cluster.topic_ids()
        assert known.first == (7 if number == 1 else 0)
    second.work(AFTER, AS_OF_MS)
    second.assert_exact(scenario.cluster)


def test_a_partition_without_state_is_read_from_its_beginning_after_an_import(tmp_path: Path) -> None:
    scenario, path = Scenario(), tmp_path / "state.jsonl"
    export_state(scenario.cluster, scenario.settings, path, unseen, dry_run=False)
    scenario.work(BEFORE)
    import_state(scenario.cluster, scenario.settings, path, unseen, replace=True, start=None, dry_run=False)
    assert set(scenario.cluster.committed().values()) == {0}
    scenario.work(AFTER, AS_OF_MS)
    expected = final_scores(input_log([scenario.cluster]), TEMPLATE, 2**53, AS_OF_MS)
    assert not verdict.score_differences(expected, scenario.cluster.scores())


def test_state_of_a_later_format_is_copied_and_not_taken_apart(tmp_path: Path) -> None:
    scenario, path = worked(), tmp_path / "state.jsonl"
    with_format(scenario, 1, STATE_FORMAT + 1)
    export_state(scenario.cluster, scenario.settings, path, unseen, dry_run=False)
    import_state(scenario.cluster, scenario.settings, path, unseen, replace=True, start=None, dry_run=False)
    assert writer(scenario, 1).format == STATE_FORMAT + 1
    with pytest.raises(BrokerError, match=r"partition 1: version 9\.9 has written the state in format"):
        restart_topic(scenario.cluster, scenario.settings, USAGE, unseen, dry_run=False)
    for topic in INPUTS:
        scenario.cluster.counts[topic] = 8
    with pytest.raises(BrokerError, match=r"use version 9\.9 or a later one"):
        repartition_state(scenario.cluster, settings_of(8), tmp_path / "before", unseen, dry_run=False)


def test_a_damaged_writer_record_is_named_and_a_rebuild_replaces_it(tmp_path: Path) -> None:
    scenario = worked()
    scenario.cluster.append(CHANGELOG, 3, WRITER_KEY, b"{not JSON")
    with pytest.raises(BrokerError, match=r"partition 3 offset \d+ key b'w' cannot be read: rebuild the partition"):
        export_state(scenario.cluster, scenario.settings, tmp_path / "f", unseen, dry_run=False)
    rebuild_state(scenario.cluster, scenario.settings, 3, unseen, dry_run=False)
    scenario.work(AFTER, AS_OF_MS)
    scenario.assert_exact()


def test_only_another_namespace_is_a_shadow() -> None:
    records = worked().cluster.newest(0)
    assert WRITER_KEY in records
    assert not has_other_namespaces(records)
    assert has_other_namespaces(records | {NAMESPACE_TAG + b"12345678" + STATE_KEY: records[STATE_KEY]})
    assert LIVE_KEY not in records


# -- the history record -----------------------------------------------------------------------------------------------


def incomplete(scenario: Scenario) -> dict[str, int]:
    """Of each account the moment since which the measure `people` has all events."""
    return {
        account: factor["history_since"]
        for account, message in scenario.cluster.scores().items()
        for factor in message["scores"]["health"]["factors"]
        if factor["measure"] == "people" and "history_since" in factor
    }


def lengthened() -> Scenario:
    """A scenario whose policy was replaced by one with a longer window."""
    scenario = worked(SHORT)
    scenario.policy, scenario.plan = LONG, plan_of(LONG)
    scenario.work(AFTER[:50])
    assert incomplete(scenario)
    return scenario


def test_windows_that_are_not_full_are_named_after_the_state_has_moved(tmp_path: Path) -> None:
    scenario = lengthened()
    before = incomplete(scenario)
    for topic in INPUTS:
        scenario.cluster.counts[topic] = 8
    scenario.settings = settings_of(8)
    repartition_state(scenario.cluster, scenario.settings, tmp_path / "before", unseen, dry_run=False)
    records = [scenario.cluster.newest(number) for number in range(8)]
    assert all(HISTORY_KEY in each for each in records if any(key[:1] == b"r" for key in each))
    scenario.work([*AFTER[50:], *FROM_ALL_PARTITIONS], AS_OF_MS)
    after = incomplete(scenario)
    assert before.keys() <= after.keys()
    assert all(after[account] >= since for account, since in before.items())
    restart_topic(scenario.cluster, scenario.settings, TICKETS, unseen, dry_run=False)
    scenario.work([], AS_OF_MS + DAY_MS)
    assert incomplete(scenario) == after


def test_a_rebuild_from_all_events_has_full_windows() -> None:
    scenario = lengthened()
    rebuild_state(scenario.cluster, scenario.settings, None, unseen, dry_run=False)
    scenario.work(AFTER[50:], AS_OF_MS)
    assert not incomplete(scenario)
    scenario.assert_exact(alerts_once=False)


def test_a_rebuild_from_trimmed_topics_names_the_windows_that_are_not_full() -> None:
    scenario = worked(SHORT)
    log = scenario.cluster.logs[USAGE, 1]
    scenario.cluster.removed[USAGE, 1] = len(log) - 3
    first_ms = log[-3].timestamp
    rebuild_state(scenario.cluster, scenario.settings, None, unseen, dry_run=False)
    scenario.work([])
    named = incomplete(scenario)
    assert set(named.values()) == {first_ms}
    homes = {record.key.decode() for record in scenario.cluster.logs[SCORES, 1]}
    assert named.keys() == homes & scenario.cluster.scores().keys()
    scenario.work([])  # restored from a commit: the record names the columns now
    assert incomplete(scenario) == named
    scenario.work(AFTER, AS_OF_MS)
    assert not incomplete(scenario), "three days later the window of three days is full"


def test_an_account_set_aside_has_the_same_full_windows_as_the_others(tmp_path: Path) -> None:
    scenario = lengthened()
    named = incomplete(scenario)
    account = min(named)
    done = quarantine(
        scenario.cluster, scenario.settings, scenario.plan, account, tmp_path / "q", progress=unseen, dry_run=False
    )
    assert done.published >= 1
    assert incomplete(scenario)[account] == named[account]


def test_the_state_of_a_rebuild_names_no_policy_and_no_history() -> None:
    scenario = worked()
    rebuild_state(scenario.cluster, scenario.settings, None, unseen, dry_run=False)
    for number in range(4):
        records = scenario.cluster.newest(number)
        assert HISTORY_KEY not in records
        assert "policy" not in state_of(records)
        assert json.loads(records[WRITER_KEY])["worker"] == "`vitals state rebuild`"

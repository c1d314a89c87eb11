"""Row 25, and 15: the changelog is lost, wrongly configured, cut, older than the offsets, or unreadable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kafka import OffsetAndMetadata, TopicPartition

from agents.kafka.topics import describe_topics
from agents.settings.settings import load_settings
from schemas.sources import BUILT_IN
from tests.faults import topic_log, verdict
from tests.faults.deployment import GROUP, Deployment
from tests.faults.events import DAY_MS, END_MS, USAGE, company
from tests.faults.refusals import (
    CHANGELOG,
    append,
    configure,
    create,
    cut,
    delete,
    records_of,
    refusal_of,
    take_way_out,
)
from tests.unit.agents.cli.invoke import vitals

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def later() -> list[topic_log.Message]:
    """More events of the same accounts. No profiles: of two versions compaction may remove one before it is judged."""
    events = company(25, 20, seed=8, end_ms=END_MS + 30 * DAY_MS)
    return [message for message in events if message.topic != "accounts"]


def worked(deployment: Deployment) -> int:
    """Let a worker settle a company's events and stop; returns how many scores it has published."""
    deployment.send(company(25, 20))
    worker = deployment.start()
    deployment.until_done()
    deployment.judge()
    assert deployment.stop(worker) == 0
    return published(deployment)


def published(deployment: Deployment) -> int:
    return len(deployment.documents(verdict.SCORES))


def ends_exactly(deployment: Deployment) -> dict[str, int]:
    """Start a worker again, with more events, and compare everything with the oracle."""
    deployment.start()
    deployment.until_done()
    return deployment.judge()


def test_a_changelog_with_the_cleanup_delete_is_refused_until_it_is_mended(
    tmp_path: Path, fault: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VITALS_GROUP", GROUP)
    with Deployment(tmp_path) as deployment:
        scores = worked(deployment)
        shown = vitals("topics", "--broker", deployment.kafka.url)
        assert (shown.exit_code, "see below" in shown.stdout) == (0, False), shown.stdout
        configure(deployment, CHANGELOG, cleanup_policy="delete", max_message_bytes="8388608")
        refusal = refusal_of(deployment, deployment.start())
        assert CHANGELOG in refusal["error"]
        assert "cleanup.policy is delete, and compact is needed" in refusal["error"]
        command = f"--entity-name {CHANGELOG} --add-config cleanup.policy=compact"
        assert command in refusal["error"]
        assert published(deployment) == scores
        shown = vitals("topics", "--broker", deployment.kafka.url)
        assert (shown.exit_code, command in shown.stdout) == (1, True), shown.stdout
        checked = vitals("check", "--broker", deployment.kafka.url)
        assert (checked.exit_code, command in checked.stdout) == (1, True), checked.stdout
        configure(deployment, CHANGELOG, cleanup_policy="compact", max_message_bytes="8388608")
        figures = ends_exactly(deployment)
    fault("25 changelog with cleanup.policy=delete", figures)


def test_an_output_that_is_not_compacted_is_a_problem_and_no_reason_to_stop(tmp_path: Path, fault: Callable) -> None:
    with Deployment(tmp_path) as deployment:
        deployment.send(company(5, 20))
        configure(deployment, verdict.SCORES, cleanup_policy="delete", retention_ms="-1")
        states = describe_topics(load_settings(broker=deployment.kafka.url, group=GROUP), BUILT_IN)
        (problem,) = (state for state in states if state.problem)
        assert (problem.topic.name, problem.refused) == (verdict.SCORES, False)
        worker = deployment.start()
        deployment.until_done()
        assert '"event": "topic_problem"' in worker.log_text()
        figures = deployment.judge()
    fault("25 output that is not compacted", figures)


def test_a_lost_changelog_is_refused_and_nothing_is_published(tmp_path: Path, fault: Callable) -> None:
    with Deployment(tmp_path) as deployment:
        scores = worked(deployment)
        cut(deployment, USAGE, 1, 5)
        delete(deployment, CHANGELOG)
        create(deployment, CHANGELOG)
        refusal = refusal_of(deployment, deployment.start())
        assert (refusal["topic"], refusal["error"].startswith(f"changelog {CHANGELOG} partition ")) == (CHANGELOG, True)
        assert "has no state: " in refusal["error"]
        assert f"{USAGE} is committed up to offset " in refusal["error"]
        assert f"`vitals state rebuild --partition {refusal['partition']}`: " in refusal["way_out"]
        assert refusal["partition"] != 1 or f"{USAGE} from offset 5" in refusal["way_out"]
        assert published(deployment) == scores
        assert all(not records_of(deployment, CHANGELOG, number) for number in range(topic_log.PARTITIONS))
    fault("25 changelog lost", {"refused": 1, "scores": scores})


def test_a_changelog_older_than_the_offsets_is_refused(tmp_path: Path, fault: Callable) -> None:
    with Deployment(tmp_path) as deployment:
        events = company(25, 20)
        deployment.send(events[: len(events) // 2])
        worker = deployment.start()
        deployment.until_done()
        deployment.stop(worker)
        backup = [records_of(deployment, CHANGELOG, number) for number in range(topic_log.PARTITIONS)]
        deployment.send(events[len(events) // 2 :])
        worker = deployment.start()
        deployment.until_done()
        figures = deployment.judge()
        deployment.stop(worker)
        newest = [records_of(deployment, CHANGELOG, number) for number in range(topic_log.PARTITIONS)]
        scores = published(deployment)
        delete(deployment, CHANGELOG)
        create(deployment, CHANGELOG)
        for number, pairs in enumerate(backup):
            append(deployment, CHANGELOG, number, pairs)
        refusal = refusal_of(deployment, deployment.start())
        assert "is older than the committed offsets: " in refusal["error"]
        assert "is committed up to offset " in refusal["error"]
        assert ", and the changelog is at " in refusal["error"]
        assert published(deployment) == scores
        for number, pairs in enumerate(newest):
            append(deployment, CHANGELOG, number, pairs)
        figures = ends_exactly(deployment)
    fault("25 changelog older than the offsets", figures)


def test_a_changelog_whose_beginning_was_deleted_is_refused(tmp_path: Path, fault: Callable) -> None:
    with Deployment(tmp_path) as deployment:
        scores = worked(deployment)
        configure(deployment, CHANGELOG, cleanup_policy="compact,delete", max_message_bytes="8388608")
        cut(deployment, CHANGELOG, 2, 10)
        configure(deployment, CHANGELOG, cleanup_policy="compact", max_message_bytes="8388608")
        refusal = refusal_of(deployment, deployment.start())
        assert f"changelog {CHANGELOG} partition 2 begins at offset 10, not 0" in refusal["error"]
        assert published(deployment) == scores
        assert take_way_out(deployment, refusal) == "state rebuild --partition 2"
        figures = ends_exactly(deployment)
    fault("25 changelog cut at its beginning, rebuilt", figures)


def test_a_lost_changelog_is_rebuilt_by_the_commands_that_refusals_name(tmp_path: Path, fault: Callable) -> None:
    with Deployment(tmp_path) as deployment:
        worked(deployment)
        delete(deployment, CHANGELOG)
        create(deployment, CHANGELOG)
        refusals = (refusal_of(deployment, deployment.start()) for _ in range(topic_log.PARTITIONS))
        commands = {take_way_out(deployment, refusal) for refusal in refusals}
        assert commands == {f"state rebuild --partition {number}" for number in range(topic_log.PARTITIONS)}
        deployment.send(later())
        figures = ends_exactly(deployment)
    fault("25 changelog lost, rebuilt", figures)


@pytest.mark.parametrize(("kind", "command"), [("r", "state quarantine "), ("s", "state rebuild --partition 3")])
def test_a_record_that_can_not_be_read_is_mended_by_the_command_that_the_refusal_names(
    tmp_path: Path, fault: Callable, kind: str, command: str
) -> None:
    with Deployment(tmp_path) as deployment:
        worked(deployment)
        key = next(key for key, _ in records_of(deployment, CHANGELOG, 3) if key and key[:1] == kind.encode())
        append(deployment, CHANGELOG, 3, [(key, b"{not JSON")])
        refusal = refusal_of(deployment, deployment.start())
        aside = ["--to", tmp_path / "aside.jsonl"] if kind == "r" else []
        assert take_way_out(deployment, refusal, *aside).startswith(command)
        deployment.send(later())
        figures = ends_exactly(deployment)
    fault(f"25 changelog record {kind} unreadable, mended by its command", figures)


@pytest.mark.parametrize("kind", ["r", "p", "s", "l", "w", "?"])
def test_a_record_that_can_not_be_read_is_named_and_a_good_one_mends_it(
    tmp_path: Path, fault: Callable, kind: str
) -> None:
    with Deployment(tmp_path) as deployment:
        scores = worked(deployment)
        newest = {key: value for key, value in records_of(deployment, CHANGELOG, 3) if key is not None}
        key, good = next(((key, value) for key, value in newest.items() if key[:1] == kind.encode()), (b"?new", None))
        offset = append(deployment, CHANGELOG, 3, [(key, b"{not JSON")])
        refusal = refusal_of(deployment, deployment.start())
        assert refusal["error"].startswith(f"changelog {CHANGELOG} partition 3 offset {offset}: ")
        named = {"topic": CHANGELOG, "partition": 3, "offset": offset, "key": repr(key)}
        assert {name: refusal[name] for name in named} == named
        if kind in "rp":
            account = refusal["account"]
            assert key.endswith(account.encode())
            assert f"`vitals state quarantine {account}`" in refusal["way_out"]
        assert "`vitals state rebuild --partition 3`" in refusal["way_out"]
        assert published(deployment) == scores
        append(deployment, CHANGELOG, 3, [(key, good)])
        figures = ends_exactly(deployment)
    fault(f"25 changelog record {kind} unreadable", figures)


def test_inputs_trimmed_past_the_position_are_counted_and_logged(tmp_path: Path, fault: Callable) -> None:
    with Deployment(tmp_path) as deployment:
        worked(deployment)
        more = later()
        deployment.send(more)
        ends = topic_log.ends(deployment.kafka.bootstrap, [USAGE])
        for (_, partition), end in ends.items():
            cut(deployment, USAGE, partition, end)
        worker = deployment.start()
        lost = sum(1 for message in more if message.topic == USAGE)

        def removed() -> float:
            return sum(worker.samples().get("vitals_removed_records_total", {}).values())

        deployment.until(lambda: removed() == lost, f"{lost} removed records are counted")
        assert '"event": "records_removed"' in worker.log_text()
        assert '"level": "error"' in worker.log_text()
    fault("25 inputs trimmed past the position", {"removed": lost})


def test_offsets_that_people_moved_have_no_effect(tmp_path: Path, fault: Callable) -> None:
    with Deployment(tmp_path) as deployment:
        worked(deployment)
        deployment.send(later())
        ends = topic_log.ends(deployment.kafka.bootstrap, verdict.SOURCES)
        with deployment.kafka.admin() as admin:
            moved = {TopicPartition(*tp): OffsetAndMetadata(end, "", -1) for tp, end in ends.items()}
            admin.alter_group_offsets(GROUP, moved)
        figures = ends_exactly(deployment)
    fault("15 committed offsets moved to the end", figures)

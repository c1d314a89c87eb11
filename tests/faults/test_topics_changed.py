"""Row 26: an input is deleted and made anew, or gets more partitions, while workers run and while they are stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults import topic_log, verdict
from tests.faults.deployment import Deployment
from tests.faults.events import DAY_MS, END_MS, TEMPLATE, USAGE, company
from tests.faults.refusals import add_partitions, create, delete, refusal_of, take_way_out
from tests.oracle import engine as oracle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

MORE = 2 * topic_log.PARTITIONS


def refused_again(deployment: Deployment, what: str) -> None:
    """A supervisor starts the worker again: it is refused, and nothing more is published."""
    before = len(deployment.documents(verdict.SCORES))
    refusal = refusal_of(deployment, deployment.start())
    assert what in refusal["error"] + refusal["way_out"]
    assert len(deployment.documents(verdict.SCORES)) == before


@pytest.mark.parametrize("records", ["fewer", "more"])
def test_an_input_made_anew_while_stopped_is_refused_before_a_record_is_skipped(
    tmp_path: Path, fault: Callable, records: str
) -> None:
    with Deployment(tmp_path) as deployment:
        deployment.send(company(25, 20))
        worker = deployment.start()
        deployment.until_done()
        deployment.stop(worker)
        before = topic_log.read(deployment.kafka.bootstrap, [USAGE])[USAGE]
        delete(deployment, USAGE)
        create(deployment, USAGE)
        days = 40 if records == "more" else 2
        again = company(25, days, seed=8, end_ms=END_MS + 30 * DAY_MS)
        sent = deployment.send(message for message in again if message.topic == USAGE)
        refusal = refusal_of(deployment, deployment.start())
        assert refusal["topic"] == USAGE
        assert f"topic {USAGE} was deleted and created again (topic id " in refusal["error"]
        assert f"`vitals state rebuild --topic {USAGE}`" in refusal["way_out"]
        refused_again(deployment, f"topic {USAGE} was deleted and created again")
        assert take_way_out(deployment, refusal) == f"state rebuild --topic {USAGE}"
        deployment.start()
        deployment.until(lambda: not deployment.not_committed(), "all records committed")
        differences = verdict.score_differences(expected(deployment, before), deployment.scores())
        assert not differences, differences[:5]
    fault(f"26 input made anew while stopped, {records} records", {"new records": sent, "refused": 2})


def expected(deployment: Deployment, before: list[topic_log.Stored]) -> dict[str, oracle.AccountScore]:
    """The scores of the input topics and of records that were in an input before."""
    log = topic_log.read(deployment.kafka.bootstrap, verdict.SOURCES)
    records = [
        oracle.Record(rec.topic, rec.partition, shift + rec.offset, rec.timestamp_ms, rec.key or b"", rec.value)
        for shift, stored in ((0, before), *((1_000_000, each) for each in log.values()))
        for rec in stored
    ]
    return oracle.final_scores(records, TEMPLATE, verdict.FAR_FUTURE_MS)


def test_an_input_made_anew_while_a_worker_runs_ends_it(tmp_path: Path, fault: Callable) -> None:
    with Deployment(tmp_path) as deployment:
        deployment.send(company(25, 20))
        worker = deployment.start()
        deployment.until_done()
        delete(deployment, USAGE)
        create(deployment, USAGE)
        sent = deployment.send(message for message in company(25, 20, seed=8) if message.topic == USAGE)
        refusal = refusal_of(deployment, worker)
        assert f"topic {USAGE} was deleted" in refusal["error"]
        assert f"`vitals state rebuild --topic {USAGE}`" in refusal["way_out"]
        refused_again(deployment, f"topic {USAGE} was deleted and created again")
    fault("26 input made anew while a worker runs", {"new records": sent, "refused": 2})


def test_partitions_added_while_a_worker_runs_end_it(tmp_path: Path, fault: Callable) -> None:
    with Deployment(tmp_path) as deployment:
        deployment.send(company(25, 20))
        worker = deployment.start()
        deployment.until_done()
        add_partitions(deployment, [USAGE], MORE)
        refusal = refusal_of(deployment, worker)
        assert f"topic {USAGE} has {MORE} partitions now, and this worker reads 4" in refusal["error"]
        assert f"`vitals state repartition --partitions {MORE}`" in refusal["way_out"]
        refused_again(deployment, f"`vitals state repartition --partitions {MORE}`")
        figures = {"sent": deployment.input_log().sent, "refused": 2}
    fault("26 partitions added while a worker runs", figures)


def test_partitions_added_while_stopped_are_refused_at_the_start(tmp_path: Path, fault: Callable) -> None:
    with Deployment(tmp_path) as deployment:
        add_partitions(deployment, verdict.SOURCES, MORE)
        refused_again(deployment, f"`vitals state repartition --partitions {MORE}`")
    fault("26 partitions added while stopped", {"refused": 1})

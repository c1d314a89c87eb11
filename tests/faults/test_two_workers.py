"""Row 27: the same instance name twice; two policies, settings or versions in one group."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import msgspec
import pytest

from stream.recovery.writer import WRITER_KEY, decode_writer, encode_writer
from tests.faults import topic_log, verdict
from tests.faults.deployment import SLOWLY, Deployment
from tests.faults.events import DAY_MS, END_MS, TEMPLATE, company
from tests.faults.refusals import CHANGELOG, append, records_of, refusal_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.worker_process import WorkerProcess

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

OTHER = TEMPLATE.replace("weight = 30", "weight = 20", 1)


def apart(folder: Path) -> dict[str, str]:
    """Variables of a worker that shares no lock files with the others of this host, as in another container."""
    folder.mkdir()
    return {"TMPDIR": str(folder)}


def later(seed: int) -> list[topic_log.Message]:
    """More events of the same accounts. No profiles: of two versions compaction may remove one before it is judged."""
    events = company(25, 20, seed=seed, end_ms=END_MS + seed * 30 * DAY_MS)
    return [message for message in events if message.topic != "accounts"]


def owners(deployment: Deployment) -> list[str]:
    """The policies that each partition was taken over with, in order."""
    return [
        f"{number}:{decode_writer(value).policy}"
        for number in range(topic_log.PARTITIONS)
        for key, value in records_of(deployment, CHANGELOG, number)
        if key == WRITER_KEY and value is not None
    ]


def test_a_second_worker_of_the_same_name_ends_and_the_first_goes_on(tmp_path: Path, fault: Callable) -> None:
    with Deployment(tmp_path) as deployment:
        sent = deployment.send(company(25, 20))
        first = deployment.start()
        deployment.until_done()
        for _ in range(3):  # as its supervisor starts it
            refusal = refusal_of(deployment, deployment.start())
            assert "have the instance name 'one'" in refusal["error"]
            assert "VITALS_INSTANCE of its own" in refusal["way_out"]
        sent += deployment.send(later(1))
        deployment.until_done()
        assert deployment.workers == [first]
        figures = deployment.judge()
        assert figures["sent"] == sent == figures["applied"]
    fault("27 same instance name twice on one host", figures)


def test_when_the_name_of_a_frozen_worker_is_taken_one_of_the_two_ends(tmp_path: Path, fault: Callable) -> None:
    """Which one depends on whether the broker still knew the session of the frozen one when its name was taken."""
    with Deployment(tmp_path, broker=SLOWLY) as deployment:
        sent = deployment.send(company(25, 20))
        first = deployment.start()
        deployment.until_settled(sent / 10)
        os.kill(first.pid, signal.SIGSTOP)
        deployment.workers.remove(first)
        deployment.kills += 1
        second = deployment.start(variables=apart(tmp_path / "apart"))
        deployment.until_done()
        deployment.workers.remove(second)
        os.kill(first.pid, signal.SIGCONT)
        both = [first, second]
        deployment.until(lambda: not all(worker.is_running for worker in both), "one of the two ends")
        (ended,) = (worker for worker in both if not worker.is_running)
        deployment.workers += both
        refusal = refusal_of(deployment, ended)
        assert "have the instance name 'one'" in refusal["error"]
        sent += deployment.send(later(1))
        deployment.until_done()
        assert deployment.workers == [worker for worker in both if worker is not ended]
        figures = deployment.judge()
        assert figures["sent"] == sent == figures["applied"]
    fault("27 instance name taken from a frozen worker", figures)


def of_policy(deployment: Deployment, name: str, text: str) -> WorkerProcess:
    policy = deployment.folder / f"policy-of-{name}.toml"
    policy.write_text(text, "utf-8")
    return deployment.start(name, policy=policy)


def test_two_policies_in_one_group_do_not_undo_each_other(tmp_path: Path, fault: Callable) -> None:
    """Each worker is started again whenever it ends, by a supervisor that does not know better."""
    with Deployment(tmp_path) as deployment:
        deployment.send(company(25, 20))
        old = of_policy(deployment, "one", TEMPLATE)
        deployment.until_done()
        new = of_policy(deployment, "two", OTHER)
        deployment.until(lambda: bool(new.settled()), "the new policy has partitions")
        deployment.send(later(1))
        deployment.kill(old)
        deployment.until_done()
        for seed in (2, 3, 4):
            deployment.send(later(seed))
            refusal = refusal_of(deployment, of_policy(deployment, "one", TEMPLATE))
            assert "two configurations run in one group: worker 'two' on " in refusal["error"]
            assert "replaced the configuration of worker 'one' on " in refusal["error"]
            assert "worker 'two' on " in refusal["way_out"]
            deployment.until_done()
        changed = [change for change in deployment.documents(verdict.CHANGES) if change["cause"] == "policy"]
        accounts = len(deployment.scores())
        assert len(changed) <= accounts, "no account went back to the earlier policy"
        deployment.policy = OTHER
        differences = verdict.score_differences(deployment.input_log().scores(OTHER), deployment.scores())
        assert not differences, differences[:5]
    fault("27 two policies in one group", {"refused": 3, "accounts": accounts, "changes by policy": len(changed)})


def test_a_rolling_change_of_policy_goes_through(tmp_path: Path, fault: Callable) -> None:
    with Deployment(tmp_path) as deployment:
        sent = deployment.send(company(25, 20))
        workers = {name: of_policy(deployment, name, TEMPLATE) for name in ("one", "two")}

        def both_work() -> bool:
            return all(worker.settled().total() for worker in workers.values())

        deployment.until(both_work, "both have partitions")
        for number, name in enumerate(workers, 1):
            assert deployment.stop(workers[name]) == 0
            workers[name] = of_policy(deployment, name, OTHER)
            sent += deployment.send(later(number))
            deployment.until(both_work, "both have partitions again")
            deployment.until_done()
        deployment.policy = OTHER
        figures = deployment.judge()
        assert figures["sent"] == sent == figures["applied"]
    fault("27 rolling change of policy", figures)


def test_a_later_state_format_is_refused_with_both_versions(tmp_path: Path, fault: Callable) -> None:
    with Deployment(tmp_path) as deployment:
        deployment.send(company(5, 20))
        worker = deployment.start()
        deployment.until_done()
        deployment.stop(worker)
        saved = dict(records_of(deployment, CHANGELOG, 0))[WRITER_KEY]
        assert saved is not None
        before = decode_writer(saved)
        later_one = msgspec.structs.replace(before, version="9.0.0", format=before.format + 1)
        append(deployment, CHANGELOG, 0, [(WRITER_KEY, encode_writer(later_one))])
        refusal = refusal_of(deployment, deployment.start())
        assert "(version 9.0.0, policy " in refusal["error"]
        assert f"reads format {before.format} at most" in refusal["error"]
        assert refusal["way_out"] == "run version 9.0.0 or a later one"
        append(deployment, CHANGELOG, 0, [(WRITER_KEY, saved)])
        deployment.start()
        deployment.until_done()
        figures = deployment.judge()
    fault("27 state of a later format", figures)

"""Row 16: one account has a million users and half of all events."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.faults import giant, topic_log
from tests.faults.deployment import Deployment
from tests.faults.events import DAY_MS
from tests.faults.giant import GIANT, OTHER_USERS, OTHERS
from tests.faults.refusals import CHANGELOG

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

USERS = 1_000_000
PAGE_USERS = 512
SECONDS = 6.0
PHASES = (False, True, False, True)
"""Whether the giant has events too: in turn, so that a machine that gets slower or faster changes both."""
TIMES_SLOWER = 10
RECORD_LIMIT = 1_048_588
"""Kafka's default for the largest batch; a record of this size fits no batch."""

POLICY = """
name = "giant"

[measures.people]
source = "product-usage"
stat = "distinct_users"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 2000000 }
weight = 50

[measures.activity]
source = "product-usage"
stat = "count"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 4000000 }
weight = 50

[scores.health]
min_change = 1.0
bands = [{ name = "all", from = 0 }]
"""


def values_of(deployment: Deployment) -> dict[str, dict[str, float]]:
    """The last published value of each measure, by account."""
    return {
        account: {factor["measure"]: factor["value"] for factor in score["scores"]["health"]["factors"]}
        for account, score in deployment.scores().items()
    }


def saved_bytes(deployment: Deployment) -> tuple[Counter[str], dict[str, int]]:
    """Records of the giant in the changelog by kind, and the bytes of the largest of each kind."""
    records, largest = Counter[str](), dict[str, int]()
    for record in topic_log.read(deployment.kafka.bootstrap, [CHANGELOG])[CHANGELOG]:
        key, size = record.key or b"", len(record.key or b"") + len(record.value or b"")
        kind = chr(key[0])
        largest[kind] = max(size, largest.get(kind, 0))
        if key.endswith(GIANT.encode()):
            records[kind] += 1
    return records, largest


def test_one_account_with_a_million_users_and_half_of_all_traffic(tmp_path: Path, fault: Callable) -> None:
    yesterday = time.time_ns() // 1_000_000 - DAY_MS
    with Deployment(tmp_path, policy=POLICY, time="live", merge_wait_s=1, commit_interval_s=1) as deployment:
        worker = deployment.start()
        deployment.until(worker.is_ready, "ready")
        sent = giant.send(deployment.kafka.bootstrap, giant.both_halves(USERS, yesterday))
        deployment.until_done()
        deployment.kill(worker)
        worker = deployment.start()
        restored = deployment.until(lambda: worker.is_ready() and worker.settled().total() == sent, "restored")
        waited: dict[bool, list[int]] = {False: [], True: []}
        for number, beside in enumerate(PHASES):
            phase = giant.Phase(f"phase{number}", SECONDS, giant_users=USERS if beside else 0)
            sent += phase.send(deployment.kafka.bootstrap)
            deployment.until_done()
            waited[beside] += phase.latencies_ms(deployment.kafka.bootstrap)
        values = values_of(deployment)
        extra = int(giant.RATE * SECONDS)
        assert values[GIANT] == {"people": USERS, "activity": USERS + 2 * extra}
        for account in OTHERS:
            assert values[account]["people"] == OTHER_USERS, account
        assert sum(value["activity"] for value in values.values()) == sent
        records, largest = saved_bytes(deployment)
    alone, beside_it = (float(np.percentile(waited[beside], 99)) for beside in (False, True))
    assert records["r"]
    assert records["p"] >= USERS / PAGE_USERS
    assert max(largest.values()) < RECORD_LIMIT, largest
    assert max(largest["r"], largest["p"]) < RECORD_LIMIT / 100, "rows and pages do not grow with the users"
    assert beside_it < TIMES_SLOWER * alone, f"p99 of others: {alone:.0f} ms, and {beside_it:.0f} ms beside the giant"
    figures = {
        "sent": sent,
        "users": USERS,
        "largest row (B)": largest["r"],
        "largest page (B)": largest["p"],
        "largest record (B)": max(largest.values()),
        "p99 of others (ms)": round(alone),
        "p99 beside it (ms)": round(beside_it),
        "restored within (s)": round(restored),
    }
    fault("16 one account with 1 M users and half of all traffic", figures)

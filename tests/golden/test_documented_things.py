"""Open things of docs/reference/policy/measures.md in any order; the numbers of the page are in `cases`."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.golden.replays import Log, replay, values
from tests.golden.test_documented_policies import SHOWN

if TYPE_CHECKING:
    from pathlib import Path


def invoice(log: Log, account: str, number: str, kind: str, *days_ago: int) -> None:
    for day in days_ago:
        log.add("billing", account, day, kind=kind, properties={"invoice_id": number})


def backlog() -> Log:
    # T1 was opened 200 days ago and never closed; T2 is solved; T3 was solved and is open again since 5 days; T4 is of
    # today. I1 failed four times and was then paid, I2 failed twice, I3 was paid 100 days ago; one has no id.
    log = (
        Log()
        .add("support-tickets", "a", 200, ticket_id="T1")
        .add("support-tickets", "a", 3, ticket_id="T1", status="updated")
    )
    log.add("support-tickets", "a", 40, ticket_id="T2").add("support-tickets", "a", 39, ticket_id="T2", status="solved")
    for day, status in ((90, "opened"), (80, "solved"), (5, "reopened"), (1, "updated")):
        log.add("support-tickets", "a", day, ticket_id="T3", status=status)
    log.add("support-tickets", "a", 0, ticket_id="T4")
    invoice(log, "a", "I1", "payment_failed", 30, 27, 24, 21)
    invoice(log, "a", "I1", "invoice_paid", 20)
    invoice(log, "a", "I2", "payment_failed", 10, 7)
    invoice(log, "a", "I3", "invoice_paid", 100)
    return log.add("billing", "a", 2, kind="payment_failed")


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_events_and_repeats_do_not_matter(tmp_path: Path, seed: int) -> None:
    log = backlog()
    log.lines += random.Random(seed).choices(log.lines, k=6)
    random.Random(seed).shuffle(log.lines)
    score = replay(tmp_path, SHOWN["backlog"], log).score("a")
    assert values(score) == {"open_tickets": 3, "oldest_ticket": 200, "failed_invoices": 1, "paid_invoices": 1}

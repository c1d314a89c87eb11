"""Every transition of the table of statuses, caused as the table says, and no other."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from stream.accounts.status import STATES, TRANSITIONS, Status, is_listed
from stream.engine.statistics import accounts_by_band, accounts_by_state
from tests.driving.alert_histories import DAY, POLICY, START, Scenario

STATUS = POLICY.replace('dormant_after = "365d"', 'dormant_after = "5d"').replace(
    "[measures.usage]", '[new_accounts]\nmin_age = "2d"\n[measures.usage]', 1
)
A, N, D, E = Status.ACTIVE, Status.NEW, Status.NO_DATA, Status.ENDED

CAUSES = {
    (N, A): [("use", 0.1), ("pass", 2)],
    (N, D): [("profile", 0), ("use", 0.1), ("pass", 5)],
    (N, E): [("use", 0.1), ("cancel", 0.2)],
    (A, D): [("use", 0.1), ("pass", 2), ("pass", 5)],
    (A, E): [("use", 0.1), ("pass", 2), ("cancel", 2.5)],
    (D, A): [("use", 0.1), ("pass", 5), ("use", 5.5)],
    (D, N): [("override", 0.1), ("use", 0.2)],
    (D, E): [("use", 0.1), ("pass", 5), ("end", 5.5)],
    (E, A): [("use", 0.1), ("pass", 2), ("cancel", 2.5), ("use", 2.6)],
    (E, N): [("use", 0.1), ("cancel", 0.2), ("use", 0.3)],
    (E, D): [("use", 0.1), ("end", 0.2), ("pass", 5), ("back", 5.5)],
}
"""For each transition what happens, and on which day; the last step is the one that causes it."""


PROFILES: dict[str, dict[str, int | None]] = {"end": {"ended_at": START}, "back": {"ended_at": None}, "profile": {}}


def happen(scenario: Scenario, what: str, day: float) -> None:
    if what == "use":
        scenario.use(day, 8)
    elif what == "cancel":
        scenario.take(day, "billing", kind="cancelled")
    elif what == "override":
        scenario.take(day, "controls", kind="override", score=9, reason="r", expires_at=START + 90 * DAY)
    elif what == "pass":
        scenario.pass_to(day)
    else:
        scenario.take(day, "accounts", **PROFILES[what])


def status_of(scenario: Scenario) -> Status:
    accounts = scenario.drive.engine.accounts
    return Status(int(accounts.status[accounts.index.rows(["acme"])[0]]))


@pytest.mark.parametrize("transition", sorted(TRANSITIONS), ids=lambda pair: f"{pair[0].name}-{pair[1].name}")
def test_every_transition_of_the_table_occurs(transition: tuple[Status, Status]) -> None:
    scenario = Scenario("", window="5d", policy=STATUS)
    *steps, last = CAUSES[transition]
    if transition == (N, D):  # an account that is new for longer than it has data
        scenario = Scenario("", window="5d", policy=STATUS.replace('min_age = "2d"', 'min_age = "9d"'))
    for what, day in steps:
        happen(scenario, what, day)
    assert status_of(scenario) == transition[0]
    happen(scenario, *last)
    scenario.drive.flush()
    assert status_of(scenario) == transition[1]
    assert (scenario.drive.scores[-1].state, accounts_by_state(scenario.drive.engine)) == (
        STATES[transition[1]],
        dict.fromkeys(("active", "new", "no-data", "ended"), 0) | {STATES[transition[1]] or "active": 1},
    )


def test_an_account_does_not_become_new_again() -> None:
    every = set(product((A, N, D, E), repeat=2)) - {(status, status) for status in (A, N, D, E)}
    assert every - TRANSITIONS == {(A, N)}
    assert CAUSES.keys() == TRANSITIONS


@pytest.mark.parametrize(("day", "status"), [(36, E), (35, D)])
def test_a_late_event_ends_no_account(day: int, status: Status) -> None:
    """The windows of five days begin with day 36."""
    scenario = Scenario("", window="5d", policy=STATUS)
    scenario.use(0.1, 8)
    scenario.use(40.5, 1, account="other")
    scenario.take(day + 0.5, "billing", kind="cancelled")
    scenario.drive.flush()
    assert status_of(scenario) == status
    assert scenario.drive.engine.settled["billing", "late"] == (status == D)


def test_metrics_count_an_account_by_band_only_while_it_has_a_score() -> None:
    scenario = Scenario("", window="5d", policy=STATUS)
    scenario.use(0.1, 8)
    assert [counts.tolist() for counts in accounts_by_band(scenario.drive.engine)] == [[0, 0, 1]]
    happen(scenario, "cancel", 0.2)
    assert [counts.tolist() for counts in accounts_by_band(scenario.drive.engine)] == [[0, 0, 0]]
    assert not is_listed(np.array([E, D], dtype=np.int8)).any()

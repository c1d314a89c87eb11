"""Ids of score changes: what differs in any word has another id."""

from __future__ import annotations

from tests.driving.alert_histories import Scenario


def test_a_change_after_a_profile_is_another_than_the_same_change_without_it() -> None:
    """After a crash a replay may put the same events after a profile that came later the first time."""
    found = []
    for learns in (False, True):
        scenario = Scenario("")
        if learns:
            scenario.take(0.1, "accounts", name="Acme")
        scenario.use(0.5, 8)
        (change,) = scenario.drive.changes
        found.append(change)
    plain, learned = found
    assert (plain.to, plain.time) == (learned.to, learned.time)
    assert learned.revision == plain.revision + 1
    assert learned.id != plain.id

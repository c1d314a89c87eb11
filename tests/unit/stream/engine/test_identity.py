"""Ids of score changes: changes that differ in any field have different ids."""

from __future__ import annotations

from tests.driving.alert_histories import Scenario


def test_change_after_a_profile_has_another_id_than_without_it() -> None:
    """After a crash a replay may put the same events after a profile that came later the first time."""
    changes = []
    for with_profile in (False, True):
        scenario = Scenario("")
        if with_profile:
            scenario.take(0.1, "accounts", name="Acme")
        scenario.use(0.5, 8)
        (change,) = scenario.drive.changes
        changes.append(change)
    plain, after_profile = changes
    assert (plain.to, plain.time) == (after_profile.to, after_profile.time)
    assert after_profile.revision == plain.revision + 1
    assert after_profile.id != plain.id

"""Overrides in any order, with time passing, commits and restarts between them: the latest by time applies, or none."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.driving.alert_histories import DAY, START, Scenario
from tests.strategies.effort import examples

WINDOW_DAYS = 3
FIRST_DAY, LAST_DAY = 10, 15


@st.composite
def steps(draw: st.DrawFn) -> tuple[str, float, dict[str, Any]]:
    """A control event of a day, a day that the clock reaches, or a restart."""
    kind = draw(st.sampled_from(("override", "override", "clear_override", "clock", "restart")))
    day = draw(st.integers(FIRST_DAY * 4, LAST_DAY * 4)) / 4
    if kind == "override":
        lasts = draw(st.integers(1, 40)) / 4
        return kind, day, {"reason": "r", "expires_at": START + round((day + lasts) * DAY)}
    return kind, day, {}


@settings(max_examples=examples(300))
@given(st.lists(steps(), min_size=5, max_size=25))
def test_the_latest_override_that_was_not_late_is_the_published_one(history: list[tuple[str, float, Any]]) -> None:
    scenario = Scenario("", window=f"{WINDOW_DAYS}d")
    scenario.use(FIRST_DAY, 1)
    now_ms = START + FIRST_DAY * DAY
    latest: tuple[int, str, dict[str, Any]] = (0, "", {})
    for number, (kind, day, fields) in enumerate(history):
        time_ms = START + round(day * DAY)
        if kind == "restart":
            scenario.restart()
        elif kind == "clock":
            scenario.pass_to(day)
            now_ms = max(now_ms, time_ms // DAY * DAY)
        else:
            identity = f"{number:03}"
            control = {**fields, "score": number} if kind == "override" else {}
            scenario.take(day, "controls", kind=kind, id=identity, **control)
            now_ms = max(now_ms, time_ms)
            if time_ms // DAY > now_ms // DAY - WINDOW_DAYS:
                latest = max(latest, (time_ms, identity, control), key=lambda ranked: ranked[:2])
        active = latest[2] if latest[2].get("expires_at", 0) > now_ms else None
        published = [change.override for change in scenario.drive.changes if change.cause == "override"]
        shown = published[-1] if published else None
        assert scenario.drive.engine.as_of == now_ms
        assert (shown and (shown.score, shown.expires_at)) == (active and (active["score"], active["expires_at"]))
        assert all(before != after for before, after in zip([None, *published], published, strict=False))
        accounts = scenario.drive.engine.accounts
        assert bool(accounts.overrides) == (active is not None)
        assert not accounts.overrides.keys() & accounts.ended_overrides.keys()
    scenario.pass_to(LAST_DAY + 50)
    scenario.drive.save()
    assert not scenario.drive.engine.accounts.overrides
    assert not scenario.drive.engine.accounts.ended_overrides

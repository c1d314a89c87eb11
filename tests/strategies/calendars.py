"""Hypothesis strategies for the table `calendar` of a policy: weekdays that count, and holidays in the time of logs.

Must not know the engine. Called by the strategies of policies.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.strategies.events import NOW_MS

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
TODAY = datetime.fromtimestamp(NOW_MS / 1000, tz=UTC).date()


@st.composite
def calendars(draw: DrawFn) -> dict[str, Any]:
    """Draw a table, with or without each of its keys."""
    table: dict[str, Any] = {}
    if draw(st.booleans()):
        table["weekdays"] = draw(st.lists(st.sampled_from(WEEKDAYS), min_size=1, unique=True))
    if draw(st.booleans()):
        days = draw(st.lists(st.integers(-25, 12), min_size=1, max_size=6))
        table["holidays"] = [(TODAY + timedelta(days=day)).isoformat() for day in days]
    return table

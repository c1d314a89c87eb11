"""The oracle's things with a state, and the time to the first event: walks through all events of an account.

Owns a second reading of docs/reference/policy/measures.md for `open`, `open_max_days`, `open_mean_days` and
`days_to_first`. Must not know the product's own code. Called by `tests.oracle.measures`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from tests.oracle.counted import counted, passes
from tests.oracle.policy import DAY_MS
from tests.oracle.profiles import as_day

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.oracle.events import Event
    from tests.oracle.policy import Measure


def open_things(measure: Measure, events: Sequence[Event], as_of_ms: int) -> Fraction | None:
    """Walk through the events of every thing; of those at one time, those that leave it open come first."""
    open_since: dict[str, int | None] = {}
    latest: dict[str, int] = {}
    leaves_open = [(event, passes(event, measure.settings["of"])) for event in counted(measure, events, 0, as_of_ms)]
    for event, is_open in sorted(leaves_open, key=lambda item: (item[0].time_ms, not item[1])):
        name = event.texts.get(measure.settings["field"], "").strip()
        if name:
            day = event.time_ms // DAY_MS
            since = open_since.get(name)
            open_since[name] = (day if since is None else since) if is_open else None
            latest[name] = day
    today = as_of_ms // DAY_MS
    in_window = [name for name, day in latest.items() if not measure.panes or day > today - measure.panes]
    ages = [today - since for name in in_window if (since := open_since[name]) is not None]
    if measure.stat == "open":
        return Fraction(len(ages))
    if not ages:
        return None
    return Fraction(max(ages)) if measure.stat == "open_max_days" else Fraction(sum(ages), len(ages))


def days_to_first(measure: Measure, events: Sequence[Event], as_of_ms: int, profile: Event | None) -> Fraction | None:
    """Return the days from the account's first event, or from a date of its profile, to the first that counts."""
    known = counted(measure, events, 0, as_of_ms)
    if not known:
        return None
    day = known[0].time_ms // DAY_MS
    field = measure.settings.get("field")
    if field is None:
        return Fraction(day - events[0].time_ms // DAY_MS)
    if profile is None:
        return None
    if field.startswith("account."):
        begins = as_day(profile.attributes.get(field.removeprefix("account.")))
    else:
        begins = profile.times_ms[field] // DAY_MS if field in profile.times_ms else None
    return None if begins is None else Fraction(day - begins)

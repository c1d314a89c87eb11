"""One policy after another, both using all of the language: nothing is said twice, and what is said adds up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.engine.engine import Mode
from tests.driving.engine import cuts, driven, partitions, plan_of, plausible_logs
from tests.driving.scores import assert_explained, messages_of, restarted
from tests.strategies.effort import examples
from tests.strategies.policies import RICH
from tests.strategies.rich_policies import rich_policies

if TYPE_CHECKING:
    from tests.oracle.events import Record


@settings(max_examples=examples(40))
@given(st.data(), plausible_logs(partitions=1, **RICH), rich_policies(), rich_policies())
def test_any_policy_after_any_other(data: st.DataObject, log: list[Record], old: str, new: str) -> None:
    (records,) = partitions(log).values()
    half = data.draw(st.integers(0, len(records)))
    first = driven(data.draw(cuts(records[:half])), plan_of(old))
    published = assert_explained(first.changes)
    drive = restarted(first, new)
    drive.changes = []
    for step in data.draw(cuts(records[half:], (Mode.HEAD, Mode.EXACT))):
        drive.turn_to(step.mode)
        drive.take(step.records)
    drive.turn_to(Mode.HEAD)
    drive.flush()
    bands = {score.name: {band.name for band in score.bands} for score in plan_of(new).policy.scores}
    for (_, name), change in published.items():
        if change.band_to not in bands.get(name, set()):
            change.band_to = None  # type: ignore[assignment]  # a band that is gone is published as none
    assert_explained(drive.changes, published)
    before = messages_of(drive.engine)
    again = restarted(drive, new)
    assert messages_of(again.engine) == before
    again.changes = []
    again.flush()
    assert not again.changes

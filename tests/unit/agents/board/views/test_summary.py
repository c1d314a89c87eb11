"""The values that lists can be filtered by, counted in one pass over the accounts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from agents.board.views.summary import MOST_ATTRIBUTES, MOST_VALUES, attributes_of
from schemas.profiles import texts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

VALUES = st.none() | st.booleans() | st.integers(0, 60) | st.floats(0, 3) | st.lists(st.sampled_from("abc"), max_size=3)
PROFILES = st.lists(st.dictionaries(st.sampled_from("pqrst"), VALUES, max_size=5), max_size=70)


def slow(profiles: Sequence[dict[str, Any]]) -> list[tuple[str, int, dict[str, int]]]:
    """Each attribute for itself."""
    listed = []
    for name in sorted({name for profile in profiles for name in profile}):
        counts = Counter(text for profile in profiles for text in set(texts_of(profile.get(name))) or {""})
        having = sum(name in profile for profile in profiles)
        listed.append((name, having, dict(counts) if len(counts) <= MOST_VALUES else {}))
    return listed


@given(PROFILES)
def test_attributes_are_counted_as_each_for_itself_in_one_pass(profiles: list[dict[str, Any]]) -> None:
    counted = attributes_of(iter(profiles))
    assert [(each.name, each.accounts, {v.name: v.accounts for v in each.values}) for each in counted] == slow(profiles)


def test_the_attributes_that_most_accounts_have_are_listed() -> None:
    rare = {f"rare-{number:03}": 1 for number in range(MOST_ATTRIBUTES)}
    counted = attributes_of([{"common": 1}, {"common": 2, **rare}, {}])
    assert [each.name for each in counted] == ["common", *sorted(rare)[:-1]]
    assert {value.name: value.accounts for value in counted[0].values} == {"": 1, "1": 1, "2": 1}

"""What rows keep of merges."""

from __future__ import annotations

import pytest

from stream.accounts.merges import MergedInto, Merges, without_offsets


@pytest.fixture
def merges() -> Merges:
    merges = Merges()
    merges.into[1] = MergedInto("acme", "m1", 5, sent=True)
    merges.passes(2, "birch", "inbox/3/billing", 7)
    merges.passes(2, "birch", "billing/3/billing", 9)
    merges.origin(2, "birch").merges.append("m1")
    return merges


def test_a_forwarded_record_passes_once(merges: Merges) -> None:
    assert not merges.passes(2, "birch", "inbox/3/billing", 7)
    assert merges.passes(2, "birch", "inbox/3/surveys", 7)
    assert merges.passes(2, "birch", "inbox/3/billing", 8)
    assert merges.passes(2, "cedar", "inbox/3/billing", 8)


def test_what_is_saved_is_loaded(merges: Merges) -> None:
    loaded = Merges()
    for row in (1, 2):
        assert row in merges
        loaded.load(row, merges.save(row))
    assert (loaded.into, loaded.origins) == (merges.into, merges.origins)
    loaded.pop(1)
    loaded.pop(2)
    assert not loaded


@pytest.mark.parametrize(
    ("inputs", "left"),
    [
        (("billing",), {"inbox/3/billing": 7}),
        (("inbox",), {"billing/3/billing": 9}),
        ((), {"inbox/3/billing": 7, "billing/3/billing": 9}),
        (None, {}),
    ],
)
def test_offsets_in_topics_that_are_others_now_are_forgotten(
    merges: Merges, inputs: tuple[str, ...] | None, left: dict[str, int]
) -> None:
    loaded = Merges()
    loaded.load(2, without_offsets(merges.save(2), inputs))
    assert loaded.origins[2]["birch"].offsets == left
    assert loaded.origins[2]["birch"].merges == ["m1"]

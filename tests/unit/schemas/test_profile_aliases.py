"""Aliases in a record of a profile: which are read, and which cost the field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.codecs import decode
from schemas.events import ProfileEvent
from schemas.profiles import merge
from schemas.sources import BUILT_IN
from tests.strategies.events import NOW_MS
from tests.unit.schemas.test_profiles import record


@pytest.mark.parametrize(
    ("raw", "aliases"),
    [
        (["stripe:cus_1", " 4711 ", "4711", ""], ["stripe:cus_1", "4711"]),
        ("acme.example", ["acme.example"]),
        ([], None),
        (" ", None),
        (None, None),
    ],
)
def test_aliases_are_a_list_of_ids_or_a_single_one(raw: Any, aliases: list[str] | None) -> None:
    assert record(aliases=raw).aliases == aliases


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (5, "Expected a list of at most 100 account ids, which are texts"),
        (["a", 5], "Expected a list of at most 100 account ids, which are texts"),
        (["a"] * 101, "Expected a list of at most 100 account ids, which are texts"),
        (["a" * 1001], "Expected at most 1000 characters, got 1001"),
        (
            ["acme.example", "GMail.com"],
            '"GMail.com" is no alias: everybody can have an address there, and a merge cannot be undone',
        ),
    ],
)
def test_aliases_that_are_wrong_cost_that_field(raw: Any, why: str) -> None:
    value = msgspec.json.encode({"id": "1", "account_id": "acme", "time": NOW_MS, "tier": "gold", "aliases": raw})
    decoded = decode(BUILT_IN.profiles, [value])
    (profile,), (reject,) = decoded.events, decoded.rejects
    assert isinstance(profile, ProfileEvent)
    assert (profile.tier, profile.aliases) == ("gold", None)
    assert reject.message == f"accounts: {why} - at `$.aliases`; the other fields of the profile are used"


def test_an_attribute_of_before_that_is_a_field_now_is_left_out() -> None:
    """A profile in the state of an earlier version can have aliases of any type as an attribute."""
    known = ProfileEvent("1", "acme", 1, attributes={"aliases": [1, 2], "seats": 3})
    later = merge(known, record(tier="gold"))
    assert later is not None
    assert (later.aliases, later.attributes) == (None, {"seats": 3})

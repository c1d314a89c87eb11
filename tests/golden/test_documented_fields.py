"""Policies of the reference that read attributes of profiles and properties of events; numbers worked out by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.golden.replays import Log, near, replay, values
from tests.golden.test_documented_policies import SHOWN

if TYPE_CHECKING:
    from pathlib import Path


def test_by_attribute(tmp_path: Path) -> None:
    # large: 55 seats by the later record, 20 of 40 users are 50 points; trained 100 UTC days ago: 50. (2 x 50 + 50) / 3
    # small: 49 seats; 20 users are 100 points, no date of training: 100.
    # abroad: not in the list of countries, and a training date that is none.
    log = Log().users("large", 20).users("small", 20).users("abroad", 5)
    log.add("accounts", "large", 9, seats=10, country="DE", trained_at="2025-12-17").add(
        "accounts", "large", 8, seats="55"
    )
    log.add("accounts", "large", 10, country="FR", seats=1)
    log.add("accounts", "small", 9, attributes={"seats": 49, "country": "AT"})
    log.add("accounts", "abroad", 9, seats=50, country="FR", trained_at="soon")
    replayed = replay(tmp_path, SHOWN["by-attribute"], log)
    assert replayed.accounts["large"].segment == "large"
    assert values(replayed.score("large")) == {"logins": 20, "since_training": 100}
    assert replayed.score("large").value == near(50)
    assert replayed.accounts["small"].segment is None
    assert replayed.score("small").value == near(100)
    assert replayed.accounts["abroad"].segment is None
    assert values(replayed.score("abroad")) == {"logins": 5, "since_training": None}


def test_by_property(tmp_path: Path) -> None:
    # The latest event of plan pro or team says 41 of 50 seats: 82 points. A later one of another plan does not count,
    # nor does one without the number.
    log = Log().add("product-usage", "a", 5, properties={"seats_used": 10, "plan": "pro"})
    log.add("product-usage", "a", 4, properties={"seats_used": "41", "plan": "team", "more": {"deep": [1]}})
    log.add("product-usage", "a", 3, properties={"seats_used": "many", "plan": "pro"})
    log.add("product-usage", "a", 2, properties={"seats_used": 7, "plan": "basic"}).add("product-usage", "a", 1)
    log.add("product-usage", "b", 1, properties=["pro"])
    replayed = replay(tmp_path, SHOWN["by-property"], log)
    assert values(replayed.score("a")) == {"seats_used": 41}
    assert replayed.score("a").value == near(82)
    assert values(replayed.score("b")) == {"seats_used": None}

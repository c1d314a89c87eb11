"""Policies with alert rules are what they say, and the logs that go with them make every kind of rule fire and end."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, find, given, settings

from tests.oracle.alerts import alerts_at_boundaries
from tests.strategies.alerts import KINDS, NAMES, alerting_cases
from tests.strategies.policies import NOW_MS

if TYPE_CHECKING:
    from tests.oracle.engine import Record

ONE_FOUND = settings(
    max_examples=1000, phases=(Phase.generate,), database=None, derandomize=True, report_multiple_bugs=False
)


@settings(max_examples=30, deadline=None)
@given(alerting_cases(words=True))
def test_what_is_drawn_is_whole(case: tuple[str, list[Record]]) -> None:
    document = tomllib.loads(case[0])
    assert 1 <= len(document["alerts"]) <= 4
    for rule in document["alerts"].values():
        when = rule["when"]
        (kind,) = set(when) - {"within", "points_below"}
        assert kind in KINDS
        assert set(rule.get("segments", [])) <= set(document.get("segments", {}))
        assert rule.get("score", "health") in document["scores"]
        assert when.get("forecast") != NAMES[0]
        limit = when.get("below", when.get("points_below", when.get("drop")))
        clear = rule.get("clear", limit)
        assert "clear" not in rule or (clear <= limit if kind == "drop" else clear >= limit)
        assert rule.get("clear", 1) > 0
        assert when.get("measure", "level") in {"level", *document["measures"]}


def turns(case: tuple[str, list[Record]], account: str | None, rule: str) -> str:
    """Say at each boundary whether one episode of a rule is open; of the account ("": of none), None means of any."""
    boundaries = sorted(alerts_at_boundaries(case[1], case[0], NOW_MS).items())
    return "".join(
        "#" if any(name.startswith(rule) and account in (None, of) for of, name in episodes) else "."
        for _, episodes in boundaries
    )


@pytest.mark.parametrize("kind", sorted(set(KINDS)))
def test_every_kind_fires_and_ends(kind: str) -> None:
    example = find(alerting_cases((kind,)), lambda case: ".#." in turns(case, None, "r"), settings=ONE_FOUND)
    assert kind in example[0]


def test_sources_stall_and_come_back() -> None:
    find(alerting_cases(), lambda case: ".#." in turns(case, "", "stalled:signals"), settings=ONE_FOUND)

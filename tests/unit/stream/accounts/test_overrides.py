"""An override stands beside the computed score until it expires or is cleared; it never moves the score."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest

from schemas.codecs import decode
from schemas.outputs import ScoreChange, ScoreMessage
from stream.engine.engine import Engine, Mode
from stream.ingest.batch import Batch
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy
from stream.publishing.effects import Effects
from stream.recovery import changelog

DAY = 86_400_000
START = 20_000 * DAY
POLICY = """
name = "p"
[measures.usage]
source = "product-usage"
stat = "count"
window = "3d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 4 }
weight = 1
[scores.health]
min_change = 1
bands = [{ name = "good", from = 50 }, { name = "poor", from = 0 }]
"""


class World:
    """An engine and the offsets of its topics."""

    def __init__(self) -> None:
        self.plan = compile_plan(parse_policy(POLICY))
        self.engine = Engine(self.plan)
        self._offsets = {"controls": 0, "product-usage": 0}
        self.scores: list[ScoreMessage] = []
        self.changes: list[ScoreChange] = []

    def note(self, effects: Effects) -> Effects:
        self.scores = [msgspec.json.decode(message.value, type=ScoreMessage) for message in effects.scores]
        self.changes = [msgspec.json.decode(message.value, type=ScoreChange) for message in effects.changes]
        return effects

    def send(self, source: str, **fields: Any) -> Effects:
        offset = self._offsets[source]
        self._offsets[source] += 1
        event = {"id": f"{source}-{offset}", "account_id": "a", **fields}
        decoded = decode(source, [json.dumps(event).encode()])
        places = np.array([offset] if decoded.events else [], dtype=np.int64)
        rejects = [reject._replace(position=offset) for reject in decoded.rejects]
        batch = Batch(source, places, np.full(len(places), START), decoded.events, offset + 1, rejects)
        return self.note(self.engine.step([batch], Mode.HEAD, None))

    def override(self, time: int, **fields: Any) -> Effects:
        given = {"score": 10, "reason": "sponsor has left", "expires_at": START + 5 * DAY, "by": "ann", **fields}
        return self.send("controls", time=time, kind="override", **given)

    def restarted(self) -> World:
        other = World()
        other._offsets = self._offsets
        records = {key: value for key, value in changelog.snapshot(self.engine) if value is not None}
        changelog.restore(other.engine, records)
        return other


@pytest.fixture
def world() -> World:
    world = World()
    world.send("product-usage", time=START + 1, count=1)
    return world


def test_it_stands_beside_the_score_and_is_told_once(world: World) -> None:
    world.override(START + 2)
    (score,), (change,) = world.scores, world.changes
    assert score.scores["health"].value == 25
    assert score.override is not None
    assert (score.override.score, score.override.reason, score.override.by) == (10, "sponsor has left", "ann")
    assert (score.override.since, score.override.expires_at) == (START + 2, START + 5 * DAY)
    assert (change.cause, change.from_, change.to, change.factors) == ("override", 25, 25, [])
    assert change.override == score.override
    world.send("product-usage", time=START + 3)
    assert world.scores[0].override == score.override
    assert [(change.cause, change.to) for change in world.changes] == [("event", 50)]


def test_it_ends_by_itself_at_the_boundary_after_it_expires(world: World) -> None:
    world.override(START + 2, expires_at=START + 2 * DAY - 1)
    world.note(world.engine.tick(START + DAY))
    assert [change.cause for change in world.changes] == []
    world.note(world.engine.tick(START + 2 * DAY))
    assert [(change.cause, change.override) for change in world.changes] == [("override", None)]
    assert world.scores[0].override is None


def test_it_ends_long_after_the_last_event_has_left_every_window(world: World) -> None:
    world.override(START + 2, expires_at=START + 200 * DAY)
    effects = world.note(world.engine.tick(START + 300 * DAY))
    assert [change.cause for change in world.changes] == ["window", "override"]
    assert sum(effects.causes.values()) == 2
    assert [score.override is None for score in world.scores] == [False, True]


def test_it_ends_when_it_is_cleared(world: World) -> None:
    world.override(START + 2)
    world.send("controls", time=START + 3, kind="clear_override")
    assert [(change.cause, change.override) for change in world.changes] == [("override", None)]
    assert world.scores[0].override is None


@pytest.mark.parametrize("restart", [False, True])
def test_the_latest_by_time_holds_whatever_comes_last(world: World, restart: bool) -> None:
    world.override(START + 5, score=70)
    if restart:
        world = world.restarted()
    world.override(START + 4, score=30)
    assert world.changes == []
    world.override(START + 6, score=None, band="good")
    (change,) = world.changes
    assert change.override is not None
    assert (change.override.score, change.override.band) == (None, "good")


def test_a_restart_tells_neither_beginning_nor_end_twice(world: World) -> None:
    world.send("controls", time=START + 1, kind="pulse", value=50)
    world.override(START + 2)
    again = world.restarted()
    again.send("product-usage", time=START + 3, count=1)
    assert [change.cause for change in again.changes] == ["event"]
    assert again.scores[0].override is not None
    again.send("controls", time=START + 4, kind="clear_override")
    after = again.restarted()
    after.note(after.engine.tick(START + DAY))
    assert [change.cause for change in after.changes] == []


def test_a_row_keeps_profile_and_override_side_by_side(world: World) -> None:
    profile = decode("accounts", [b'{"id":"1","account_id":"a","time":1728000000000,"name":"Ann\\nInc"}'])
    world.engine.step([Batch("accounts", np.array([0]), np.array([START]), profile.events, 1)], Mode.HEAD, None)
    world.override(START + 2)
    accounts = world.restarted().engine.accounts
    assert accounts.profiles[0].name == "Ann\nInc"
    assert accounts.overrides[0].reason == "sponsor has left"


def test_what_lacks_a_reason_or_an_end_and_erasing_are_refused(world: World) -> None:
    for fields in ({"reason": None}, {"expires_at": None}, {"band": "good"}):
        assert [letter.reason for letter in world.override(START + 2, **fields).dead_letters] == ["invalid_field"]
    letters = world.send("controls", time=START + 3, kind="erase").dead_letters
    assert [letter.message for letter in letters] == ["controls: erasing an account is not supported yet"]

"""An override is published beside the computed score until it expires or is cleared; it never changes the score."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest

from schemas.codecs import decode, encode
from schemas.outputs import ScoreChange, ScoreMessage
from schemas.sources import BUILT_IN
from stream.engine.engine import Engine, Mode
from stream.ingest.batch import Batch
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy
from stream.publishing.baseline import Baseline
from stream.publishing.effects import Effects
from stream.recovery import changelog
from stream.recovery.promotion import take_over

DAY = 86_400_000
START = 20_000 * DAY
POLICY = """
name = "p"
[status]
dormant_after = "365d"
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
        self.changelog: dict[bytes, bytes] = {}
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
        decoded = decode(BUILT_IN[source], [json.dumps(event).encode()])
        places = np.array([offset] if decoded.events else [], dtype=np.int64)
        rejects = [reject._replace(position=offset) for reject in decoded.rejects]
        batch = Batch(source, places, np.full(len(places), START), decoded.events, offset + 1, rejects)
        return self.note(self.engine.step([batch], Mode.HEAD, None))

    def override(self, time: int, **fields: Any) -> Effects:
        fields = {"score": 10, "reason": "sponsor has left", "expires_at": START + 5 * DAY, "by": "ann", **fields}
        return self.send("controls", time=time, kind="override", **fields)

    def restarted(self) -> World:
        other = World()
        other._offsets = self._offsets
        self.commit()
        other.changelog = self.changelog
        changelog.restore(other.engine, other.changelog)
        return other

    def commit(self) -> bytes:
        """Write what changed; returns the account's record."""
        for key, value in changelog.snapshot(self.engine):
            changelog.keep_newer(self.changelog, key, value)
        return self.changelog[b"ra"]


@pytest.fixture
def world() -> World:
    world = World()
    world.send("product-usage", time=START + 1, count=1)
    return world


def test_an_override_is_published_beside_the_score_once(world: World) -> None:
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


def test_an_expired_override_ends_at_the_next_boundary(world: World) -> None:
    world.override(START + 2, expires_at=START + 2 * DAY - 1)
    world.note(world.engine.tick(START + DAY))
    assert [change.cause for change in world.changes] == []
    world.note(world.engine.tick(START + 2 * DAY))
    assert [(change.cause, change.override) for change in world.changes] == [("override", None)]
    assert world.scores[0].override is None


def test_an_override_expires_long_after_the_last_event_has_left_every_window(world: World) -> None:
    world.override(START + 2, expires_at=START + 200 * DAY)
    effects = world.note(world.engine.tick(START + 300 * DAY))
    assert [change.cause for change in world.changes] == ["window", "override"]
    assert sum(effects.causes.values()) == 2
    assert [score.override is None for score in world.scores] == [False, True]


def test_a_cleared_override_ends_at_once(world: World) -> None:
    world.override(START + 2)
    world.send("controls", time=START + 3, kind="clear_override")
    assert [(change.cause, change.override) for change in world.changes] == [("override", None)]
    assert world.scores[0].override is None


@pytest.mark.parametrize("restart", [False, True])
def test_the_override_with_the_latest_time_applies_whatever_arrives_last(world: World, restart: bool) -> None:
    world.override(START + 5, score=70)
    if restart:
        world = world.restarted()
    world.override(START + 4, score=30)
    assert world.changes == []
    world.override(START + 6, score=None, band="good")
    (change,) = world.changes
    assert change.override is not None
    assert (change.override.score, change.override.band) == (None, "good")


def test_a_restart_publishes_neither_start_nor_end_again(world: World) -> None:
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


def test_a_row_with_profile_and_override_is_restored(world: World) -> None:
    profile = decode(BUILT_IN["accounts"], [b'{"id":"1","account_id":"a","time":1728000000000,"name":"Ann\\nInc"}'])
    world.engine.step([Batch("accounts", np.array([0]), np.array([START]), profile.events, 1)], Mode.HEAD, None)
    world.override(START + 2)
    accounts = world.restarted().engine.accounts
    assert accounts.profiles[0].name == "Ann\nInc"
    assert accounts.overrides[0].reason == "sponsor has left"


def test_an_override_without_reason_or_end_is_refused(world: World) -> None:
    for fields in ({"reason": None}, {"expires_at": None}, {"band": "good"}):
        assert [letter.reason for letter in world.override(START + 2, **fields).dead_letters] == ["invalid_field"]


def days_rescored(world: World, until_ms: int) -> int:
    """At how many boundaries all accounts are scored while time passes."""
    count, score = 0, world.engine.scorer.score

    def counted(rows: Any, as_of_ms: int | None = None) -> Any:
        nonlocal count
        count += 1
        return score(rows, as_of_ms)

    world.engine.scorer.score = counted  # type: ignore[method-assign]
    world.note(world.engine.tick(until_ms))
    world.engine.scorer.score = score  # type: ignore[method-assign]
    return count


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("end", ["cleared", "expired", "nothing to clear"])
def test_an_ended_override_does_not_make_time_rescore_accounts(world: World, end: str, restart: bool) -> None:
    if end != "nothing to clear":
        world.override(START + 2, expires_at=START + DAY)
    if end != "expired":
        world.send("controls", time=START + 3, kind="clear_override")
    other = World()
    other.send("product-usage", time=START + 1, count=1)
    rescored = []
    for compared in (world, other):
        compared.note(compared.engine.tick(START + 2 * DAY))
        ticked = compared.restarted() if restart else compared
        assert ticked.engine.accounts.overrides == {}
        rescored.append(days_rescored(ticked, START + 300 * DAY))
        assert [change.cause for change in ticked.changes] == ["window"]
    assert rescored[0] == rescored[1] < 6


def test_an_override_that_has_not_ended_makes_time_rescore_accounts(world: World) -> None:
    world.override(START + 2, expires_at=START + 200 * DAY)
    assert days_rescored(world, START + 199 * DAY) == 199
    assert set(world.engine.accounts.overrides) == {0}


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("end", ["cleared", "expired"])
def test_an_older_override_that_arrives_after_the_end_of_a_later_one_does_not_apply(
    world: World, end: str, restart: bool
) -> None:
    world.override(START + 5, expires_at=START + DAY - 1)
    if end == "cleared":
        world.send("controls", time=START + 6, kind="clear_override")
    world.note(world.engine.tick(START + 2 * DAY))
    if restart:
        world = world.restarted()
    world.override(START + 4, expires_at=START + 9 * DAY)
    assert [change for change in world.changes if change.cause == "override"] == []
    assert [score.override for score in world.scores if score.override] == []
    world.override(START + 7, expires_at=START + 9 * DAY)
    assert [change.override is not None for change in world.changes if change.cause == "override"] == [True]


@pytest.mark.parametrize("restart", [False, True])
def test_an_ended_override_is_removed_from_state_and_changelog_when_every_older_one_is_late(
    world: World, restart: bool
) -> None:
    world.override(START + DAY + 2)
    world.send("controls", time=START + DAY + 3, kind="clear_override")
    assert b"clear_override" in world.commit()
    world.note(world.engine.tick(START + 3 * DAY))
    assert b"clear_override" in world.commit()
    assert world.engine.accounts.ended_overrides, "an older override can still arrive"
    if restart:
        world = world.restarted()
    world.note(world.engine.tick(START + 4 * DAY))
    assert world.changes == [], "nothing else changes the row"
    assert b"clear_override" not in world.commit()
    assert world.engine.accounts.ended_overrides == {}
    effects = world.override(START + DAY + 2, expires_at=START + 99 * DAY)
    assert effects.outcomes["controls", "late"] == 1


def test_the_end_of_an_override_that_is_not_published_yet_is_not_removed(world: World) -> None:
    """While the engine catches up with conflation, nothing is published until the next flush."""
    world.override(START + 2)
    clear = decode(
        BUILT_IN["controls"], [b'{"id":"c","account_id":"a","time":%d,"kind":"clear_override"}' % (START + 3)]
    )
    batch = Batch("controls", np.array([1]), np.array([START]), clear.events, 2)
    world.note(world.engine.step([batch], Mode.CONFLATED, None))
    world.note(world.engine.tick(START + 300 * DAY))
    assert [change.override for change in world.changes if change.cause == "override"] == [None]
    assert world.engine.accounts.overrides == {}


def test_an_ended_override_is_published_as_ended_if_a_change_from_before_a_crash_says_it_is_active(
    world: World,
) -> None:
    world.override(START + 2)
    (started,) = world.changes
    world.send("controls", time=START + 3, kind="clear_override")
    world = world.restarted()
    assert world.engine.accounts.ended_overrides
    world.engine.publisher.load(Baseline([(encode(started), None)], 1), world.engine.as_of)
    world.note(world.engine.flush(Mode.HEAD))
    assert [(change.cause, change.override) for change in world.changes] == [("override", None)]


def test_a_promoted_candidate_publishes_the_end_of_an_override_that_the_live_policy_had_published(
    world: World,
) -> None:
    world.override(START + 2)
    live = world.restarted()
    world.send("controls", time=START + 3, kind="clear_override")
    candidate = world.restarted()
    assert candidate.engine.accounts.ended_overrides
    take_over(candidate.engine, live.engine)
    candidate.note(candidate.engine.flush(Mode.HEAD))
    assert [(change.cause, change.override) for change in candidate.changes if change.cause == "override"] == [
        ("override", None)
    ]


def test_an_override_that_expired_unpublished_before_a_restart_is_published_as_ended_at_the_next_boundary(
    world: World,
) -> None:
    world.override(START + 2, expires_at=START + DAY // 2)
    world.send("product-usage", account_id="b", time=START + DAY // 2 + 1)
    world = world.restarted()
    world.note(world.engine.tick(START + DAY))
    assert [(change.cause, change.override) for change in world.changes] == [("override", None)]
    assert world.engine.accounts.overrides == {}


def test_an_override_with_an_unknown_band_is_refused_with_the_bands_that_there_are() -> None:
    world = World()
    world.send("product-usage", time=START)
    effects = world.send("controls", time=START, kind="override", band="gold", reason="r", expires_at=START + DAY)
    (letter,) = effects.dead_letters
    assert (letter.offset, letter.reason) == (0, "invalid_field")
    assert letter.message == 'controls: "gold" is not a band of the policy; allowed here: good, poor - at `$.band`'
    assert effects.outcomes["controls", "rejected"] == 1
    assert not world.engine.accounts.overrides
    effects = world.send("controls", time=START, kind="override", band="poor", reason="r", expires_at=START + DAY)
    assert not effects.dead_letters
    assert world.engine.accounts.overrides

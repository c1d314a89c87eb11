"""What aliases of a profile do, one thing a test; tests/property/test_handed_over.py judges whole logs."""

from __future__ import annotations

import pytest

from schemas.topics import REPARTITION
from tests.driving.engine import plan_of
from tests.unit.stream.engine.test_merging import NOW, POLICY, A, B, C, World


class Named(World):
    """Workers of three partitions that read profiles with aliases."""

    def name(self, account: str, *aliases: str) -> bytes:
        return self.send("accounts", account, aliases=list(aliases))

    def claims(self) -> int:
        """The number of merges that profiles have asked for."""
        logs = [log for (topic, _), log in self.logs.items() if topic == REPARTITION]
        return sum(b'"alias":true' in each.value for log in logs for each in log)


@pytest.fixture
def world() -> Named:
    world = Named(plan_of(POLICY))
    for account, count in ((A, 1), (B, 2), (C, 4)):
        for number in range(count):
            world.use(account, f"user-{account}-{number}")
    world.finish(NOW)
    return world


def test_events_under_an_alias_count_for_the_account_those_of_before_too(world: Named) -> None:
    world.name(A, B, "stripe:cus_1")
    world.finish(NOW)
    world.use(B)
    world.use("stripe:cus_1")
    assert world.counts() == {A: 5, C: 4}
    assert world.all()[B]["merged_into"] == A
    assert "stripe:cus_1" not in world.all(), "it never had a score"
    assert world.letters == []


def test_a_profile_that_is_sent_again_asks_for_nothing(world: Named) -> None:
    for _ in range(3):
        world.name(A, B)
        world.finish(NOW)
    assert (world.claims(), world.counts()) == (1, {A: 3, C: 4})


def test_the_account_itself_is_no_alias(world: Named) -> None:
    world.name(A, A)
    assert (world.counts(), world.claims(), world.letters) == ({A: 1, B: 2, C: 4}, 0, [])


def test_an_alias_that_a_later_profile_does_not_have_remains_one(world: Named) -> None:
    world.name(A, B)
    world.finish(NOW)
    world.name(A)
    world.finish(NOW)
    world.use(B)
    assert world.counts() == {A: 4, C: 4}


def test_the_first_account_that_has_an_alias_keeps_it(world: Named) -> None:
    world.name(A, B)
    world.finish(NOW)
    world.name(C, B)
    assert world.counts() == {A: 3, C: 4}
    (letter,) = world.letters
    assert letter == (
        'accounts: "birch" is an alias of "elm", but counts for "acme" already: merge one of these accounts into the '
        "other, or remove the alias - at `$.aliases`"
    )


@pytest.mark.parametrize("first", [(A, B), (B, C)])
def test_an_alias_of_an_alias_counts_for_the_account(world: Named, first: tuple[str, str]) -> None:
    world.name(*first)
    world.finish(NOW)
    for account, alias in ((A, B), (B, C), (A, C)):
        world.name(account, alias)
        world.finish(NOW)
    world.use(C)
    assert (world.counts(), world.letters) == ({A: 8}, [])


def test_accounts_that_name_each_other_are_the_smaller_one(world: Named) -> None:
    world.name(A, B)
    world.name(B, A)
    assert (world.counts(), world.letters) == ({A: 3, C: 4}, [])


def test_the_profile_of_an_alias_is_one_with_that_of_the_account(world: Named) -> None:
    world.send("accounts", B, tier="gold", time=NOW - 1)
    world.send("accounts", A, name="Acme", aliases=B)
    world.finish(NOW)
    world.send("accounts", B, owner="ann")
    assert world.counts() == {A: 3, C: 4}
    accounts = world.home(A).engine.accounts
    profile = accounts.profiles[accounts.index[A]]
    assert (profile.name, profile.tier, profile.owner, profile.aliases) == ("Acme", "gold", "ann", [B])


def test_an_erasure_of_the_account_forgets_its_aliases_until_a_profile_names_them_again(world: Named) -> None:
    profile = world.name(A, B)
    world.finish(NOW)
    world.send("controls", A, kind="erase")
    world.finish(NOW)
    saved = b"".join(key + value for worker in world.workers for key, value in worker.changelog.items())
    assert A.encode() not in saved
    assert B.encode() not in saved
    world.use(B)
    assert world.counts() == {B: 1, C: 4}
    world.append("accounts", A.encode(), profile, time_ms=99)
    assert world.counts() == {A: 1, C: 4}


@pytest.mark.parametrize("dedup", [True, False])
def test_a_profile_that_a_crash_repeats_repeats_nothing(dedup: bool) -> None:
    world = Named(plan_of(POLICY), dedup=dedup)
    world.use(B)
    world.finish(NOW)
    world.name(A, B)
    worker = world.home(A)
    worker.take(10)
    worker.crash(None, 10)
    world.use(B)
    assert world.counts() == {A: 2}
    assert (world.claims(), world.letters) == (2, [])


def test_many_aliases_are_saved_with_one_commit(world: Named) -> None:
    aliases = [f"id-{number}" for number in range(50)]
    for alias in aliases:
        world.use(alias)
    world.finish(NOW)
    world.name(A, *aliases)
    world.home(A).take(10)
    world.home(A).commit()
    for worker in world.workers:
        worker.take(100)
        assert len(worker.engine.merging.pending()) == sum(
            worker.engine.accounts.index.owns(alias) for alias in aliases
        )
    assert world.counts() == {A: 51, B: 2, C: 4}

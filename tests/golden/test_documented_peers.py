"""What docs/reference/policy/peers.md defines beyond its example, with numbers worked out by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.golden.replays import Log, day_ms, near, replay, values
from tests.golden.test_documented_policies import SHOWN, changed, one_measure

if TYPE_CHECKING:
    from pathlib import Path


def usage_of(**counts: int) -> Log:
    """So many events of each account yesterday, and one of `a` today."""
    log = Log()
    for account, count in counts.items():
        log.add("product-usage", account, 1, times=count)
    return log


def test_a_value_of_now_in_the_table_of_midnight(tmp_path: Path) -> None:
    # 3 more today: a has 5 now, above 2, 4 and 4 of the table's 2, 4, 4, 6, and equal to none.
    log = usage_of(a=2, b=4, c=4, d=6).add("product-usage", "a", times=3).add("product-usage", "new", times=7)
    policy = changed("among-peers", 'compare = "peers"\n', 'compare = "peers"\ncomplete = false\n')
    replayed = replay(tmp_path, policy, log)
    assert values(replayed.score("a")) == {"usage": 75}
    assert values(replayed.score("new")) == {"usage": 100}
    # a had 2 at midnight: 12.5 % are 25 points; the table that came then was the first, before it all had 50.
    (first, peers, event) = [change for change in replayed.changes if change.account_id == "a"]
    assert (first.to, first.cause) == (50, "event")
    assert (peers.from_, peers.to, peers.cause, peers.time) == (50, 25, "peers", day_ms(0) - 12 * 3_600_000)
    assert (event.from_, event.to, event.cause) == (25, 100, "event")


def test_a_value_of_complete_days_in_the_table_of_midnight(tmp_path: Path) -> None:
    # The same, as the page shows it: today does not count before it is over, neither for a nor in the table.
    log = usage_of(a=2, b=4, c=4, d=6).add("product-usage", "a", times=3).add("product-usage", "new", times=7)
    replayed = replay(tmp_path, SHOWN["among-peers"], log)
    assert values(replayed.score("a")) == {"usage": 12.5}
    assert values(replayed.score("new")) == {"usage": 0}
    # The next midnight has a table of 5, 4, 4, 6 and 7: 2.5 and 4.5 of 5.
    after = replay(tmp_path, SHOWN["among-peers"], log, days_later=1)
    assert values(after.score("a")) == {"usage": 50}
    assert values(after.score("new")) == {"usage": 90}


def test_peers_of_a_segment(tmp_path: Path) -> None:
    # Enterprise: 20, 30, 30, 40: (0.5, 2, 2, 3.5) of 4. The others are seen among all eight: (0.5, 1.5, 2.5, 3.5) of 8.
    log = usage_of(a=1, b=2, c=3, d=4, e=20, f=30, g=30, h=40)
    for account in "efgh":
        log.add("accounts", account, 30, tier="enterprise")
    replayed = replay(tmp_path, SHOWN["among-peers"], log)
    actual = [values(replayed.score(name))["usage"] for name in "abcdefgh"]
    assert actual == [6.25, 18.75, 31.25, 43.75, 12.5, 50, 50, 87.5]


def test_without_a_midnight_there_are_no_peers(tmp_path: Path) -> None:
    log = Log().add("product-usage", "a", times=3).add("product-usage", "b", times=4)
    score = replay(tmp_path, SHOWN["among-peers"], log).score("a")
    assert (values(score), score.value) == ({"usage": None}, 50)


def test_the_silent_stay_peers(tmp_path: Path) -> None:
    # b and c had their events 40 days ago: 0 now. Of 3 peers with 0, 0, 6: 1 of 3 and 2.5 of 3. They are peers as
    # long as the policy says that they have data: without that, all their windows are empty.
    log = Log().add("product-usage", "b", 40, times=9).add("product-usage", "c", 40, times=3)
    log.add("product-usage", "a", 1, times=6)
    replayed = replay(tmp_path, SHOWN["among-peers"] + '[status]\ndormant_after = "41d"\n', log)
    assert values(replayed.score("b")) == near({"usage": 100 / 3})
    assert values(replayed.score("a")) == near({"usage": 250 / 3})
    replayed = replay(tmp_path, SHOWN["among-peers"] + '[status]\ndormant_after = "40d"\n', log)
    assert (replayed.score("b").value, values(replayed.score("b"))) == (None, {"usage": None})
    assert values(replayed.score("a")) == {"usage": 50}


def test_who_has_no_value_is_no_peer(tmp_path: Path) -> None:
    policy = one_measure(
        'source = "surveys"\nstat = "mean"\nfield = "score"\nwindow = "30d"\ncompare = "peers"\n'
        'normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }'
    )
    log = Log().add("product-usage", "mute").add("surveys", "a", 1, score=9).add("surveys", "b", 2, score=7)
    replayed = replay(tmp_path, policy, log.add("surveys", "b", 1, score=8))
    assert values(replayed.score("a")) == {"m": 75}
    assert values(replayed.score("b")) == {"m": 25}  # 7.5
    assert values(replayed.score("mute")) == {"m": None}

"""The score changes of a comparison among peers, message by message; the numbers of the page are in `cases`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.golden.replays import Log, day_ms, replay, values
from tests.golden.test_documented_policies import changed

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

"""Tables of peers: when one is made, where in the log it counts, what is said of it. Numbers are worked out by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

import msgspec
import numpy as np
from typer.testing import CliRunner

from agents.cli.main import app
from agents.kafka.source_records import read
from schemas.codecs import encode
from schemas.events import Event, UsageEvent
from schemas.outputs import ScoreChange
from schemas.peers import PeerScore, PeersMessage
from schemas.sources import BUILT_IN, PEERS_INPUT
from schemas.topics import PEERS as TOPIC
from stream.consumers.peer_values import PeerValues
from stream.engine.engine import Engine, Mode
from stream.ingest.batch import Batch
from stream.publishing.effects import Effects
from stream.scoring.peers import Peers, table_of
from tests.driving.engine import plan_of
from tests.golden.replays import Log, day_ms

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DAY_MS = 86_400_000
HOUR_MS = DAY_MS // 24
MIDNIGHT = 20_000 * DAY_MS
POLICY = """
name = "peers"
[segments.big]
when = { tier = ["big"] }
[measures.usage]
source = "product-usage"
stat = "count"
window = "30d"
compare = "peers"
complete = false
least_peers = 2
normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }
weight = 1
missing = "zero"
[scores.health]
min_change = 1.0
bands = [{ name = "good", from = 50 }, { name = "poor", from = 0 }]
"""
PLAN = plan_of(POLICY)


def score_of(hours: float, value: float | None, segment: str | None = None, policy: str = PLAN.label) -> PeerScore:
    """A score of so many hours after midnight."""
    return PeerScore(MIDNIGHT + int(hours * HOUR_MS), policy, segment, {"usage": value})


def held(message: PeersMessage | None) -> tuple[int, dict[str | None, list[float]]] | None:
    """Hours after the first midnight, and the values of each table, each as often as it was there."""
    if message is None:
        return None
    tables = {
        table.segment: np.repeat(table.values, np.subtract(table.upto, table.below)).tolist()
        for table in message.tables
    }
    return (message.as_of - MIDNIGHT) // HOUR_MS, tables


def test_a_midnight_is_over_when_every_partition_has_told_of_after_it() -> None:
    peer_values = PeerValues(PLAN, MIDNIGHT - DAY_MS)
    peer_values.apply(0, "a", score_of(-3, 5))
    peer_values.apply(1, "b", score_of(-2, 6, "big"))
    peer_values.apply(0, "a", score_of(0, 4))
    assert peer_values.due() is None
    peer_values.apply(0, "a", score_of(0.5, 9))
    assert peer_values.due() is None
    peer_values.apply(1, "b", score_of(0.1, 7, "big"))
    # b had 6 at midnight, and a 4.
    assert held(peer_values.due()) == (0, {None: [4, 6], "big": [6]})
    assert peer_values.due() is None
    peer_values.apply(0, "a", None)
    peer_values.apply(1, "b", score_of(25, 7))
    assert held(peer_values.due()) == (24, {None: [7], "big": [7]})


def test_who_says_nothing_is_waited_for_an_hour() -> None:
    peer_values = PeerValues(PLAN, MIDNIGHT - DAY_MS)
    peer_values.apply(0, "a", score_of(-3, 5))
    peer_values.apply(1, "b", score_of(-2, 6))
    peer_values.apply(0, "a", score_of(0.99, 9))
    assert peer_values.due() is None
    peer_values.apply(0, "a", score_of(1, 9))
    assert held(peer_values.due()) == (0, {None: [5, 6]})


def test_of_several_midnights_the_newest_is_told() -> None:
    peer_values = PeerValues(PLAN, None)
    peer_values.apply(0, "a", score_of(-3, 5))
    assert peer_values.due() is None
    peer_values.apply(0, "a", score_of(30, 6))
    peer_values.apply(0, "a", score_of(80, 7))
    assert held(peer_values.due()) == (72, {None: [6]})


def test_what_is_there_at_the_start_counts_as_it_is() -> None:
    peer_values = PeerValues(PLAN, None)
    peer_values.load(0, "a", score_of(5, 5))
    peer_values.load(1, "b", score_of(-90, 6))
    peer_values.load(1, "other", score_of(2, 6, policy="other@1"))
    peer_values.load(0, "missing", score_of(2, None))
    assert held(peer_values.due()) == (0, {None: [5, 6]})
    later = PeerValues(PLAN, MIDNIGHT)
    later.load(0, "a", score_of(5, 5))
    assert later.due() is None


def table(as_of_ms: int, *values: float, name: str = "1") -> PeersMessage:
    made = table_of(PLAN.measures[0].measure, None, np.array(values))
    assert made is not None
    return PeersMessage(name, as_of_ms, PLAN.label, [made])


def test_newer_tables_hold_and_others_are_passed_over() -> None:
    peers = Peers(PLAN)
    assert peers.apply(table(MIDNIGHT, 1, 2))
    assert not peers.apply(table(MIDNIGHT, 1, 2))
    assert not peers.apply(table(MIDNIGHT - DAY_MS, 1, 2, name="2"))
    other = plan_of(POLICY.replace('"30d"', '"29d"'))
    strange = table_of(other.measures[0].measure, None, np.array([1.0]))
    assert strange is not None
    assert not peers.apply(PeersMessage("3", MIDNIGHT + DAY_MS, other.label, [strange]))
    # The weight and the points are no part of what is measured.
    alike = plan_of(POLICY.replace("weight = 1", "weight = 2").replace("hundred_at = 100", "hundred_at = 50"))
    assert Peers(alike).apply(table(MIDNIGHT, 1, 2))
    assert peers.apply(table(MIDNIGHT, 3, name="4"))
    assert peers.applied_count == 2


def batch(source: str, events: Sequence[Event | PeersMessage], stamps: Sequence[int]) -> Batch:
    return Batch(source, np.arange(len(events)), np.array(stamps), cast("list[Event]", list(events)), len(events))


def changes(batches: list[list[Batch]], mode: Mode = Mode.HEAD) -> list[ScoreChange]:
    engine = Engine(PLAN, owns=lambda _account: True)
    published = [sent for step in batches for sent in engine.step(step, mode, None).changes]
    published += engine.flush(mode).changes
    return [msgspec.json.decode(sent.value, type=ScoreChange) for sent in published]


EVENTS = [UsageEvent(str(number), "ab"[number % 2], MIDNIGHT + number + 1) for number in range(5)]
"""Of a, b, a, b, a."""


def test_a_table_counts_from_where_it_stands_in_the_log() -> None:
    message = table(MIDNIGHT, 1, 2, 3, 4)
    usage = batch("product-usage", EVENTS, [10, 20, 30, 40, 50])
    together = changes([[batch(PEERS_INPUT, [message], [30]), usage]])
    apart = changes([[usage.before(3)], [batch(PEERS_INPUT, [message], [30])], [usage.since(3)]])
    assert together == apart
    # At the table a has 2 events, 37.5 % (1 and a half of 4), and b one, 12.5 %; then b has 2 and a 3.
    moves = [(change.account_id, change.from_, change.to, change.cause) for change in together]
    assert moves[:2] == [("a", 0, 0, "event"), ("b", 0, 0, "event")]
    assert moves[2:] == [
        ("a", 0, 37.5, "peers"),
        ("b", 0, 12.5, "peers"),
        ("a", 37.5, 62.5, "event"),
        ("b", 12.5, 37.5, "event"),
    ]
    assert together[2].revision > together[0].revision


def test_while_catching_up_a_table_is_conflated() -> None:
    first, second = table(MIDNIGHT, 1, 2, 3, 4), table(MIDNIGHT + 1, 2, 3, name="2")
    usage = batch("product-usage", EVENTS, [10, 20, 30, 40, 50])
    engine = Engine(PLAN, owns=lambda _account: True)
    engine.step([usage, batch(PEERS_INPUT, [first, second], [20, 60])], Mode.CONFLATED, None)
    assert moves_of(engine.caught_up()) == [("a", 75, "event"), ("b", 25, "event")]
    engine = Engine(PLAN, owns=lambda _account: True)
    engine.step([usage], Mode.CONFLATED, None)
    engine.caught_up()
    engine.step([batch(PEERS_INPUT, [first], [60])], Mode.CONFLATED, None)
    assert not engine.flush(Mode.CONFLATED).changes, "no event has come since all were scored"
    assert moves_of(engine.caught_up()) == [("a", 62.5, "peers"), ("b", 37.5, "peers")]


def moves_of(effects: Effects) -> list[tuple[str, float, str]]:
    sent = [msgspec.json.decode(message.value, type=ScoreChange) for message in effects.changes]
    return [(change.account_id, change.to, change.cause) for change in sent]


def test_a_table_that_can_not_be_read_is_passed_over() -> None:
    class Fetched(msgspec.Struct):
        offset: int
        value: bytes | None
        timestamp: int = 5

    message = table(MIDNIGHT, 1)
    fetch = read(BUILT_IN, TOPIC, [Fetched(3, b"{"), Fetched(4, encode(message)), Fetched(6, None)], 7)
    (made,) = fetch.batches
    assert (cast("object", made.events), made.offsets.tolist(), made.end, len(fetch)) == ([message], [4], 7, 3)


def test_explain_tells_who_is_above_whom(tmp_path: Path) -> None:
    log = Log()
    for account, count in (("a", 3), ("b", 5), ("c", 5), ("d", 9)):
        log.add("product-usage", account, 1, times=count)
    events, policy = tmp_path / "events.jsonl", tmp_path / "policy.toml"
    events.write_text("\n".join(log.lines), "utf-8")
    policy.write_text(POLICY, "utf-8")
    asked = ["explain", "a", str(events), "--policy", str(policy), "--as-of", str(day_ms(0)), "--since", str(day_ms(1))]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.stderr
    # Below all but itself: 0.5 of 4. The band begins at 50 points, which the normaliser gives at 50 %.
    assert "usage: 3 usage events in the last 30 days, above 12.5 % of its peers; 12.5 of 100 points" in done.stdout
    assert "usage: 12.5 -> 50 % of its peers" in done.stdout
    assert "0.0 to 12.5; its peers changed (usage +12.5)" in done.stdout
    asked[asked.index("--as-of") + 1] = str(day_ms(1))
    done = CliRunner().invoke(app, asked[:-2])
    assert "usage: 3 usage events in the last 30 days, its peers are not known yet; 0.0 of 100 points" in done.stdout


def test_a_policy_without_peers_needs_no_tables() -> None:
    done = CliRunner().invoke(app, ["peers"])
    assert done.exit_code == 2
    assert 'no measure with compare = "peers"' in done.stderr


def test_scores_of_a_policy_without_peers_have_no_raw_values() -> None:
    engine = Engine(
        plan_of(POLICY.replace('compare = "peers"\ncomplete = false\nleast_peers = 2\n', "")),
        owns=lambda _account: True,
    )
    engine.step([batch("product-usage", EVENTS, [10, 20, 30, 40, 50])], Mode.HEAD, None)
    engine.step([batch(PEERS_INPUT, [table(MIDNIGHT, 1)], [60])], Mode.HEAD, None)
    assert engine.position[PEERS_INPUT] == 1
    assert all("raw" not in json.loads(sent.value) for sent in engine.current().scores)


def test_a_day_of_peers_is_one_of_the_time_zone() -> None:
    """Midnight is at 18:30 UTC."""
    plan = plan_of(POLICY + '[calendar]\ntimezone = "Asia/Kolkata"\n')
    peer_values = PeerValues(plan, None)
    for hours, value in ((-6.0, 1.0), (-5.6, 2.0)):
        peer_values.apply(0, "a", score_of(hours, value, policy=plan.label))
        assert peer_values.due() is None
    peer_values.apply(0, "a", score_of(-5.4, 3.0, policy=plan.label))
    due = peer_values.due()
    assert due is not None
    assert due.as_of == MIDNIGHT - 5.5 * HOUR_MS
    assert held(due) == (-6, {None: [2.0]})

"""The state of a board after reading records: the latest record wins, repeats are ignored, tombstones delete."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from agents.board.state.board import Board, Checked, Record
from agents.board.views.account import diff_of, page_of
from agents.board.views.listing import ListQuery
from agents.board.views.overall_types import TopicCount
from agents.board.views.rows import row_of
from agents.board.views.shadow import shadow_of
from agents.board.views.summary import MOST_ATTRIBUTES, MOST_VALUES, filters_of
from agents.board.views.types import MeasureDelta, Named
from schemas.outputs import ScoreMessage, ScoreValue, ShadowMessage
from schemas.topics import ALERTS, DAY_MS, SCORES, SHADOW
from tests.driving.boards import NOON, alert, board_of, change, profile, score, score_history, shadow, tombstone
from tests.driving.engine import plan_of

TWO_SCORES = """
name = "two"
[measures.usage]
source = "product-usage"
stat = "count"
window = "2d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 1
[scores.worth]
min_change = 1
bands = [{ name = "good", from = 0 }]
[scores.health]
min_change = 1
bands = [{ name = "good", from = 0 }]
"""


def test_a_row_has_the_latest_score_and_profile() -> None:
    board = board_of(
        profile("acme", NOON, name="Acme", owner="ann", arr=12.0),
        profile("acme", NOON - 1, name="Old name"),  # arrives later, but is older
        score("acme", 80.0, NOON - DAY_MS),
        score("acme", 60.0, NOON, segment="small", stalled_sources=["billing"], confidence=0.75),
    )
    row = row_of(board.state, board.state.accounts["acme"])
    assert (row.name, row.owner, row.arr, row.segment) == ("Acme", "ann", 12.0, "small")
    assert (row.scores["health"].value, row.scores["health"].band) == (60.0, "attention")
    assert (row.stalled_sources, row.scores["health"].confidence) == (["billing"], 0.75)


def test_an_older_revision_is_ignored_until_a_tombstone() -> None:
    """After `vitals state repartition` the old partition still has records of accounts that have moved."""
    board = board_of(
        score("acme", 60.0, NOON, revision=7, segment="new", parent_id="group"),
        score("acme", 90.0, NOON - DAY_MS, revision=3, segment="old"),
    )
    acme = board.state.accounts["acme"]
    assert (acme.revision, acme.segment, acme.scores["health"].value) == (7, "new", 60.0)
    assert board.state.children == {"group": {"acme"}}
    assert board.state.older == 1
    later = board_of(
        score("acme", 60.0, NOON, revision=7),
        score("acme", 61.0, NOON, revision=7),
        tombstone("acme"),
        score("acme", 20.0, NOON, revision=1),
    )
    acme = later.state.accounts["acme"]
    assert (acme.revision, acme.scores["health"].value, later.state.older) == (1, 20.0, 0)


def test_spans_end_at_the_newest_time_of_all_accounts() -> None:
    board = board_of(*score_history("acme", 90.0, 80.0, 66.0), *score_history("other", 50.0, end=NOON + 5 * DAY_MS))
    health = row_of(board.state, board.state.accounts["acme"]).scores["health"]
    # acme ended five days ago: nothing moved since yesterday, and a week ago (from then) is two days before its end.
    assert health.change == {"1d": 0.0, "7d": -24.0, "30d": None}
    assert health.reason.startswith("-24 since ")
    assert health.reason.endswith(": usage -24")
    assert health.spark[-1] == 66.0
    assert health.spark[0] is None


def test_a_tombstone_deletes_everything_of_an_account() -> None:
    board = board_of(
        *score_history("acme", 90.0, 30.0, end=NOON), alert("acme"), profile("acme", name="Acme"), tombstone("acme")
    )
    state = board.state
    assert state.accounts == {}
    assert list(state.episodes.all_open()) == []
    board.apply([score("acme", 50.0, NOON + 1)])
    assert page_of(state, state.accounts["acme"], None).scores["health"].changes == []


def test_a_tombstone_deletes_only_what_its_own_partition_has() -> None:
    board = board_of(score("acme", 50.0)._replace(partition=3), tombstone("acme"))
    assert board.state.accounts["acme"].scores["health"].value == 50
    board.apply([tombstone("acme")._replace(partition=3)])
    assert board.state.accounts == {}


def test_the_end_of_an_alert_that_comes_after_the_tombstone_is_not_kept() -> None:
    board = board_of(score("acme", 50.0), profile("acme", name="Acme"), tombstone("acme"))
    board.apply([alert("acme", ends_at=NOON + 1)])
    assert board.state.episodes.past_of("acme") == []
    assert list(board.state.episodes.latest_past()) == []
    assert board.state.profiles == {}


def test_data_of_accounts_without_a_score_is_dropped_when_all_topics_are_read() -> None:
    board = board_of(
        change("erased", NOON, None, 80.0),
        alert("erased"),
        alert("resolved-and-erased", ends_at=NOON + 1),
        alert("", "stalled:billing", ends_at=NOON + 1),
    )
    assert [each.account_id for each in board.state.episodes.latest_past()] == [""]
    board.apply([score("erased", 50.0)])
    assert board.state.accounts["erased"].histories == {}
    assert board.state.episodes.open_of("erased") == []
    assert board.state.episodes.past_of("resolved-and-erased") == []


def test_changes_that_are_read_before_the_score_are_shown() -> None:
    board = board_of(change("acme", NOON, None, 80.0), score("acme", 80.0))
    assert len(page_of(board.state, board.state.accounts["acme"], None).scores["health"].changes) == 1


def test_records_that_cannot_be_decoded_are_counted_and_ignored() -> None:
    board = board_of(
        Record(SCORES, b"a", b"{", NOON), Record(SCORES, b"\xff", b"{}", NOON), Record(ALERTS, b"a", b"[]", 1)
    )
    assert board.state.unreadable == {SCORES: 2, ALERTS: 1}
    assert board.state.accounts == {}


def test_bands_are_sorted_best_first_and_empty_bands_remain() -> None:
    board = board_of(*score_history("a", 20.0, 55.0, 90.0), *score_history("b", 80.0))
    assert board.state.bands("health") == ["healthy", "attention", "at-risk"]
    summary = board.summary().scores[0]
    assert summary.bands == [Named("healthy", 2), Named("attention", 0), Named("at-risk", 0)]


def test_accounts_by_band_at_the_ends_of_days() -> None:
    # Noons of three days: a falls on the second, b appears on the third.
    board = board_of(*score_history("a", 90.0, 50.0, 50.5), *score_history("b", 30.0))
    over_time = board.summary().scores[0].over_time
    midnight = NOON + DAY_MS // 2
    assert over_time.days == [midnight - 2 * DAY_MS, midnight - DAY_MS, NOON]
    assert over_time.accounts == {"healthy": [1, 0, 0], "attention": [0, 1, 1], "at-risk": [0, 0, 1]}


def test_movers_are_the_largest_moves_of_each_span() -> None:
    histories = [score_history(f"n{number}", 50.0, 50.0 - number) for number in range(1, 15)]
    board = board_of(*(record for records in histories for record in records), *score_history("up", 50.0, 75.0))
    movers = board.summary().scores[0].movers["1d"]
    assert [mover.account_id for mover in movers.falling] == [f"n{number}" for number in range(14, 4, -1)]
    (rising,) = movers.rising
    assert (rising.delta, rising.band_from, rising.band) == (25.0, "attention", "healthy")
    assert rising.factors == [MeasureDelta("usage", 25.0)]
    assert rising.since == NOON


def test_alerts_are_counted_by_rule_and_operational_ones_by_partition() -> None:
    partition_1: dict[str, Any] = {"labels": {"source": "billing", "partition": "1"}, "severity": "critical"}
    other: dict[str, Any] = {"labels": {"source": "billing", "partition": "2"}, "severity": "critical"}
    board = board_of(
        score("a", 30.0),
        score("b", 30.0),
        alert("a"),
        alert("b"),
        alert("b", acknowledged_at=NOON + 5, acknowledged_by="ann"),
        alert("", "stalled:billing", **partition_1),
        alert("", "stalled:billing", **other),
        alert("", "stalled:billing", **partition_1, ends_at=NOON + 9),
    )
    alerts = board.summary().alerts
    assert [(each.rule, each.open, each.acknowledged) for each in alerts.by_rule] == [
        ("low", 2, 1),
        ("stalled:billing", 1, 0),
    ]
    assert [each.labels["partition"] for each in alerts.operational] == ["2"]


def test_an_alert_published_again_after_its_end_does_not_open() -> None:
    fired, resolved = alert("a"), alert("a", ends_at=NOON + 5)
    board = board_of(score("a", 80.0), fired, resolved, fired)
    assert board.state.episodes.open_of("a") == []
    assert len(board.state.episodes.past_of("a")) == 1
    board.apply([alert("a", starts_at=NOON + 9)])
    assert len(board.state.episodes.open_of("a")) == 1


def test_pages_of_parents_and_children_name_each_other() -> None:
    board = board_of(score("root", 50.0), score("leaf", 40.0, parent_id="root"), score("twig", 30.0, parent_id="root"))
    page = page_of(board.state, board.state.accounts["root"], None)
    assert [child.account_id for child in page.children] == ["leaf", "twig"]
    parent = page_of(board.state, board.state.accounts["leaf"], None).parent
    assert parent is not None
    assert (parent.account_id, parent.scored) == ("root", True)
    board.apply([score("leaf", 40.0, NOON + 1)])
    assert [child.account_id for child in page_of(board.state, board.state.accounts["root"], None).children] == ["twig"]


def test_filters_have_the_values_of_all_accounts() -> None:
    board = board_of(score("a", 80.0, segment="x"), score("b", 80.0), profile("a", owner="ann"))
    filters = filters_of(board.state)
    assert filters.segments == [Named("", 1), Named("x", 1)]
    assert filters.owners == [Named("", 1), Named("ann", 1)]


def test_filters_have_the_attributes_with_their_values_unless_there_are_many() -> None:
    accounts = [score(f"a{number}", 80.0) for number in range(MOST_VALUES + 1)]
    profiles = [
        profile(f"a{number}", attributes={"number": number, "seats": 40.0 if number else True})
        for number in range(MOST_VALUES + 1)
    ]
    more = profile("a0", attributes={"modules": ["crm", "crm", "billing"]})
    filters = filters_of(board_of(*accounts, *profiles, more).state)
    assert [(each.name, each.accounts) for each in filters.attributes] == [
        ("modules", 1),
        ("number", MOST_VALUES + 1),
        ("seats", MOST_VALUES + 1),
    ]
    modules, number, seats = (each.values for each in filters.attributes)
    assert modules == [Named("", MOST_VALUES), Named("billing", 1), Named("crm", 1)]
    assert number == []
    assert seats == [Named("40", MOST_VALUES), Named("true", 1)]


def test_filters_have_the_attributes_that_most_accounts_have() -> None:
    names = {f"n{number:03}": 1 for number in range(MOST_ATTRIBUTES)}
    board = board_of(
        score("a", 80.0), score("b", 80.0), profile("a", attributes=names), profile("b", attributes={"often": 1}),
        profile("a", attributes={**names, "often": 1}),
    )  # fmt: skip
    listed = [each.name for each in filters_of(board.state).attributes]
    assert len(listed) == MOST_ATTRIBUTES
    assert listed[-1] == "often"


def test_the_waterfall_between_two_moments_sums_to_the_difference() -> None:
    board = board_of(
        change("a", NOON, None, 80.0, deltas={"usage": 50.0, "nps": 30.0}),
        change("a", NOON + 1_000, 80.0, 70.5, deltas={"usage": -12.0, "nps": 2.5}),
        change("a", NOON + 2_000, 70.5, 60.0, deltas={"usage": -10.5}),
        score("a", 60.4, NOON + 3_000),
    )
    account = board.state.accounts["a"]
    diff = diff_of(board.state, account, "health", NOON, NOON + 2_000)
    assert (diff.from_.value, diff.to.value, diff.delta) == (80.0, 60.0, -20.0)
    assert diff.factors == [MeasureDelta("usage", -22.5), MeasureDelta("nps", 2.5)]
    assert diff.complete
    now = diff_of(board.state, account, "health", NOON + 1_000, None)
    assert [factor.measure for factor in now.factors] == ["usage", "unpublished"]
    assert abs(sum(factor.delta for factor in now.factors) - (60.4 - 70.5)) < 1e-9
    begin = diff_of(board.state, account, "health", NOON - 1, NOON)
    assert (begin.from_.value, begin.delta, begin.complete) == (None, 80.0, True)


def test_a_waterfall_over_a_gap_says_what_is_unknown_and_where_its_knowledge_begins() -> None:
    board = board_of(
        change("a", NOON, 85.0, 80.0),
        change("a", NOON + 1_000, 70.0, 60.0),
        score("a", 60.0, NOON + 2_000),
    )
    diff = diff_of(board.state, board.state.accounts["a"], "health", NOON - DAY_MS, None)
    assert (diff.from_.value, diff.delta, diff.complete, diff.known_since) == (85.0, -25.0, False, NOON)
    assert diff.factors == [MeasureDelta("usage", -15.0), MeasureDelta("unknown", -10.0)]


def test_an_account_that_nothing_has_moved_for_long_has_a_flat_past() -> None:
    board = board_of(score("a", 60.0, NOON))
    diff = diff_of(board.state, board.state.accounts["a"], "health", NOON - DAY_MS, None)
    assert (diff.from_.value, diff.to.value, diff.factors) == (60.0, 60.0, [])


def test_an_account_without_data_for_90_days_is_not_steady() -> None:
    board = board_of(
        score("quiet", 60.0, NOON - 91 * DAY_MS),
        *score_history("silent", 70.0, 60.0, end=NOON - 91 * DAY_MS),
        *score_history("steady", 70.0, 60.0, end=NOON - 89 * DAY_MS),
        score("now", 60.0),
    )
    rows = {key: row_of(board.state, account).scores["health"] for key, account in board.state.accounts.items()}
    for key in ("quiet", "silent"):
        assert rows[key].change == {"1d": None, "7d": None, "30d": None}
        assert rows[key].reason == "no data since 22 Jun 2026"
    assert (rows["steady"].change["30d"], rows["steady"].reason) == (0.0, "")


def test_scores_of_the_boards_policy_are_known_before_any_account_has_them() -> None:
    plan = plan_of(TWO_SCORES)
    board = Board(plan)
    board.finish_loading()
    assert [(each.name, each.bands, each.over_time.days) for each in board.summary().scores] == [
        ("worth", [], []),
        ("health", [], []),
    ]
    board.apply([score("a", 80.0)])  # by another policy, so the board's own policy is not in force
    assert board.state.score_names() == ["health"]
    message = ScoreMessage("b", NOON, 1, plan.label, None, {"health": ScoreValue(80.0, "good", [])})
    board.apply([Record(SCORES, b"b", msgspec.json.encode(message), NOON)])
    assert board.state.score_names() == ["worth", "health"]


def test_the_shadow_view_has_changes_of_band_and_of_alerts() -> None:
    board = board_of(
        *(score(name, value) for name, value in {"a": 80.0, "b": 80.0, "c": 30.0, "alone": 1.0}.items()),
        shadow("a", 80.0),
        shadow("b", 60.0, "low"),
        shadow("c", 31.0),
        alert("c"),
    )
    view = shadow_of(board.state, None, 100)
    assert (view.available, view.policy, view.accounts) == (True, "candidate@2", 3)
    (health,) = view.scores
    assert [(band.name, band.live, band.shadow) for band in health.bands] == [
        ("healthy", 2, 1),
        ("attention", 0, 1),  # only the candidate has it: in its order, not at the end
        ("at-risk", 1, 1),
    ]
    assert [(move.live, move.shadow, move.accounts) for move in health.moves] == [("healthy", "attention", 1)]
    assert [(each.account_id, each.delta) for each in health.accounts] == [("b", -20.0), ("c", 1.0)]
    assert [(rule.rule, rule.examples) for rule in view.alerts.raised] == [("low", ["b"])]
    assert [(rule.rule, rule.examples) for rule in view.alerts.spared] == [("low", ["c"])]
    assert not shadow_of(board_of(score("a", 1.0)).state, None, 1).available


def test_scores_of_an_earlier_candidate_are_not_compared() -> None:
    old = ShadowMessage("old", NOON, 1, "former@1", None, {"health": ScoreValue(5.0, "at-risk", [])}, alerts=["low"])
    board = board_of(
        *(score(name, 80.0) for name in ("a", "b", "old")),
        shadow("a", 80.0),
        shadow("b", 80.0),
        Record(SHADOW, b"old", msgspec.json.encode(old), NOON),
    )
    view = shadow_of(board.state, None, 100)
    assert (view.policy, view.accounts, view.alerts.raised) == ("candidate@2", 2, [])
    assert [(score.name, score.differing) for score in view.scores] == [("health", 0)]


def test_the_stream_gets_a_summary_until_its_figures_are_new() -> None:
    board = board_of(score("a", 80.0))
    board.streams.clients = 1
    board.tick()
    board.apply([score("a", 30.0)])  # at once: the cached figures are still used
    for is_due in (True, True):
        before = board.journal.position
        board.tick()
        assert (board.journal.position > before) == is_due
        assert board.summary().scores[0].bands[0] == Named("healthy", 1)
    board._figures.until_s = 0.0
    for is_due in (True, False):
        before = board.journal.position
        board.tick()
        assert (board.journal.position > before) == is_due
        assert board.summary().scores[0].bands[-1] == Named("at-risk", 1)


def test_the_stream_gets_a_summary_until_the_figures_of_a_query_are_new() -> None:
    """A page asks for the figures of its filters when a summary comes, and an answer can be a cached one."""
    board, query = board_of(score("a", 80.0)), ListQuery(score="health", segments=frozenset({"large"}))
    board.streams.clients = 1
    board._figures.until_s = 0.0
    board.summary(query)
    board.apply([score("a", 80.0, segment="large")])
    for until_s, is_due in ((0.0, True), (math.inf, False)):
        before = board.journal.position
        board._figures.until_s = until_s
        board.tick()
        assert (board.journal.position > before) == is_due
        assert board.summary(query).scores[0].bands[0] == Named("healthy", 0), "cached"
    board._figures_by_query[query].until_s = board._old_until_s = 0.0
    for is_due in (True, False):
        before = board.journal.position
        board.tick()
        assert (board.journal.position > before) == is_due
        assert board.summary(query).scores[0].bands[0] == Named("healthy", 1)


def test_the_stream_gets_a_summary_when_the_checks_of_the_broker_change() -> None:
    board = board_of(score("a", 80.0))
    board.streams.clients = 1
    board.tick()
    lag = [TopicCount("billing", 3)]
    published = []
    for checked in (
        Checked([], lag, NOON),
        Checked([], [TopicCount("billing", 3)], NOON + 1),
        Checked([], [], NOON + 2),
        Checked([TopicCount("billing.dlq", 1)], [], NOON + 3),
        Checked([TopicCount("billing.dlq", 1)], [], NOON + 3, "the broker is away"),
    ):
        before, board.checked = board.journal.position, checked
        board.tick()
        published.append(board.journal.position > before)
    assert published == [True, False, True, True, True]

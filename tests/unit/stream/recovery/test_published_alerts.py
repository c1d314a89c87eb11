"""Alerts that were published before a crash, where the next generation finds another state or other records."""

from __future__ import annotations

import msgspec
import pytest

from schemas.codecs import encode
from schemas.outputs import Alert
from schemas.sources import BUILT_IN
from schemas.topics import ALERTS
from stream.engine.engine import Mode
from stream.publishing.effects import Effects, Message
from stream.recovery.published_alerts import PublishedAlerts, position_of
from stream.recovery.reconciler import Reconciler
from tests.driving.alert_histories import DAY, START, rule
from tests.driving.generations import Generations, tail_of

LOW = rule("when = { below = 40 }")
STALLS = '[sources.product-usage]\nstall_after = "1d"\n'


def test_an_alert_that_began_and_ended_within_one_step_after_the_crash_is_resolved() -> None:
    scenario = Generations(LOW)
    scenario.use(0.1, 8)
    scenario.commit()
    scenario.use(1.2, 2)
    assert scenario.published[-1] == ("firing", "r", 1.0)
    scenario.crash(mode=Mode.CONFLATED)
    scenario.drive.take([scenario.record(1.2)] * 1)
    scenario.use(1.3, 8)
    assert scenario.catch_up() == [("resolved", 1.3)]
    assert scenario.drive.alerts[-1].summary == "acme: r is over"
    assert not scenario.drive.engine.accounts.alerts.phase.any()


def test_an_alert_that_is_open_but_was_published_as_resolved_fires() -> None:
    scenario = Generations(LOW)
    scenario.use(0.1, 2)
    scenario.commit()
    scenario.use(0.2, 4)
    assert [status for status, _, _ in scenario.published] == ["firing", "resolved"]
    scenario.crash(mode=Mode.CONFLATED)
    scenario.drive.take([scenario.record(0.2, id=f"again{number}") for number in range(1)])
    assert scenario.catch_up() == [("firing", 0.2)]
    last = scenario.drive.alerts[-1]
    assert last.flaps == 1, "it was resolved a moment ago"


@pytest.mark.parametrize("mode", [Mode.HEAD, Mode.CONFLATED])
def test_an_alert_that_the_replay_fires_again_is_not_published_again(mode: Mode) -> None:
    scenario = Generations(LOW)
    scenario.use(0.1, 8)
    scenario.commit()
    first = [scenario.record(1.2)]
    scenario.drive.take(first)
    scenario.crash(mode=mode)
    scenario.drive.take(first)
    assert scenario.catch_up() == []
    assert [status for status, _, _ in scenario.published] == ["firing"]


@pytest.mark.parametrize("mode", [Mode.HEAD, Mode.EXACT, Mode.CONFLATED])
def test_alerts_that_were_published_one_by_one_are_no_storm_after_the_crash(mode: Mode) -> None:
    """The replay takes them in one step, or they fire together when catching up ends."""
    scenario = Generations(LOW + "[storms]\nshare = 0.5\nleast = 4\n", window="2d", partition=0)
    scenario.use(0.1, 8)
    scenario.commit()
    later = [scenario.record(0.2 + number / 24, account=f"a{number}") for number in range(6)]
    for record in later:
        scenario.drive.take([record])
    before = list(scenario.published)
    assert [(status, rule_name) for status, rule_name, _ in before] == [("firing", "r")] * 6
    scenario.crash(mode=mode)
    scenario.drive.take(later)
    assert scenario.catch_up() == []
    assert scenario.published == before


def test_an_episode_after_the_published_one_is_news() -> None:
    """The replay resolves the published alert and fires the next one before it has come as far as its worker."""
    scenario = Generations(LOW, window="2d")
    scenario.use(0.1, 8)
    scenario.commit()
    scenario.pass_to(3)
    (first,) = scenario.drive.alerts
    earlier = msgspec.structs.replace(first, id="i", starts_at=first.starts_at - 1)
    far = msgspec.json.encode([START + 30 * DAY, *[0] * len(BUILT_IN.inputs)])
    scenario.crash()
    scenario.drive.reconciler = Reconciler({ALERTS: tail_of([encode(earlier)], end=1, position=far)})
    scenario.drive.reconciler.load(scenario.drive.engine)
    scenario.pass_to(3)
    scenario.use(3.1, 9)
    scenario.pass_to(6)
    scenario.pass_to(31)
    scenario.drive.reconcile()
    assert [status for status, _, _ in scenario.published] == ["firing", "resolved", "firing"]
    scenario.use(31.1, 9)
    assert [status for status, _, _ in scenario.published] == ["firing", "resolved", "firing", "resolved"]


@pytest.mark.parametrize("in_one_step", [False, True])
def test_what_follows_after_the_published_record_is_published_unchanged(in_one_step: bool) -> None:
    scenario = Generations(LOW)
    scenario.use(0.1, 8)
    scenario.commit()
    first = [scenario.record(1.2)]
    scenario.drive.take(first)
    scenario.crash(mode=Mode.HEAD)
    later = [scenario.record(1.3) for _ in range(7)]
    for records in [first + later] if in_one_step else [first, later]:
        scenario.drive.take(records)
    scenario.drive.reconcile()
    assert scenario.published == [("firing", "r", 1.0), ("resolved", "r", 1.3)]
    assert scenario.drive.alerts[-1].summary.startswith("acme is not below 40 any more")


def test_records_with_other_ids_continue_the_published_episode() -> None:
    """The replay fires the same alert a little later, and resolves it long before it has come as far."""
    scenario = Generations(LOW)
    scenario.use(0.1, 8)
    first = Alert("i", "f", "acme", "r", "warning", "firing", START + DAY, 0.0, "poor", "low", {}, {})
    alerts = PublishedAlerts([(encode(first), None)])
    later = msgspec.structs.replace(first, id="j", starts_at=START + DAY + 5)
    ended = msgspec.structs.replace(later, id="k", status="resolved", ends_at=START + 2 * DAY)
    again = msgspec.structs.replace(later, id="l", starts_at=START + 3 * DAY)
    effects = Effects(alerts=[Message(b"acme", encode(alert)) for alert in (later, ended, again)])
    alerts.hold_back(effects)
    assert effects.alerts == []
    alerts.reconcile(scenario.drive.engine, effects)
    published = [msgspec.json.decode(sent.value, type=Alert) for sent in effects.alerts]
    assert [(alert.status, alert.starts_at, alert.ends_at) for alert in published] == [
        ("resolved", START + DAY, START + 2 * DAY),
        ("firing", START + 3 * DAY, None),
    ]


def test_alerts_of_other_rules_and_accounts_do_not_wait() -> None:
    published = Alert("i", "f", "acme", "r", "warning", "firing", START, 0.0, "poor", "low", {}, {})
    alerts = PublishedAlerts([(encode(published), None)])
    others = [msgspec.structs.replace(published, **change) for change in ({"rule": "other"}, {"account_id": "newco"})]
    effects = Effects(alerts=[Message(b"", encode(alert)) for alert in (published, *others)])
    effects.alerted["r", "firing"] = 2
    alerts.hold_back(effects)
    assert [sent.value for sent in effects.alerts] == [encode(alert) for alert in others]
    assert effects.alerted["r", "firing"] == 1, "only what is published is counted"


def test_a_firing_alert_of_an_account_or_rule_that_does_not_exist_is_resolved() -> None:
    scenario = Generations(LOW)
    scenario.use(0.1, 8)
    ghost = Alert("i", "f", "ghost", "r", "warning", "firing", 0, 1.0, "poor", "ghost is low", {}, {"account": "Ghost"})
    gone = Alert("j", "g", "acme", "gone", "warning", "firing", 0, 1.0, "poor", "acme is gone", {}, {})
    over = Alert("k", "g", "acme", "over", "warning", "resolved", 0, 1.0, "poor", "acme is gone", {}, {}, ends_at=1)
    values = [encode(ghost), b"not an alert", None, encode(gone), encode(over)]
    effects = Effects()
    PublishedAlerts([(value, None) for value in values]).reconcile(scenario.drive.engine, effects)
    scenario.drive.note(effects)
    published = [(alert.account_id, alert.rule, alert.status) for alert in scenario.drive.alerts]
    assert published == [("ghost", "r", "resolved"), ("acme", "gone", "resolved")]
    assert effects.alerted == {("r", "resolved"): 1, ("gone", "resolved"): 1}


@pytest.mark.parametrize(
    ("comes_again", "expected"), [(False, []), (True, [("resolved", "stalled:product-usage", 2.1)])]
)
def test_an_idle_source_alert_is_resolved_only_if_the_source_is_back(
    comes_again: bool, expected: list[tuple[str, str, float]]
) -> None:
    scenario = Generations(LOW + STALLS)
    scenario.use(0.1, 8)
    scenario.take(0.2, "support-tickets")
    scenario.commit()
    later = [scenario.record(2.0, "support-tickets")]
    scenario.drive.take(later)
    assert ("firing", "stalled:product-usage", 1.1) in scenario.published
    scenario.crash(mode=Mode.CONFLATED)
    scenario.drive.take(later)
    if comes_again:
        scenario.drive.take([scenario.record(2.1) for _ in range(8)])
    before = len(scenario.published)
    scenario.catch_up()
    assert [alert for alert in scenario.published[before:] if alert[1].startswith("stalled:")] == expected


@pytest.mark.parametrize("missing", ["time", *BUILT_IN.inputs])
def test_alerts_wait_until_time_and_every_source_are_reached(missing: str) -> None:
    scenario = Generations(LOW)
    scenario.use(0.1, 8)
    engine = scenario.drive.engine
    ghost = Alert("i", "f", "ghost", "r", "warning", "firing", 0, 1.0, "poor", "ghost is low", {}, {})
    position: list[int] = msgspec.json.decode(position_of(engine))
    position[["time", *BUILT_IN.inputs].index(missing)] += 1
    for header, expected in ((position, False), (msgspec.json.decode(position_of(engine)), True)):
        reconciler = Reconciler({ALERTS: tail_of([encode(ghost)], end=1, position=msgspec.json.encode(header))})
        effects = reconciler.reconcile(engine, Mode.HEAD, ends_of_sources=None, now_ms=0)
        assert (effects is not None, not reconciler) == (expected, expected)


def test_the_largest_position_of_all_records_counts() -> None:
    scenario = Generations(LOW)
    scenario.use(0.1, 8)
    engine = scenario.drive.engine
    ghost = encode(Alert("i", "f", "ghost", "r", "warning", "firing", 0, 1.0, "poor", "ghost is low", {}, {}))
    now: list[int] = msgspec.json.decode(position_of(engine))
    ahead = msgspec.json.encode([now[0] + 1, *now[1:]])
    for headers in ([ahead, position_of(engine)], [position_of(engine), ahead], [None, ahead]):
        assert not PublishedAlerts([(ghost, header) for header in headers]).reached(engine)


def test_a_record_without_a_position_counts_by_its_own_time() -> None:
    """Records of other programs, and of workers that wrote no header."""
    scenario = Generations(LOW)
    scenario.use(0.1, 8)
    engine = scenario.drive.engine
    assert engine.as_of is not None
    for time_ms, reached in ((engine.as_of, True), (engine.as_of + 1, False)):
        alert = Alert("i", "f", "ghost", "r", "warning", "firing", time_ms, 1.0, "poor", "ghost is low", {}, {})
        assert PublishedAlerts([(encode(alert), None)]).reached(engine) == reached


@pytest.mark.parametrize("mode", [Mode.HEAD, Mode.EXACT])
@pytest.mark.parametrize("firing", [True, False])
def test_what_was_held_back_and_saved_is_published_with_its_own_time(firing: bool, mode: Mode) -> None:
    """The second worker saves how the published episode goes on, and crashes before it may publish that."""
    scenario = Generations(LOW, window="7d")
    scenario.drive.turn_to(mode)
    scenario.use(0.1, 8 if firing else 2)
    if firing:
        scenario.commit()
    scenario.pass_to(8)
    if not firing:
        scenario.commit()
        scenario.use(8.1, 5)
    published = scenario.drive.alerts[-1]
    assert published.status == ("firing" if firing else "resolved")
    far = msgspec.json.encode([START + 20 * DAY, *[0] * len(BUILT_IN.inputs)])
    tails = {ALERTS: tail_of([encode(published)], end=1, position=far)}

    def crash() -> None:
        scenario.crash(mode=mode)
        scenario.drive.reconciler = Reconciler(tails)
        scenario.drive.reconciler.load(scenario.drive.engine)

    before = len(scenario.published)
    crash()
    if firing:
        scenario.pass_to(8)
        scenario.use(8.1, 5)
    else:
        scenario.use(8.1, 5)
        scenario.pass_to(16)
    assert len(scenario.published) == before, "all is held back"
    scenario.drive.save()
    crash()
    scenario.pass_to(21)
    scenario.drive.reconcile()
    again = [("resolved", "r", 8.1), ("firing", "r", 15.0)]
    assert scenario.published[before:] == (again if firing else again[1:])


def test_sources_that_a_policy_adds_are_waited_for_by_name() -> None:
    added = "\n[sources.visits]\nfields = {}\n[sources.licences]\nfields = {}\n"
    engine = Generations(LOW + added).drive.engine
    engine.position.update(licences=3, visits=5)
    time_and_built_in = [0] * (1 + len(BUILT_IN.inputs))
    assert msgspec.json.decode(position_of(engine)) == [*time_and_built_in, {"licences": 3, "visits": 5}]
    ghost = encode(Alert("i", "f", "ghost", "r", "warning", "firing", 0, 1.0, "poor", "ghost is low", {}, {}))
    for offsets, expected in (
        ({"licences": 3, "visits": 5}, True),
        ({"licences": 4, "visits": 5}, False),
        ({"removed": 9, "licences": 1}, True),  # of a policy before: nobody reads it any more
        ({}, True),
    ):
        header = msgspec.json.encode([*time_and_built_in, offsets])
        assert PublishedAlerts([(ghost, header)]).reached(engine) is expected

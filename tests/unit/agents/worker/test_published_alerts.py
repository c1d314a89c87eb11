"""What readers of alerts were told before a crash and the next life does not come by any more."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from kafka import TopicPartition
from kafka.errors import CorruptRecordError

from agents.settings.settings import Settings
from agents.worker import processor as processors
from agents.worker import published as telling
from agents.worker.clock import BrokerClock
from agents.worker.metrics import Telemetry
from agents.worker.processor import Processor
from schemas.codecs import encode
from schemas.outputs import Alert
from schemas.topics import ALERTS, CHANGES
from stream.engine.engine import Engine, Mode
from stream.publishing.baseline import Heard
from stream.publishing.effects import Effects, Message
from stream.recovery import changelog
from stream.recovery.alert_reconciler import Retelling, position_of
from tests.driving.alert_histories import DAY, START, Scenario, rule

if TYPE_CHECKING:
    from agents.worker.outbox import Outbox

LOW = rule("when = { below = 40 }")
STALLS = '[sources.product-usage]\nstall_after = "1d"\n'


class Generations(Scenario):
    """A story whose worker crashes: what it told stays, what it did not save is gone."""

    known = 0

    def crash(self, *, mode: Mode = Mode.CONFLATED) -> None:
        """Go on from the last commit, knowing what was told since."""
        told = self.drive.alerts[self.known :]
        engine = Engine(self.plan)
        changelog.restore(engine, self.drive.topic)
        self.drive.engine, self.drive.mode = engine, mode
        self.drive.told = Retelling([(encode(alert), None) for alert in told], len(self.drive.alerts))

    def commit(self) -> None:
        self.drive.save()
        self.known = len(self.drive.alerts)

    def catch_up(self) -> list[tuple[str, float]]:
        """Arrive; what is told then, as (status, day)."""
        before = len(self.published)
        self.drive.turn_to(Mode.HEAD)
        self.drive.agree()
        return [(status, day) for status, _, day in self.published[before:]]


def test_an_alert_that_was_over_within_a_step_of_the_next_life_is_closed() -> None:
    scenario = Generations(LOW)
    scenario.use(0.1, 8)
    scenario.commit()
    scenario.use(1.2, 2)
    assert scenario.published[-1] == ("firing", "r", 1.0)
    scenario.crash()
    scenario.drive.take([scenario.record(1.2)] * 1)
    scenario.use(1.3, 8)
    assert scenario.catch_up() == [("resolved", 1.3)]
    assert scenario.drive.alerts[-1].summary == "acme: r is over"
    assert not scenario.drive.engine.alert_emitter._accounts.alerts.phase.any()


def test_an_alert_that_is_open_again_within_a_step_of_the_next_life_is_told() -> None:
    scenario = Generations(LOW)
    scenario.use(0.1, 2)
    scenario.commit()
    scenario.use(0.2, 4)
    assert [status for status, _, _ in scenario.published] == ["firing", "resolved"]
    scenario.crash()
    scenario.drive.take([scenario.record(0.2, id=f"again{at}") for at in range(1)])
    assert scenario.catch_up() == [("firing", 0.2)]
    last = scenario.drive.alerts[-1]
    assert last.flaps == 1, "it was resolved a moment ago"


@pytest.mark.parametrize("mode", [Mode.HEAD, Mode.CONFLATED])
def test_what_was_told_is_not_told_twice(mode: Mode) -> None:
    scenario = Generations(LOW)
    scenario.use(0.1, 8)
    scenario.commit()
    first = [scenario.record(1.2)]
    scenario.drive.take(first)
    scenario.crash(mode=mode)
    scenario.drive.take(first)
    assert scenario.catch_up() == []
    assert [status for status, _, _ in scenario.published] == ["firing"]


def test_what_comes_after_what_was_told_is_told_as_it_is() -> None:
    scenario = Generations(LOW)
    scenario.use(0.1, 8)
    scenario.commit()
    first = [scenario.record(1.2)]
    scenario.drive.take(first)
    scenario.crash(mode=Mode.HEAD)
    scenario.drive.take(first)
    scenario.use(1.3, 7)
    assert scenario.published == [("firing", "r", 1.0), ("resolved", "r", 1.3)]
    assert scenario.drive.alerts[-1].summary.startswith("acme is not below 40 any more")


def test_what_is_told_in_other_words_ends_when_it_ended() -> None:
    """The next life comes by the same alert a little later, and by its end long before it has come as far."""
    scenario = Generations(LOW)
    scenario.use(0.1, 8)
    first = Alert("i", "f", "acme", "r", "warning", "firing", START + DAY, 0.0, "poor", "low", {}, {})
    retelling = Retelling([(encode(first), None)], 1)
    later = msgspec.structs.replace(first, id="j", starts_at=START + DAY + 5)
    ended = msgspec.structs.replace(later, id="k", status="resolved", ends_at=START + 2 * DAY)
    again = msgspec.structs.replace(later, id="l", starts_at=START + 3 * DAY)
    effects = Effects(alerts=[Message(b"acme", encode(alert)) for alert in (later, ended, again)])
    retelling.hold(effects)
    assert effects.alerts == []
    told = [msgspec.json.decode(sent.value, type=Alert) for sent in retelling.agree(scenario.drive.engine).alerts]
    assert [(alert.status, alert.starts_at, alert.ends_at) for alert in told] == [
        ("resolved", START + DAY, START + 2 * DAY),
        ("firing", START + 3 * DAY, None),
    ]


def test_an_account_or_a_rule_that_nobody_knows_any_more_has_no_open_alert() -> None:
    scenario = Generations(LOW)
    scenario.use(0.1, 8)
    ghost = Alert("i", "f", "ghost", "r", "warning", "firing", 0, 1.0, "poor", "ghost is low", {}, {"account": "Ghost"})
    gone = Alert("j", "g", "acme", "gone", "warning", "firing", 0, 1.0, "poor", "acme is gone", {}, {})
    over = Alert("k", "g", "acme", "over", "warning", "resolved", 0, 1.0, "poor", "acme is gone", {}, {}, ends_at=1)
    values = [encode(ghost), b"not an alert", None, encode(gone), encode(over)]
    effects = Retelling([(value, None) for value in values], 5).agree(scenario.drive.engine)
    scenario.drive.note(effects)
    told = [(alert.account_id, alert.rule, alert.status) for alert in scenario.drive.alerts]
    assert told == [("ghost", "r", "resolved"), ("acme", "gone", "resolved")]
    assert effects.alerted == {("r", "resolved"): 1, ("gone", "resolved"): 1}


def test_a_stall_that_is_over_is_closed_and_one_that_goes_on_is_not() -> None:
    for comes_again, expected in ((False, []), (True, [("resolved", "stalled:product-usage", 2.1)])):
        scenario = Generations(LOW + STALLS)
        scenario.use(0.1, 8)
        scenario.take(0.2, "support-tickets")
        scenario.commit()
        later = [scenario.record(2.0, "support-tickets")]
        scenario.drive.take(later)
        assert ("firing", "stalled:product-usage", 1.1) in scenario.published
        scenario.crash()
        scenario.drive.take(later)
        if comes_again:
            scenario.drive.take([scenario.record(2.1) for _ in range(8)])
        before = len(scenario.published)
        scenario.catch_up()
        assert [one for one in scenario.published[before:] if one[1].startswith("stalled:")] == expected


def test_a_worker_waits_until_it_has_come_as_far_and_knows_how_far_was_told() -> None:
    scenario = Generations(LOW)
    scenario.use(0.1, 8)
    scenario.commit()
    settings, clock, telemetry = Settings(partitions=1), BrokerClock(), Telemetry()
    outbox = Posted()
    processor = Processor(scenario.plan, settings, cast("Outbox", outbox), telemetry, clock)
    processor.open(0, dict(scenario.drive.topic))
    task = processor.tasks[0]
    ghost = Alert("i", "f", "ghost", "r", "warning", "firing", 0, 1.0, "poor", "ghost is low", {}, {})
    came = position_of(task.engine)
    task.engine.position["surveys"] += 3
    task.hear(Retelling([(encode(ghost), position_of(task.engine))], 42), Heard())
    task.engine.position["surveys"] -= 3
    processor._agree(task)
    assert task.told is not None, "the one before had three surveys more"
    task.engine.position["surveys"] += 3
    task.mode = Mode.CONFLATED
    processor._agree(task)
    assert task.told is not None, "alerts wait while it catches up"
    task.mode = Mode.HEAD
    processor._agree(task)
    assert task.told is None
    assert task.changed
    (message,) = outbox.records["health.alerts"]
    assert message.key == b"ghost"
    assert message.headers == (("vitals.position", position_of(task.engine)),)
    assert message.headers[0][1] > came
    assert task.published_up_to[ALERTS] == 42
    assert task.namespaces.told[ALERTS] == 0, "not before it is committed"


def test_what_no_worker_can_have_told_is_agreed_on_when_nothing_is_left_to_apply(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processors, "IDLE_S", -1.0)
    scenario = Generations(LOW)
    scenario.use(0.1, 8)
    scenario.commit()
    outbox = Posted()
    settings = Settings(partitions=1, time="event")
    processor = Processor(scenario.plan, settings, cast("Outbox", outbox), Telemetry(), BrokerClock())
    processor.open(0, dict(scenario.drive.topic))
    task = processor.tasks[0]
    ghost = Alert("i", "f", "ghost", "r", "warning", "firing", 2**50, 1.0, "poor", "ghost is low", {}, {})
    task.hear(Retelling([(encode(ghost), None)], 42), Heard())
    processor.highwater = lambda _tp: 1_000
    asyncio.run(processor.tick())
    assert task.told is not None, "there is more to apply"
    processor.highwater = lambda _tp: 0
    asyncio.run(processor.tick())
    assert task.told is None
    assert [message.key for message in outbox.records["health.alerts"]] == [b"ghost"]


class Topic:
    """A consumer of topics with three records a partition; one of the first partition of alerts can not be read."""

    def __init__(self) -> None:
        self.at: dict[TopicPartition, int] = {}

    def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 3)

    def assign(self, places: list[TopicPartition]) -> None:
        self.at = dict.fromkeys(places, 0)

    def seek(self, place: TopicPartition, offset: int) -> None:
        self.at[place] = offset

    def position(self, place: TopicPartition) -> int:
        return self.at[place]

    def poll(self, **_: object) -> dict[TopicPartition, list[object]]:
        (place,) = self.at
        if place == TopicPartition(ALERTS, 0) and self.at[place] == 2:
            raise CorruptRecordError
        self.at[place] += 1
        return {place: [SimpleNamespace(value=b"%d" % self.at[place], headers=[("vitals.position", b"[1]")])]}

    def close(self) -> None:
        pass


def test_of_both_topics_what_came_after_the_last_commit_is_read_as_far_as_it_can_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(telling, "consumer_of", lambda _settings: Topic())
    monkeypatch.setattr(telling, "Retelling", lambda records, end: (list(records), end))
    monkeypatch.setattr(telling, "Heard", lambda values, end: (list(values), end))
    since = {0: {ALERTS: 0, CHANGES: 1}, 1: {ALERTS: 1, CHANGES: 3}, 2: {}, 3: {ALERTS: 3}}
    told: Any = telling.read_told(Settings(), since)
    position = b"[1]"
    one, two, three = ((text, position) for text in (b"1", b"2", b"3"))
    assert told == {
        0: (([one, two], 3), ([b"2", b"3"], 3)),
        1: (([two, three], 3), ([], 3)),
        2: (([one, two, three], 3), ([], 3)),
        3: (([], 3), ([], 3)),
    }


class Posted:
    """An outbox that only notes what is put in."""

    def __init__(self) -> None:
        self.records: dict[str, list[Message[bytes]]] = {}

    def put(self, topic: str, partition: int, records: list[Message[bytes]]) -> None:
        assert partition == 0
        self.records.setdefault(topic, []).extend(records)

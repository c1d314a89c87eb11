"""The API of dead letters: what is read and handled, and the errors of topics that are none or cannot be replayed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agents.board.views.dead_letters import LONGEST_TEXT, DeadLetterGroup, DeadLettersHandled, group_view, letter_view
from agents.board.web import dead_letters
from agents.board.web.dead_letters import KafkaDeadLetters, NoDeadLetters
from agents.board.web.responses import UnavailableError
from agents.dlq.groups import Group
from agents.dlq.letters import Letter
from agents.kafka.client import BrokerError
from agents.kafka.letters import Position
from schemas.sources import BUILT_IN, Sources
from tests.driving.boards import board_of, client_of, settings

if TYPE_CHECKING:
    from agents.board.views.dead_letters import DeadLetterView
    from agents.dlq.letters import Selection
    from agents.dlq.progress import Action

SAME = {"Sec-Fetch-Site": "same-origin"}
PATH = "/api/dead-letters/billing.dlq/invalid%2Ffield"


def letter(value: bytes | None = b"x", number: int = 7) -> Letter:
    return Letter(
        Position("billing.dlq", 1, number), 1000 + number, "r", "why", Position("billing", 1, 3), b"a", value, ()
    )


class Box:
    """Two groups; records what is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    def groups(self) -> list[DeadLetterGroup]:
        return [group_view(Group("billing.dlq", "invalid/field", 2, 1, 0, 5, 9))]

    def newest(self, topic: str, reason: str, limit: int) -> list[DeadLetterView]:
        self.asked.append((topic, reason, limit))
        return [letter_view(letter())]

    def handle(self, topic: str, reason: str, action: Action) -> DeadLettersHandled:
        self.asked.append((topic, reason, action))
        return DeadLettersHandled(2, 1, 0)


def test_groups_and_their_newest_letters() -> None:
    box = Box()
    client = client_of(board_of(), dead_letters=box)
    (group,) = client.get("/api/dead-letters").json()["items"]
    assert (group["reason"], group["open"], group["replayable"]) == ("invalid/field", 2, True)
    (item,) = client.get(f"{PATH}?limit=3").json()["items"]
    assert item == {
        "position": "billing.dlq/1/7",
        "time": 1007,
        "account": "a",
        "message": "why",
        "origin": "billing/1/3",
        "value": "x",
    }
    assert box.asked == [("billing.dlq", "invalid/field", 3)]


@pytest.mark.parametrize(("path", "action"), [("replay", "replayed"), ("discard", "discarded")])
def test_a_reason_is_replayed_or_discarded(path: str, action: str) -> None:
    box = Box()
    client = client_of(board_of(), dead_letters=box)
    assert client.post(f"{PATH}/{path}", headers=SAME).json() == {"replayed": 2, "repeated": 1, "discarded": 0}
    assert box.asked == [("billing.dlq", "invalid/field", action)]
    assert client.post(f"{PATH}/{path}", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_only_input_records_of_dead_letter_topics_are_replayed() -> None:
    client = client_of(board_of(), dead_letters=Box())
    answer = client.post("/api/dead-letters/health.alerts.webhook.dlq/receiver/replay", headers=SAME)
    assert (answer.status_code, "only input records" in answer.json()["error"]["message"]) == (400, True)
    answer = client.get("/api/dead-letters/billing/r")
    assert (answer.status_code, "billing.dlq" in answer.json()["error"]["message"]) == (404, True)


def test_a_recording_has_no_dead_letters() -> None:
    client = client_of(board_of(), dead_letters=NoDeadLetters())
    assert client.get("/api/dead-letters").json() == {"items": []}
    assert client.get(PATH).json() == {"items": []}
    assert client.post(f"{PATH}/discard", headers=SAME).status_code == 503


def test_a_value_is_shown_as_text_and_cut() -> None:
    assert letter_view(letter(None)).value is None
    assert letter_view(letter(b"\xff" + b"x" * 9000)).value == "\ufffd" + "x" * (LONGEST_TEXT - 1)


def test_errors_of_the_broker_are_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        msg = "no Kafka broker"
        raise BrokerError(msg)

    for name in ("groups_of", "newest_open", "handle"):
        monkeypatch.setattr(dead_letters, name, fails)
    box = KafkaDeadLetters(settings(), BUILT_IN)
    for ask in (box.groups, lambda: box.newest("t", "r", 1), lambda: box.handle("t", "r", "replayed")):
        with pytest.raises(UnavailableError, match="no Kafka broker"):
            ask()


def test_groups_with_open_letters_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def groups_of(_settings: object, _sources: Sources, _selection: Selection) -> list[Group]:
        return [Group("a.dlq", "r"), Group("b.dlq", "r", 1), Group("c.dlq", "q", 2)]

    monkeypatch.setattr(dead_letters, "groups_of", groups_of)
    assert [group.topic for group in KafkaDeadLetters(settings(), BUILT_IN).groups()] == ["b.dlq", "c.dlq", "a.dlq"]

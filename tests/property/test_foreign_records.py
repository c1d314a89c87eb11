"""Records that anybody can write: every reader decodes them or counts them as unreadable, and never fails otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NoReturn

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agents.board.state.board import Board, Record
from agents.board.state.state import TOPICS
from agents.board.views.account import diff_of
from agents.board.views.account import page_of as account_page
from agents.board.views.inputs import RawEvent, SearchResult
from agents.board.views.listing import SORTS, ListQuery
from agents.board.views.listing import page_of as list_page
from agents.board.views.rows import alert_view
from agents.board.views.shadow import shadow_of
from agents.board.views.summary import filters_of
from agents.board.views.timeline import KINDS, page_of, position_of, topics_of
from agents.demo.output_reader import OutputReader
from agents.demo.status import Status
from agents.derived.loop import DerivationLoop
from agents.derived.metrics import DerivedTelemetry
from agents.derived.rollup import RollupDerivation
from agents.sinks.alert_records import read_alert
from agents.sinks.redis.fields import write_of
from schemas.codecs import REASONS
from schemas.events import ProfileEvent
from schemas.outputs import Alert, RollupMessage, ScoreChange, ScoreMessage, ShadowMessage
from schemas.peers import PeerScore, PeersMessage
from schemas.records import UnreadableError, read_event, read_key, read_members, read_message, read_time
from schemas.sources import BUILT_IN
from schemas.topics import ALERTS, CHANGES, SCORES
from stream.publishing.baseline import Baseline
from stream.recovery.published_alerts import PublishedAlerts
from tests.driving.boards import NOON, alert, board_of, change, profile, score, shadow

MESSAGES = (Alert, PeerScore, PeersMessage, ProfileEvent, RollupMessage, ScoreChange, ScoreMessage, ShadowMessage)
VALID = [
    msgspec.json.decode(record.value or b"{}")
    for record in (
        score("acme", 55.0, override={"reason": "r", "since": 1, "expires_at": 2, "score": 3.0}),
        change("acme", NOON, 80.0, 55.0),
        alert("acme"),
        alert("", labels={"partition": "0"}),
        profile("acme", name="Acme", started_at="2024-01-01T00:00:00Z", arr=5.0),
        shadow("acme", 40.0, "low"),
    )
]
NUMBERS = st.one_of(
    st.integers(),
    st.sampled_from([2**53, 2**63, -(2**63) - 1, 2**64, 10**40, -1, 0, 253_402_300_799_999, 253_402_300_800_000]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.just(1e308),
)
TEXTS = st.one_of(st.text(), st.sampled_from(["\x1b[2J", "\u202egnp", "a/b", "", "..", "\x9b31m"]))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def changed_messages(draw: st.DrawFn) -> bytes:
    """A message with some fields replaced, at any depth, and perhaps a byte that is not UTF-8."""
    message = msgspec.json.decode(msgspec.json.encode(draw(st.sampled_from(VALID))))
    for _ in range(draw(st.integers(0, 3))):
        target: Any = message
        while isinstance(target, dict) and target:
            name = draw(st.sampled_from(sorted(target)))
            below = target[name][0] if isinstance(target[name], list) and target[name] else target[name]
            if not isinstance(below, dict) or draw(st.booleans()):
                target[name] = draw(st.one_of(NUMBERS, TEXTS, JSON))
                break
            target = below
    value = msgspec.json.encode(message)
    if draw(st.booleans()):
        position = draw(st.integers(0, len(value)))
        value = value[:position] + draw(st.binary(max_size=2)) + value[position:]
    return value


KEYS = st.one_of(st.none(), st.binary(max_size=4), st.just(b"acme"))
VALUES = st.one_of(st.none(), st.binary(), JSON.map(msgspec.json.encode), changed_messages(), st.just(b"[" * 100_000))
RECORDS = st.lists(st.tuples(st.sampled_from(TOPICS), KEYS, VALUES), max_size=8)


def refuses(read: Any, *arguments: Any) -> bool:
    """Whether a reader raises `UnreadableError`, with one of the known reasons; any other error fails the test."""
    try:
        read(*arguments)
    except UnreadableError as error:
        if error.reason not in REASONS:
            raise
        return True
    return False


@given(VALUES)
@example(b'{"time":1,"note":"\xff"}')
@example(b"{" + b'"a":[' * 50_000)
def test_a_value_is_read_or_refused_with_a_reason(value: bytes | None) -> None:
    for kind in MESSAGES:
        refuses(read_message, kind, value)
    for read in (read_event, read_time, read_members, read_alert, read_key):
        refuses(read, value)
    refuses(write_of, b"acme", 0, value)


@given(KEYS)
def test_a_key_is_read_or_refused_with_a_reason(key: bytes | None) -> None:
    assert refuses(read_key, key) or read_key(key).encode() == key


def answers(board: Board) -> Iterator[Any]:
    """Every answer of the board's API."""
    state = board.state
    yield from (board.summary(), filters_of(state), shadow_of(state, None, 50))
    for name in state.score_names():
        for sort in SORTS:
            yield list_page(state, ListQuery(name, text="a", sort=sort), 50, None)
            yield list_page(state, ListQuery(name, sort=sort, descending=True), 50, None)
    for open_alert in state.episodes.all_open():
        yield alert_view(state, open_alert)
    for account in state.accounts.values():
        yield account_page(state, account, None)
        for name in account.scores:
            yield diff_of(state, account, name, account.as_of - 1, None)
        position = position_of(None, None, BUILT_IN)
        nothing = SearchResult([], {}, 0, 0)
        yield page_of(state, account, position, nothing, BUILT_IN, limit=50, kinds=frozenset(KINDS))


@given(RECORDS)
def test_a_board_counts_what_it_cannot_read_and_always_answers(
    records: list[tuple[str, bytes | None, bytes | None]],
) -> None:
    board = board_of(score("acme", 50.0), change("acme", NOON - 1, 60.0, 50.0), alert("acme"))
    before = board.state.version
    board.apply(Record(topic, key, value, NOON) for topic, key, value in records)
    assert board.state.version + board.state.unreadable.total() == before + len(records)
    for answer in answers(board):
        msgspec.json.encode(answer)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(topics_of(frozenset(KINDS), BUILT_IN)), VALUES.filter(lambda value: value is not None)
        )
    )
)
@example(
    [("billing", b'{"time":1,"note":"\xff"}'), ("billing", b'{"time":1,"kind":"renewed","amount":' + b"9" * 400 + b"}")]
)
def test_a_timeline_shows_events_that_cannot_be_read_as_such(records: list[tuple[str, bytes]]) -> None:
    board = board_of(score("acme", 50.0))
    raw_events = [RawEvent(topic, offset, NOON - offset, value) for offset, (topic, value) in enumerate(records)]
    timeline = page_of(
        board.state,
        board.state.accounts["acme"],
        position_of(None, None, BUILT_IN),
        SearchResult(raw_events, {}, 0, len(raw_events)),
        BUILT_IN,
        limit=500,
        kinds=frozenset(KINDS),
    )
    msgspec.json.encode(timeline)
    assert len(timeline.items) == len(records)
    assert timeline.unreadable == sum(refuses(read_event, value) for _, value in records)


@given(RECORDS)
def test_the_demo_counts_what_it_cannot_read(records: list[tuple[str, bytes | None, bytes | None]]) -> None:
    reader = OutputReader({}, from_end=False)
    for topic, key, value in records:
        if topic in {SCORES, CHANGES, ALERTS}:
            reader.read(topic, SimpleNamespace(key=key, value=value))
    status: Status = reader.status
    assert sum(status.bands().values()) == status.accounts
    status.biggest_moves(5)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=8))
def test_a_rollup_skips_and_counts_what_it_cannot_read(records: list[tuple[bytes | None, bytes | None]]) -> None:
    derivation = RollupDerivation()
    loop = object.__new__(DerivationLoop)
    loop._telemetry = DerivedTelemetry("rollup")
    loop._latest, loop._scores = {}, SCORES
    for offset, (key, value) in enumerate(records):
        loop._process(derivation.apply, 0, SimpleNamespace(key=key, value=value, offset=offset))
    list(derivation.changed())
    unreadable = sum(
        key is not None
        and (refuses(read_key, key) or (value is not None and refuses(read_message, ScoreMessage, value)))
        for key, value in records
    )
    assert (
        loop._telemetry.registry.get_sample_value("vitals_derived_unreadable_total", {"process": "rollup"})
        == unreadable
    )


@given(st.lists(st.tuples(VALUES, VALUES), max_size=8))
def test_a_restoring_worker_skips_what_no_worker_wrote(records: list[tuple[bytes | None, bytes | None]]) -> None:
    PublishedAlerts(records)
    Baseline(records, len(records))


def test_a_reader_that_fails_otherwise_is_found() -> None:
    """The check of this file can fail."""

    def read(_value: bytes) -> NoReturn:
        raise OverflowError

    with pytest.raises(OverflowError):
        refuses(read, b"")

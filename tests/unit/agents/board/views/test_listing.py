"""Lists of accounts: filters, order, and cursors that stay valid while data changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.board.state.state import State
from agents.board.views.listing import SORTS, CursorError, ListQuery, page_of
from schemas.topics import DAY_MS
from tests.driving.boards import NOON, alert, board_of, profile, score, score_history

ALL = ListQuery("health")


def ids(state: State, query: ListQuery, limit: int = 100) -> list[str]:
    return [row.account_id for row in page_of(state, query, limit, None).items]


@pytest.fixture(scope="module")
def state() -> State:
    return board_of(
        profile(
            "a", name="Zebra", owner="ann", tier="gold", arr=10.0, country="DE", modules=["crm", "billing"], seats=7
        ),
        profile("b", name="apple", owner="bob", country="AT", modules="crm", vip=True),
        profile("c", owner="ann", arr=5.0),
        *score_history("a", 50.0, 80.0),
        *score_history("b", 70.0, 30.0, end=NOON - DAY_MS // 2),
        score("c", 60.0, NOON - DAY_MS, segment="small"),
        score("d", 60.0, NOON - 40 * DAY_MS),
        alert("b"),
    ).state


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (ALL, "b c d a"),
        (ALL._replace(descending=True), "a c d b"),
        (ALL._replace(sort="change_1d"), "b c d a"),
        (ALL._replace(sort="change_7d"), "d a b c"),
        (ALL._replace(sort="name"), "b c d a"),
        (ALL._replace(sort="name", descending=True), "a d c b"),
        (ALL._replace(sort="arr"), "c a b d"),
        (ALL._replace(sort="arr", descending=True), "a c b d"),
        (ALL._replace(sort="as_of", descending=True), "a b c d"),
        (ALL._replace(sort="alerts", descending=True), "b a c d"),
        (ALL._replace(bands=frozenset({"healthy", "at-risk"})), "b a"),
        (ALL._replace(segments=frozenset({"small"})), "c"),
        (ALL._replace(segments=frozenset({""})), "b d a"),
        (ALL._replace(owners=frozenset({"ann"})), "c a"),
        (ALL._replace(owners=frozenset({""})), "d"),
        (ALL._replace(tiers=frozenset({"gold"})), "a"),
        (ALL._replace(sort="attribute:country"), "b a c d"),
        (ALL._replace(sort="attribute:country", descending=True), "a b c d"),
        (ALL._replace(sort="attribute:modules"), "b a c d"),
        (ALL._replace(sort="attribute:seats", descending=True), "a b c d"),
        (ALL._replace(sort="attribute:nothing"), "a b c d"),
        (ALL._replace(attributes=frozenset({("country", "DE")})), "a"),
        (ALL._replace(attributes=frozenset({("country", "DE"), ("country", "AT")})), "b a"),
        (ALL._replace(attributes=frozenset({("country", "DE"), ("modules", "crm")})), "a"),
        (ALL._replace(attributes=frozenset({("modules", "crm")})), "b a"),
        (ALL._replace(attributes=frozenset({("seats", "7")})), "a"),
        (ALL._replace(attributes=frozenset({("vip", "true"), ("vip", "")})), "b c d a"),
        (ALL._replace(attributes=frozenset({("country", "")})), "c d"),
        (ALL._replace(text="ZEB"), "a"),
        (ALL._replace(text="bo"), "b"),
        (ALL._replace(alerts_open=True), "b"),
        (ListQuery("upsell"), ""),
    ],
)
def test_filters_and_order(state: State, query: ListQuery, expected: str) -> None:
    assert ids(state, query) == expected.split()
    assert page_of(state, query, 1, None).total == len(expected.split())


def test_numbers_of_an_attribute_come_before_texts_and_flags_are_texts() -> None:
    values = {"a": "Zebra", "b": 10, "c": "apple", "d": 9.5, "e": True, "f": -1, "g": [], "h": "apple"}
    board = board_of(
        *(profile(name, size=value) for name, value in values.items()), *(score(name, 50.0) for name in values)
    )
    query = ALL._replace(sort="attribute:size")
    assert ids(board.state, query) == list("fdbcheag")
    assert ids(board.state, query._replace(descending=True)) == list("aechbdfg")


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.sampled_from([10.0, 20.0, 30.0, 80.0]), max_size=12),
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.sampled_from([15.0, 25.0, 95.0]), max_size=6),
    st.integers(1, 4),
    st.booleans(),
    st.sampled_from([*sorted(SORTS), "attribute:size"]),
)
def test_an_account_whose_value_does_not_change_is_on_exactly_one_page(
    begin: dict[str, float], later: dict[str, float], limit: int, descending: bool, sort: str
) -> None:
    # Only scores change: everything else that lists are sorted by stays the same, except for the time.
    sort = "score" if sort == "as_of" else sort
    sizes = [3, "three", None, 3.5, "3"]
    profiles = [profile(account, size=sizes[len(account) % 5 + index % 2]) for index, account in enumerate(begin)]
    board = board_of(*profiles, *(score(account, value) for account, value in begin.items()))
    query = ALL._replace(sort=sort, descending=descending)
    changes = [score(account, value) for account, value in later.items()]
    seen: list[str] = []
    cursor = None
    while True:
        page = page_of(board.state, query, limit, cursor)
        assert len(page.items) <= limit
        seen += [row.account_id for row in page.items]
        cursor = page.next
        if cursor is None:
            break
        board.apply(changes[:1])
        changes = changes[1:]
    for account in begin.keys() - later.keys():
        assert seen.count(account) == 1


@pytest.mark.parametrize("cursor", ["", "x", "not base64!", "k7A", "é", "kwECAw"])
def test_a_text_that_is_no_cursor_is_refused(state: State, cursor: str) -> None:
    with pytest.raises(CursorError):
        page_of(state, ALL, 1, cursor)


def test_a_cursor_of_another_query_is_refused(state: State) -> None:
    cursor = page_of(state, ALL, 1, None).next
    with pytest.raises(CursorError, match="another query"):
        page_of(state, ALL._replace(descending=True), 1, cursor)

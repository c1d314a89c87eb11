"""Records that are mapped together have the outcomes that each of them has alone."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.mapper.records import Outcome, checked, draft_of
from schemas.sources import BUILT_IN
from stream.mapping.apply import BoundMapping
from stream.mapping.reading import parse_mapping
from tests.driving.mapping import outcome_of
from tests.strategies.effort import examples

ALLOWED = "allowed: cancelled, downgraded, invoice_overdue, invoice_paid, payment_failed, renewed, upgraded"
MAPPING = parse_mapping(
    """
[[map]]
name = "line"
root = "lines"
to = "billing"
[map.fields]
kind = { path = "state", lookup = { paid = "invoice_paid" } }
amount = "amount"

[[map]]
name = "customer"
when = "customer"
to = "accounts"
[map.fields]
name = "customer"
arr = "arr"

[[map]]
name = "seen"
when = "seen != 'no'"
to = "product-usage"
fields = { user_id = "seen", feature = { value = "page" } }
""",
    "shop.toml",
)


class Consumed(NamedTuple):
    """What a consumer gives."""

    value: bytes | None
    key: bytes | None = b"acme"
    headers: tuple[tuple[str, bytes | None], ...] = ()
    topic: str = "orders"
    partition: int = 2
    offset: int = 17
    timestamp: int = 1_774_605_600_000


LINES = st.lists(
    st.fixed_dictionaries({"state": st.sampled_from(["paid", "lost"]), "amount": st.sampled_from([1, "2.5", "much"])}),
    max_size=3,
)
VALUES = st.none() | st.fixed_dictionaries(
    {"lines": LINES},
    optional={
        "customer": st.sampled_from(["Acme", "é", 7]),
        "arr": st.sampled_from([5, "x"]),
        "seen": st.sampled_from(["no", "ann", [1], None]),
    },
).map(lambda value: json.dumps(value).encode())
RECORDS = st.builds(Consumed, VALUES | st.sampled_from([b"{", b"[1]"]), st.sampled_from([b"acme", b'"a\\nb"', None]))


def together(records: list[Any]) -> list[Outcome]:
    bound = BoundMapping(MAPPING, BUILT_IN)
    return checked([draft_of(record, bound) for record in records], bound)


@settings(max_examples=examples(200))
@given(st.lists(RECORDS, max_size=6))
def test_records_together_have_the_outcomes_that_they_have_alone(records: list[Consumed]) -> None:
    assert together(records) == [outcome_of(record, MAPPING, BUILT_IN) for record in records]


def test_a_refused_event_costs_the_events_of_its_record_and_no_other() -> None:
    good, bad = ({"state": state, "amount": 1} for state in ("paid", "lost"))
    values = [{"lines": lines, "seen": "no"} for lines in ([good], [good, bad], [good, good])]
    outcomes = together([Consumed(json.dumps(value).encode()) for value in values])
    assert [(outcome.outcome, len(outcome.events), outcome.message) for outcome in outcomes] == [
        ("mapped", 1, None),
        ("invalid_field", 0, f"rule line of shop.toml: billing: Invalid enum value 'lost' - at `$.kind`; {ALLOWED}"),
        ("mapped", 2, None),
    ]

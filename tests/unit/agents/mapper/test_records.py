"""What becomes of a record of another system on Kafka: all of its events, or a dead letter."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from agents.files.mappings import mapping_file
from agents.mapper.records import Outcome, letter_of
from schemas.sources import BUILT_IN
from stream.mapping.reading import parse_mapping
from tests.driving.mapping import outcome_of

MAPPING = parse_mapping(
    """
[[map]]
name = "order"
when = { path = "kind == 'order'", of = "record" }
root = "lines"
to = "billing"
[map.fields]
kind = { path = "state", lookup = { paid = "invoice_paid" } }
amount = "amount"

[[map]]
name = "customer"
when = "kind == 'order'"
to = "accounts"
[map.fields]
id = { path = "request", of = "headers" }
name = "customer"

[[map]]
name = "ping"
when = "kind == 'ping'"
skip = true
""",
    "shop.toml",
)


class Consumed(NamedTuple):
    """What a consumer gives."""

    value: bytes | None
    key: bytes | None = b"acme"
    headers: tuple[tuple[str, bytes | None], ...] = (("request", b"r-1"), ("empty", None))
    topic: str = "orders"
    partition: int = 2
    offset: int = 17
    timestamp: int = 1_774_605_600_000


def order(*lines: dict[str, Any]) -> bytes:
    return json.dumps({"kind": "order", "customer": "Acme", "lines": list(lines)}).encode()


def test_a_record_gives_events_with_what_its_place_says() -> None:
    value = order({"state": "paid", "amount": "12.50"}, {"state": "PAID", "amount": 3})
    outcome = outcome_of(Consumed(value), MAPPING, BUILT_IN)
    assert (outcome.outcome, outcome.message) == ("mapped", None)
    assert [(event.source, event.account, json.loads(event.value or b"")) for event in outcome.events] == [
        (
            "billing",
            "acme",
            {
                "kind": "invoice_paid",
                "amount": 12.5,
                "account_id": "acme",
                "time": 1_774_605_600_000,
                "id": "orders-2-17",
            },
        ),
        (
            "billing",
            "acme",
            {
                "kind": "invoice_paid",
                "amount": 3,
                "account_id": "acme",
                "time": 1_774_605_600_000,
                "id": "orders-2-17-1",
            },
        ),
        ("accounts", "acme", {"id": "r-1", "name": "Acme", "account_id": "acme", "time": 1_774_605_600_000}),
    ]


@pytest.mark.parametrize(
    ("record", "outcome", "message"),
    [
        (Consumed(None), "tombstone", None),
        (Consumed(b'{"kind":"ping"}'), "skipped", None),
        (
            Consumed(b'{"kind":"x","a":1}'),
            "unmapped",
            "no rule of shop.toml is for this record: its fields are kind, a",
        ),
        (Consumed(b"[1]"), "unmapped", "no rule of shop.toml is for this record: it is of type list, not an object"),
        (Consumed(b"{"), "malformed_json", "Input data was truncated"),
        (
            Consumed(order({"state": "paid"}), key=None),
            "mapping_failed",
            "; ".join(
                f"rule {rule} of shop.toml: it has no account: None is no account_id, and the record has no key"
                for rule in ("order", "customer")
            ),
        ),
        (
            Consumed(order({"state": "paid"}, {"state": "lost"})),
            "invalid_field",
            (
                "rule order of shop.toml: billing: Invalid enum value 'lost' - at `$.kind`; allowed: "
                "cancelled, downgraded, invoice_overdue, invoice_paid, payment_failed, renewed, upgraded"
            ),
        ),
    ],
)
def test_a_record_gives_no_event_if_one_of_them_cannot_be_used(
    record: Consumed, outcome: str, message: str | None
) -> None:
    assert outcome_of(record, MAPPING, BUILT_IN) == Outcome(outcome, [], message)


def test_a_dead_letter_is_the_record_with_the_reason_in_headers() -> None:
    record = Consumed(b"{")
    assert letter_of(record, outcome_of(record, MAPPING, BUILT_IN)) == {
        "key": b"acme",
        "value": b"{",
        "headers": [
            ("request", b"r-1"),
            ("empty", b""),
            ("vitals.error.reason", b"malformed_json"),
            ("vitals.error.message", b"Input data was truncated"),
            ("vitals.error.topic", b"orders"),
            ("vitals.error.partition", b"2"),
            ("vitals.error.offset", b"17"),
            ("vitals.error.time", b"1774605600000"),
        ],
    }


def test_a_tombstone_deletes_a_profile_where_a_rule_says_so() -> None:
    mapping = parse_mapping(mapping_file("debezium").read_text(encoding="utf-8"), "debezium.toml")
    accounts = Consumed(None, key=b'{"schema":{"type":"struct"},"payload":{"id":42}}', topic="shop.public.accounts")
    outcome = outcome_of(accounts, mapping, BUILT_IN)
    assert outcome.outcome == "mapped"
    assert [(event.source, event.account, event.value) for event in outcome.events] == [("accounts", "42", None)]
    for topic in ("shop.public.billing", "billing"):
        assert outcome_of(accounts._replace(topic=topic), mapping, BUILT_IN) == Outcome("tombstone", [])


@pytest.mark.parametrize("key", [b"42", b'"42"', b'{"id":42}', b'\x00\x00\x00\x00\x07{"id":42}'])
def test_a_row_of_accounts_has_the_account_of_its_key_in_any_form(key: bytes) -> None:
    mapping = parse_mapping(mapping_file("debezium").read_text(encoding="utf-8"), "debezium.toml")
    value = b'\x00\x00\x00\x00\x08{"op":"c","before":null,"after":{"name":"Acme"},"source":{"ts_ms":1774605600000}}'
    (event,) = outcome_of(Consumed(value, key, topic="shop.public.accounts"), mapping, BUILT_IN).events
    assert (event.source, event.account) == ("accounts", "42")
    assert json.loads(event.value or b"") == {
        "name": "Acme",
        "account_id": "42",
        "time": 1_774_605_600_000,
        "id": "shop.public.accounts-2-17",
    }

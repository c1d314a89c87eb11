"""What the message of a refused record says of the field: its value, and what it may be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.codecs import INVALID_FIELD, decode
from schemas.hints import record_hint
from schemas.sources import BUILT_IN

NAMED = {"id": "1", "account_id": "acme", "time": "2026-03-01T10:00:00Z"}
STATUS = "allowed: opened, reopened, solved, updated"
TIME = "write epoch milliseconds, or a time with its offset, such as 2026-03-01T10:00:00Z"
OTHERS = "; the other fields of the profile are used"
TICKET = {"ticket_id": "t", "status": "opened"}


def message(source: str, **fields: Any) -> str:
    """Why an event is refused."""
    (reject,) = decode(BUILT_IN[source], [json.dumps(NAMED | fields).encode()]).rejects
    assert reject.reason == INVALID_FIELD
    return reject.message


@pytest.mark.parametrize(
    ("source", "fields", "ending"),
    [
        ("support-tickets", TICKET | {"status": "open"}, f'`$.status`; did you mean "opened"? {STATUS}'),
        ("support-tickets", TICKET | {"status": "lost"}, f"`$.status`; {STATUS}"),
        ("support-tickets", TICKET | {"status": 1}, f"`$.status`; the value is 1; {STATUS}"),
        ("support-tickets", TICKET | {"priority": "p1"}, "`$.priority`; allowed: high, low, normal, urgent"),
        ("product-usage", {"count": "7"}, '`$.count`; the value is "7": write a JSON number, such as 4800.5'),
        ("product-usage", {"count": -1}, "`$.count`; the value is -1"),
        ("product-usage", {"user_id": 7, "feature": None}, "`$.user_id`; the value is 7"),
        ("surveys", {"kind": "nps", "score": None}, "got `null` - at `$.score`"),
        ("product-usage", {"time": "1.3.2026"}, f'`$.time`; the value is "1.3.2026": {TIME}'),
        ("product-usage", {"time": "2026-03-01T10:00:00"}, f'`$.time`; the value is "2026-03-01T10:00:00": {TIME}'),
        ("product-usage", {"feature": ["a"]}, '`$.feature`; the value is ["a"]'),
        ("product-usage", {"feature": ["x" * 100]}, f'`$.feature`; the value is ["{"x" * 58}…'),
        ("accounts", {"arr": "4.800,50"}, f'"4.800,50": write a JSON number, such as 4800.5{OTHERS}'),
        ("accounts", {"arr": "1e13"}, f'`$.arr`; the value is "1e13"{OTHERS}'),
    ],
)  # fmt: skip
def test_a_message_names_the_value_and_what_it_may_be(source: str, fields: dict[str, Any], ending: str) -> None:
    assert message(source, **fields).endswith(ending)


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b"7", b'{"count": 1', b"[" * 100_000])
def test_a_record_without_the_field_has_no_hint(value: bytes) -> None:
    assert record_hint(value, ValueError("no - at `$.count`"), BUILT_IN["product-usage"].event_type) == ""
    assert record_hint(b'{"count": 1}', ValueError("no path"), BUILT_IN["product-usage"].event_type) == ""

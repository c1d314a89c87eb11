"""Conditions on the account, of which each needs a policy of its own; those that the reference shows are in `cases`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.golden.replays import Log, replay
from tests.golden.test_documented_policies import SHOWN, changed

if TYPE_CHECKING:
    from pathlib import Path


def test_a_date_is_written_with_or_without_quotes(tmp_path: Path) -> None:
    log = Log().users("a", 5, days_ago=3).add("accounts", "a", 2, signed="2026-01-01")
    quoted = changed("by-date", "from = 2026-01-01, below = 2027-01-01", 'from = "2026-01-01", below = "2027-01-01"')
    first, second = (replay(tmp_path, text, log).accounts["a"] for text in (SHOWN["by-date"], quoted))
    assert first == second


@pytest.mark.parametrize(
    ("condition", "members"),
    [
        ('account.country = { not = ["DE"] }', "bcd"),
        ('account.country = { exists = true, not = ["DE"] }', "bc"),
        ("account.country = { exists = false }", "d"),
        ('account.country = { prefix = ["A", "C"] }', "bc"),
        ('tier = { in = ["gold"] }', "a"),
        ('account.tier = { not = ["gold"] }', "bcd"),
        ("renewal_at = { exists = true }", "b"),
        ("account.seats = { from = 7 }", "ac"),
        ('account.seats = ["7"]', "ac"),
        ('"account.seats" = { exists = true, below = 7 }', ""),
    ],
)
def test_conditions(tmp_path: Path, condition: str, members: str) -> None:
    log = Log().users("a", 1).users("b", 1).users("c", 1).users("d", 1)
    log.add("accounts", "a", 1, country=["DE", "FR"], tier="gold", seats=7)
    log.add("accounts", "b", 1, country="AT", tier="gold ", renewal_at="2026-12-31", seats="seven")
    log.add("accounts", "c", 1, country="CH", seats="7")
    segment = f"[segments.some]\nwhen = {{ {condition} }}\n"
    text = changed("by-date", "[measures.logins]\n", f"{segment}\n[measures.logins]\n")
    text = text.replace("account.contract_end", "account.a").replace("account.signed", "account.b")
    accounts = replay(tmp_path, text, log).accounts
    assert "".join(name for name, account in sorted(accounts.items()) if account.segment == "some") == members

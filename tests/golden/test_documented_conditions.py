"""Policies of the reference with conditions on the account; numbers worked out by hand. They are as of 2026-03-27."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.golden.replays import Log, near, replay, values
from tests.golden.test_documented_policies import SHOWN, changed

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


@pytest.mark.parametrize(
    ("profile", "segment", "score"),
    [
        ({"contract_end": "2026-03-27", "plan": "pro"}, "ending", 25),
        ({"contract_end": "2026-04-25"}, "ending", 25),  # in 29 days, without a plan
        ({"contract_end": "2026-04-26", "signed": "2026-01-01"}, "this-year", 100),  # in 30 days
        ({"contract_end": "2026-03-26", "signed": "2026-12-31T23:59:59Z"}, "this-year", 100),  # it ended yesterday
        ({"contract_end": "2026-04-01", "plan": "trial", "signed": "2027-01-01"}, None, 50),
        ({"signed": "2025-12-31"}, None, 50),
        ({"signed": "2026-01-01T00:30:00+01:00"}, None, 50),  # 2025 in UTC
        ({"contract_end": "soon", "signed": 2026}, None, 50),
        (None, None, 50),
    ],
)
def test_by_date(tmp_path: Path, profile: dict[str, Any] | None, segment: str | None, score: float) -> None:
    log = Log().users("a", 5, days_ago=3)
    if profile is not None:
        log.add("accounts", "a", 2, **profile)
    replayed = replay(tmp_path, SHOWN["by-date"], log)
    assert replayed.accounts["a"].segment == segment
    assert replayed.score("a").value == near(score)


def test_a_date_is_written_with_or_without_quotes(tmp_path: Path) -> None:
    log = Log().users("a", 5, days_ago=3).add("accounts", "a", 2, signed="2026-01-01")
    quoted = changed("by-date", "from = 2026-01-01, below = 2027-01-01", 'from = "2026-01-01", below = "2027-01-01"')
    first, second = (replay(tmp_path, text, log).accounts["a"] for text in (SHOWN["by-date"], quoted))
    assert first == second


@pytest.mark.parametrize(
    ("profile", "expected", "score"),
    [
        # 8 users are 80 points, 5 reports of 20 are 25, one training is average, 50: (2 x 80 + 25 + 50) / 4
        ({"modules": ["crm", "reporting"], "signed": "2025-12-28"}, (8, 5, 1), 58.75),
        # 90 days: trainings do not matter any more. (2 x 80 + 25) / 3
        ({"modules": "reporting", "signed": "2025-12-27"}, (8, 5, None), 185 / 3),
        # Without the module: (2 x 80 + 50) / 3
        ({"modules": ["crm"], "signed": "2026-03-01"}, (8, None, 1), 70),
        ({"modules": []}, (8, None, None), 80),
        (None, (8, None, None), 80),
    ],
)
def test_for_some(
    tmp_path: Path, profile: dict[str, Any] | None, expected: tuple[float | None, ...], score: float
) -> None:
    log = (
        Log()
        .users("a", 8, days_ago=3, feature="search")
        .add("product-usage", "a", 2, times=5, feature="report-sales", user_id="u0")
    )
    log.add("engagement", "a", 20, kind="training")
    if profile is not None:
        log.add("accounts", "a", 1, **profile)
    of_a = replay(tmp_path, SHOWN["for-some"], log).score("a")
    assert values(of_a) == dict(zip(("active_users", "reports", "trainings"), expected, strict=True))
    assert of_a.value == near(score)


def test_missing_gives_points_where_a_measure_is_not_for_the_account(tmp_path: Path) -> None:
    # 8 users are 80 points, reports 0: (2 x 80 + 0) / 3; without a date of signing, trainings share their weight.
    log = (
        Log()
        .users("a", 8, days_ago=3, feature="search")
        .add("product-usage", "a", 2, times=5, feature="report-sales", user_id="u0")
    )
    text = changed(
        "for-some", 'when = { account.modules = ["reporting"] }', 'when.account.modules = ["x"]\nmissing = 0'
    )
    assert replay(tmp_path, text, log).score("a").value == near(160 / 3)


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

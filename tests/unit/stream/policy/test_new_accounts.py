"""When accounts are new: the table is read, its mistakes are named, and a policy without it is as before."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.policy.new_accounts import NewAccounts
from stream.policy.policy import PolicyError, parse_policy

TEXT = (Path(__file__).parent / "policies" / "valid.toml").read_text(encoding="utf-8")


def test_min_age_is_read() -> None:
    plain, policy = parse_policy(TEXT), parse_policy(TEXT + '[new_accounts]\nmin_age = "14d"\n')
    assert (plain.new_accounts, policy.new_accounts) == (None, NewAccounts(14))
    assert plain.digest != policy.digest != parse_policy(TEXT + '[new_accounts]\nmin_age = "15d"\n').digest


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("[new_accounts]", "new_accounts.min_age"),
        ('[new_accounts]\nmin_age = "14h"', "new_accounts.min_age"),
        ('[new_accounts]\nmin_age = "0d"', "new_accounts.min_age"),
        ("[new_accounts]\nmin_age = 14", "new_accounts.min_age"),
        ('[new_accounts]\nmin_age = "14d"\nmin_events = 5', "new_accounts.min_events"),
    ],
)
def test_mistakes_are_named(table: str, key: str) -> None:
    with pytest.raises(PolicyError) as error:
        parse_policy(TEXT + table + "\n")
    assert [problem.key for problem in error.value.problems] == [key]

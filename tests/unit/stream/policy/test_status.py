"""When an account is new, what ends it and when it has no data: the tables are read, and their mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.policy.policy import PolicyError, parse_policy
from stream.policy.status import EndingEvents, NewAccounts, StatusRules

TEXT = (Path(__file__).parent / "policies" / "valid.toml").read_text(encoding="utf-8")
CANCELLED = EndingEvents("billing", (("kind", ("cancelled",)),))


def test_without_the_table_cancelling_ends_an_account_and_windows_decide_on_data() -> None:
    assert parse_policy(TEXT).status == StatusRules(None, (CANCELLED,))


def test_the_table_is_read() -> None:
    table = '[status]\ndormant_after = "60d"\nended_by = [{ source = "surveys" }, { source = "billing" }]\n'
    table += 'while_silent = "now"\n'
    expected = StatusRules(60, (EndingEvents("billing"), EndingEvents("surveys")), "now")
    assert parse_policy(TEXT + table).status == expected


def test_defaults_that_are_written_out_do_not_change_the_digest() -> None:
    plain = parse_policy(TEXT).digest
    written = '[status]\nended_by = [{ source = "billing", where = { kind = ["cancelled"] } }]\n'
    assert parse_policy(TEXT + written).digest == plain
    assert parse_policy(TEXT + '[status]\ndormant_after = "60d"\n').digest != plain
    assert parse_policy(TEXT + '[status]\nended_by = [{ source = "billing" }]\n').digest != plain
    assert parse_policy(TEXT + '[status]\nwhile_silent = "worse"\n').digest == plain
    assert parse_policy(TEXT + '[status]\nwhile_silent = "now"\n').digest != plain


@pytest.mark.parametrize(
    ("table", "key", "words"),
    [
        ("[status]", "status", "dormant_after"),
        ('[status]\ndormant_after = "60h"', "status.dormant_after", '"365d"'),
        ('[status]\ndormant_after = "366d"', "status.dormant_after", '"365d"'),
        ("[status]\ndormant_after = 60", "status.dormant_after", '"1d"'),
        ('[status]\ndormant = "60d"', "status.dormant", "dormant_after"),
        ('[status]\nwhile_silent = "hold"', "status.while_silent", "worse, now"),
        ("[status]\nended_by = []", "status.ended_by", "a list of tables"),
        ('[status]\nended_by = "cancelled"', "status.ended_by", "a list of tables"),
        ('[status]\nended_by = ["cancelled"]', "status.ended_by[0]", "source"),
        ('[status]\nended_by = [{ where = { kind = ["x"] } }]', "status.ended_by[0].source", "billing"),
        ('[status]\nended_by = [{ source = "controls" }]', "status.ended_by[0].source", "billing"),
        ('[status]\nended_by = [{ source = "accounts" }]', "status.ended_by[0].source", "billing"),
        (
            '[status]\nended_by = [{ source = "billing", where = { knd = ["x"] } }]',
            "status.ended_by[0].where.knd",
            "kind",
        ),
        ('[status]\nended_by = [{ source = "billing", were = {} }]', "status.ended_by[0].were", "where"),
    ],
)
def test_mistakes_are_named(table: str, key: str, words: str) -> None:
    with pytest.raises(PolicyError) as error:
        parse_policy(TEXT + table + "\n")
    (problem,) = error.value.problems
    assert problem.key == key
    assert words in problem.message
    assert problem.line is not None


def test_min_age_is_read_and_a_policy_without_it_is_as_before() -> None:
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
def test_mistakes_about_new_accounts_are_named(table: str, key: str) -> None:
    with pytest.raises(PolicyError) as error:
        parse_policy(TEXT + table + "\n")
    assert [problem.key for problem in error.value.problems] == [key]

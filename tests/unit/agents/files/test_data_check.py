"""`vitals check --against`: a warning for what a policy expects and the data does not have, and none otherwise."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from agents.cli.main import app
from tests.golden.replays import Log

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """
name = "p"
[scores.health]
min_change = 1.0
bands = [{ name = "good", from = 50 }, { name = "poor", from = 0 }]
[measures.usage]
source = "product-usage"
stat = "distinct_users"
window = "7d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 1
"""
LINE = 'window = "30d"\nnormalise = { kind = "linear", zero_at = 0, hundred_at = 10 }\nweight = 1\n'
NPS = f'[measures.nps]\nsource = "surveys"\nstat = "mean"\nfield = "score"\nwhere = {{ kind = ["nps"] }}\n{LINE}'
PAID = f'[measures.paid]\nsource = "billing"\nstat = "count"\nwhere = {{ kind = ["payment_failed"] }}\n{LINE}'
PER_SEAT = (
    '[measures.per_seat]\nvalue = "usage / account.seats / days_since(account.signed)"\n'
    'normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }\nweight = 1\n'
)
PLAN = f'[measures.pro]\nsource = "product-usage"\nstat = "count"\nwhere = {{ properties.plan = ["pro"] }}\n{LINE}'


def usage() -> Log:
    """Events of two accounts on each of 40 days."""
    log = Log()
    for day in range(40):
        log.users("a", 2, day).users("b", 2, day)
    return log


def checked(folder: Path, policy: str, log: Log) -> tuple[str, list[dict[str, Any]]]:
    """The text and the warnings of the JSON."""
    (folder / "policy.toml").write_text(policy, encoding="utf-8")
    (folder / "events.jsonl").write_text("\n".join(log.lines), encoding="utf-8")
    arguments = ["check", str(folder / "policy.toml"), "--against", str(folder / "events.jsonl")]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    return shown.stdout, json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)["warnings"]


def test_data_that_fits_the_policy_has_no_warning(tmp_path: Path) -> None:
    log = usage()
    for day in range(12):
        log.add("surveys", "a", day * 3, score=9, user_id="u0").add("surveys", "b", day * 3, score=8)
    text, warnings = checked(tmp_path, HEAD + NPS, log)
    assert warnings == []
    assert "data: nothing that the policy expects is missing" in text.splitlines()


def answers(score: float, count: int = 12) -> Log:
    log = usage()
    for day in range(count):
        log.add("surveys", "a", day * 3, score=score).add("surveys", "b", day * 3, score=score)
    return log


def test_attributes_and_properties_that_are_there_have_no_warning(tmp_path: Path) -> None:
    segment = '[segments.dach]\nwhen = { account.country = ["DE", "AT"], account.seats = { from = 1 } }\n'
    log = usage().add("accounts", "a", 40, country=["DE", "AT"], seats="3", signed="2026-01-31")
    log.add("accounts", "b", 40, country="AT", seats=4, signed="2026-01-31")
    log.add("product-usage", "a", properties={"plan": "pro"}).add("product-usage", "b", properties={"plan": "pro"})
    text, warnings = checked(tmp_path, HEAD + segment + PER_SEAT + PLAN, log)
    assert warnings == [], text


def test_measure_that_most_accounts_have_no_value_of(tmp_path: Path) -> None:
    log = usage()
    for account in ("c", "d", "e"):
        log.users(account, 1)
    log.add("surveys", "a", 35, score=9).add("surveys", "b", 2, score=9)
    text, _ = checked(tmp_path, HEAD + NPS, log)
    assert "warning: nps: missing for 80% of the accounts, where its weight is shared" in text.splitlines()


def same_ids() -> Log:
    log = usage()
    log.add("product-usage", "a", id="1", user_id="u").add("product-usage", "b", id="1", user_id="u")
    return log


@pytest.mark.parametrize(
    ("policy", "log", "expected"),
    [
        (
            HEAD + NPS,
            answers(4),
            (
                "survey_scale",
                "surveys",
                (
                    "surveys: none of 24 answers of kind nps is above 4, and the scale is 0 to 10: "
                    "convert the scores if your scale is another one"
                ),
            ),
        ),
        (
            HEAD + PAID,
            usage().add("billing", "a", 35).add("billing", "b", 1),
            (
                "absent_value",
                "billing",
                'measure paid: no event of billing has kind "payment_failed"; the most frequent are "invoice_paid"',
            ),
        ),
        (
            HEAD
            + PAID.replace('stat = "count"', 'stat = "sum"\nfield = "amount"').replace(
                "payment_failed", "invoice_paid"
            ),
            usage().add("billing", "a", 35).add("billing", "b", 1),
            (
                "absent_field",
                "billing",
                "measure paid: no event of billing has the field amount other than its default, 0",
            ),
        ),
        (
            HEAD + f'[measures.roles]\nsource = "engagement"\nstat = "distinct_roles"\n{LINE}',
            usage().add("engagement", "a", 35).add("engagement", "b", 1),
            ("absent_field", "engagement", "measure roles: no event of engagement has the field role"),
        ),
        (
            HEAD,
            same_ids(),
            (
                "shared_ids",
                "product-usage",
                (
                    'product-usage: 1 event id shared by several accounts, such as "1" by "a" and "b": '
                    "each counts for its account"
                ),
            ),
        ),
        (
            HEAD + NPS.replace('"mean"', '"count"').replace('field = "score"\n', ""),
            usage(),
            ("silent_source", "surveys", "surveys has no event (measures of the policy: nps)"),
        ),
        (
            HEAD + NPS.replace('"mean"', '"count"').replace('field = "score"\n', ""),
            usage().add("surveys", "a", 39, score=9),
            (
                "silent_source",
                "surveys",
                (
                    "surveys is silent: its latest event is of 2026-02-16 12:00 UTC, and the scores are as of "
                    "2026-03-27 12:00 UTC; no account has an event in the windows of nps"
                ),
            ),
        ),
        (
            HEAD.replace("7d", "90d"),
            usage(),
            (
                "long_window",
                None,
                (
                    "windows longer than the data before 2026-03-27 12:00 UTC: "
                    "usage looks back over 90d, product-usage begins on 2026-02-16"
                ),
            ),
        ),
        (
            HEAD,
            usage().users("A", 1).users("A ", 1),
            (
                "similar_ids",
                None,
                '3 account ids differ only in case, Unicode form or white space: "A" and "A " and "a"',
            ),
        ),
        (
            HEAD,
            usage().users("ren\u00e9", 1).users("rene\u0301", 1),
            (
                "similar_ids",
                None,
                "2 account ids differ only in case, Unicode form or white space: 'rene\\u0301' and 'ren\\xe9'",
            ),
        ),
        (
            HEAD,
            usage().add("product-usage", "a", user_id="U0"),
            (
                "similar_ids",
                "product-usage",
                'product-usage: 2 users differ only in case, Unicode form or white space: "U0" and "u0"',
            ),
        ),
        (
            HEAD + '[segments.big]\nwhen = { tier = ["gold"] }\n',
            usage().add("accounts", "a", tier="silver"),
            (
                "absent_value",
                "accounts",
                'segment big: no profile of accounts has tier "gold"; the most frequent are "silver"',
            ),
        ),
        (
            HEAD + '[measures.tenure]\nsource = "accounts"\nstat = "days_since"\nfield = "started_at"\nmissing = 50\n'
            'normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }\nweight = 1\n',
            usage().add("accounts", "a", tier="silver"),
            ("absent_field", "accounts", "measure tenure: no profile of accounts has the field started_at"),
        ),
        (
            HEAD + PER_SEAT,
            usage().add("accounts", "a", seat=3),
            ("absent_field", "accounts", "measure per_seat: no profile of accounts has the field account.seats"),
        ),
        (
            HEAD + '[segments.dach]\nwhen = { account.country = ["DE", "AT"] }\n',
            usage().add("accounts", "a", country=["FR", "AT"]),
            (
                "absent_value",
                "accounts",
                'segment dach: no profile of accounts has account.country "DE"; the most frequent are "FR", "AT"',
            ),
        ),
        (
            HEAD + PLAN,
            usage().add("product-usage", "a", properties={"plan": "basic"}),
            (
                "absent_value",
                "product-usage",
                'measure pro: no event of product-usage has properties.plan "pro"; the most frequent are "basic"',
            ),
        ),
    ],
)
def test_warning(tmp_path: Path, policy: str, log: Log, expected: tuple[str, str | None, str]) -> None:
    kind, about, message = expected
    text, warnings = checked(tmp_path, policy, log)
    assert {"kind": kind, "about": about, "message": message} in warnings
    assert f"warning: {message}" in text.splitlines()

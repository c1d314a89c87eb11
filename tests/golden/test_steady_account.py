"""A steady account is steady: no change and no alert after the warm-up, at any hour, under every policy that we show.

The policies are those of deploy/policies and every complete policy in docs and README.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy
from tests.driving.steady import DAY_MS, HOUR_MS, Slot, after_warm_up, warm_up_days, weekly
from tests.pages.blocks import DOCS, ROOT, blocks, policy_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

OF_PACKAGES = DOCS / "how-to" / "extend.md"
"""Its policies need packages that are installed only in its own test."""
PAGES = [ROOT / "README.md", *(page for page in sorted(DOCS.rglob("*.md")) if page != OF_PACKAGES)]
SHIPPED = {file.name: file.read_text(encoding="utf-8") for file in policy_files(ROOT / "deploy/policies")}
SHOWN = {
    f"{page.stem}: {parse_policy(text).name}": text
    for page in PAGES
    for text in blocks("toml", page)
    if "[measures." in text and "[scores." in text
}
POLICIES = SHIPPED | SHOWN

EVERY_DAY, WEEKDAYS = range(7), range(5)
OFFICE_HOURS = range(8, 18)
USERS = [{"user_id": f"u{number}", "feature": f"f{number}"} for number in range(10)]
OTHERS: dict[str, list[dict[str, object]]] = {
    "support-tickets": [
        {"ticket_id": "t", "status": "opened", "priority": "urgent", "first_response_s": 20_000},
        {"ticket_id": "t", "status": "opened", "first_response_s": 20_000},
    ],
    "surveys": [{"kind": "nps", "score": 8}, {"kind": "csat", "score": 4}, {"kind": "ces", "score": 5}],
    "billing": [{"kind": "invoice_paid", "days_late": 3}, {"kind": "payment_failed"}],
    "engagement": [{"kind": "call", "role": "champion"}, {"kind": "training", "role": "sponsor"}, {"kind": "referral"}],
    "controls": [{"kind": "pulse", "value": 60, "by": "ann"}],
    "signals": [{"name": "outlook", "value": 50}],
}


def others(weekdays: Sequence[int], hours: Iterable[int]) -> list[Slot]:
    """Every kind of event of the other topics, once at each of the hours."""
    return [
        slot for topic, kinds in OTHERS.items() for hour in hours for kind in kinds
        for slot in weekly(weekdays, [hour], topic, kind)
    ]  # fmt: skip


def usage(weekdays: Sequence[int], hours: Iterable[int] = OFFICE_HOURS) -> list[Slot]:
    return weekly(weekdays, hours, "product-usage", *USERS)


SCHEDULES: dict[str, list[Slot]] = {
    "every-day": usage(EVERY_DAY),
    "weekdays": usage(WEEKDAYS),
    "one-user": weekly(EVERY_DAY, OFFICE_HOURS, "product-usage", USERS[0]),
    "every-topic": usage(EVERY_DAY) + others(EVERY_DAY, [9]),
    "every-topic-on-weekdays": usage(WEEKDAYS) + others(WEEKDAYS, [0, 16]),
    "the-rest-on-mondays": usage(WEEKDAYS) + others([0], [10]),
    "the-rest-on-two-days": usage(WEEKDAYS) + others([1, 4], [23]),
    "a-ticket-a-week": usage(WEEKDAYS)
    + weekly([0], [10], "support-tickets", {"ticket_id": "t", "status": "opened"})
    + weekly([3], [15], "engagement", {"kind": "meeting"}),
    "at-the-ends-of-days": [
        Slot(weekday, time_ms, "product-usage", user)
        for weekday in WEEKDAYS
        for time_ms in (0, DAY_MS - 1)
        for user in USERS[:5]
    ],
}


@pytest.mark.parametrize("name", POLICIES)
def test_a_steady_account_causes_no_change_and_no_alert(tmp_path: Path, name: str) -> None:
    changes, alerts = after_warm_up(tmp_path, POLICIES[name], SCHEDULES)
    assert [(change.account_id, change.score, change.from_, change.to, change.time) for change in changes] == []
    assert [(alert.account_id, alert.rule, alert.status) for alert in alerts] == []


def test_the_policies_are_those_of_the_pages() -> None:
    assert {"template.toml", "guide.toml", "impact.toml", "nicereply.toml", "predictive.toml"} <= SHIPPED.keys()
    everywhere = [file for folder in (ROOT / "deploy").rglob("*") if folder.is_dir() for file in policy_files(folder)]
    shown = [text for file in everywhere if "[scores." in (text := file.read_text(encoding="utf-8"))]
    assert len(shown) > 12
    assert set(shown) <= set(POLICIES.values())
    assert len(SHOWN) == sum("[scores." in text for page in PAGES for text in blocks("toml", page))
    assert {"measures: own-history", "measures: trend", "alerts: alert-kinds", "peers: among-peers"} <= SHOWN.keys()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("measures: own-history", 'history = "84d"', 'history = "84d"\ncomplete = false'),
        ("measures: own-history", 'window = "7d"', 'window = "5d"'),
        ("measures: trend", 'window = "28d"', 'window = "30d"'),
        ("bands: steady-bands", 'complete = "at-least"\n', ""),
        ("guide.toml", 'compare = "previous"\n', 'compare = "previous"\ncomplete = false\n'),
        ("template.toml", 'window = "28d"\ncomplete = "at-least"', 'window = "30d"'),
        ("impact.toml", 'window = "28d"\ncomplete = "at-least"', 'window = "28d"'),
    ],
)
def test_without_complete_panes_or_whole_weeks_it_is_not_steady(tmp_path: Path, name: str, old: str, new: str) -> None:
    assert old in POLICIES[name]
    assert after_warm_up(tmp_path, POLICIES[name].replace(old, new), SCHEDULES).changes


QUIET = '[alerts.quiet-{0}]\nwhen = {{ silent = "product-usage", within = "{0}" }}\n'
FIVE_DAYS = {name: slots for name, slots in SCHEDULES.items() if name not in {"every-day", "one-user", "every-topic"}}


@pytest.mark.parametrize("name", SHIPPED)
def test_five_of_seven_days_are_not_silence(tmp_path: Path, name: str) -> None:
    rules = "".join(QUIET.format(within) for within in ("2bd", "3bd", "4d", "14d"))
    assert after_warm_up(tmp_path, SHIPPED[name] + rules, FIVE_DAYS) == ([], [])


def test_in_calendar_days_five_of_seven_days_are_silence_every_week(tmp_path: Path) -> None:
    alerts = after_warm_up(tmp_path, SHIPPED["template.toml"] + QUIET.format("3d"), FIVE_DAYS).alerts
    begin_later = FIVE_DAYS.keys() - {"at-the-ends-of-days"}  # this one begins at the midnight itself
    assert {(alert.account_id, alert.rule) for alert in alerts} == {(name, "quiet-3d") for name in begin_later}
    assert {datetime.fromtimestamp(alert.starts_at / 1000, UTC).strftime("%a %H:%M") for alert in alerts} == {
        "Mon 00:00"
    }


def test_the_rule_about_silence_of_the_template_does_not_fire_at_weekends(tmp_path: Path) -> None:
    rule = "# [alerts.gone-quiet]"
    text = SHIPPED["template.toml"]
    start = text.index(rule)
    switched_on = text[:start] + text[start:].replace("# [", "[", 1).replace("# when", "when", 1)
    assert [rule.kind for rule in parse_policy(switched_on).alerts] == ["silent"]
    assert after_warm_up(tmp_path, switched_on, FIVE_DAYS) == ([], [])


WEEKS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 23), st.integers(1, 9)), min_size=5, max_size=12)


@settings(max_examples=15)
@given(
    st.sampled_from(
        sorted(POLICIES.keys() - {"alerts: alert-kinds", "calendar: business-days", "idle-sources: stalled-source"})
    ),
    WEEKS,
    st.integers(0, HOUR_MS - 1),
)
def test_any_week_that_repeats_is_steady(
    tmp_path_factory: pytest.TempPathFactory, name: str, week: list[tuple[int, int, int]], offset_ms: int
) -> None:
    """Product usage of any week. Left out are policies with rules about silence, which a week of one day breaks."""
    slots = [
        Slot(weekday, hour * HOUR_MS + offset_ms, "product-usage", USERS[number])
        for weekday, hour, count in week
        for number in range(count)
    ]
    changes, alerts = after_warm_up(tmp_path_factory.mktemp("week"), POLICIES[name], {"a": slots})
    assert (changes, alerts) == ([], [])


def test_the_warm_up_is_as_long_as_the_longest_window() -> None:
    assert warm_up_days(compile_plan(parse_policy(SHOWN["measures: own-history"]))) == 92 + 8

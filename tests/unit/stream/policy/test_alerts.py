"""Alert rules, storms and idle sources are read; `policies/alerts.toml` has one of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.policy.alerts import MOST_RULES, AlertRule, Storms
from stream.policy.inputs.sources import IdleSource
from stream.policy.policy import PolicyError, Window, parse_policy

TEXT = (Path(__file__).parent / "policies" / "alerts.toml").read_text(encoding="utf-8")
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def changed(old: str, new: str) -> str:
    assert TEXT.count(old) == 1
    return TEXT.replace(old, new)


def test_every_key_is_read() -> None:
    policy = parse_policy(TEXT)
    rules = {rule.name: rule for rule in policy.alerts}
    assert list(rules) == ["ahead", "drop", "in-band", "left", "low", "opinion", "quiet"]
    assert rules["low"] == AlertRule(
        name="low",
        score="health",
        kind="below",
        severity="critical",
        level=40.0,
        segments=("enterprise",),
        owner="csm",
        actions=("call the sponsor", "write"),
        for_ms=2 * DAY_MS,
        cooldown_ms=7 * DAY_MS,
        clear=45.0,
        max_per_day=1,
    )
    assert rules["in-band"] == AlertRule("in-band", "health", "band", "warning", target="poor")
    assert rules["left"] == AlertRule("left", "upsell", "left", "warning", target="ready")
    assert rules["drop"] == AlertRule("drop", "health", "drop", "warning", 15.0, within=Window(7, "day"), clear=5.0)
    assert rules["opinion"] == AlertRule("opinion", "health", "measure", "warning", 30.0, "nps", clear=40.0)
    assert rules["ahead"] == AlertRule("ahead", "health", "forecast", "warning", None, "poor", Window(14, "day"))
    assert rules["quiet"] == AlertRule("quiet", "health", "silent", "warning", None, "product-usage", Window(14, "day"))
    assert policy.storms == Storms(0.5, 20, 30 * 60_000)
    assert policy.idle_sources == (IdleSource("product-usage", 6 * HOUR_MS),)


def test_storms_have_defaults() -> None:
    without = changed('[storms]\nshare = 0.5\nleast = 20\nwithin = "30m"\n', "")
    assert parse_policy(without).storms == Storms(0.25, 50, 10 * 60_000)
    assert parse_policy(changed("share = 0.5\nleast = 20\n", "")).storms == Storms(0.25, 50, 30 * 60_000)
    written_out = without + '[storms]\nshare = 0.25\nleast = 50\nwithin = "10m"\n'
    assert parse_policy(written_out) == parse_policy(without)


def test_the_digest_is_that_of_earlier_releases() -> None:
    assert parse_policy(TEXT).digest == "dc23be01a880b61f"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{ below = 40 }", "{ below = 40.0 }"),
        ('for = "2d"', 'for = "48h"'),
        ('[alerts.in-band]\nwhen = { band = "poor" }', '[alerts.in-band]\nscore = "health"\nwhen = { band = "poor" }'),
        ('[alerts.in-band]\nwhen = { band = "poor" }', 'alerts.in-band = { when.band = "poor", severity = "warning" }'),
        ('["enterprise"]\nowner', '["enterprise", "enterprise"]\nowner'),
    ],
)
def test_the_digest_does_not_change_with_spelling_order_and_defaults(old: str, new: str) -> None:
    text = changed(old, new)
    if new.startswith("alerts."):  # before the first table
        text = text.replace(new, "").replace('name = "alerts"', f'name = "alerts"\n{new}')
    assert parse_policy(text) == parse_policy(TEXT)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{ below = 40 }", "{ below = 41 }"),
        ('severity = "critical"', 'severity = "info"'),
        ('["call the sponsor", "write"]', '["write", "call the sponsor"]'),
        ('for = "2d"', ""),
        ("max_per_day = 1", "max_per_day = 2"),
        ('drop = 15, within = "7d"', 'drop = 15, within = "7h"'),
        ("share = 0.5", "share = 0.6"),
        ('stall_after = "6h"', 'stall_after = "7h"'),
        ("[sources.product-usage]", "[sources.surveys]"),
    ],
)
def test_the_digest_changes_with_the_meaning(old: str, new: str) -> None:
    assert parse_policy(changed(old, new)).digest != parse_policy(TEXT).digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("clear = 45", "clear = 40"),
        ("clear = 5\n", "clear = 0\n"),
        ("[alerts.low]", "[alerts.Low_2-b]"),
        ('within = "30m"', 'within = "60m"'),
        ("share = 0.5", "share = 1"),
        ("max_per_day = 1", "max_per_day = 100"),
        ('stall_after = "6h"', 'stall_after = "365d"'),
        ('forecast = "poor", within = "14d"', 'forecast = "poor", within = "90d"'),
    ],
)
def test_values_at_their_limits_are_valid(old: str, new: str) -> None:
    parse_policy(changed(old, new))


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('field = "score"', 'field = "scoer"', "field"),
        (
            'field = "score"\nwindow = "90d"\nnormalise = {',
            'field = "score"\nwindow = "90d"\nnormalize = {',
            "normalize",
        ),
        (
            '"90d"\nnormalise = { kind = "linear", zero_at',
            '"90d"\nnormalise = { kind = "log", zero_at',
            "normalise.kind",
        ),
    ],
)
def test_a_mistake_in_a_measure_is_reported_once_although_a_rule_uses_the_measure(old: str, new: str, key: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(changed(old, new))
    assert [problem.key for problem in caught.value.problems] == [f"measures.nps.{key}"]


def test_all_mistakes_in_a_rule_are_reported_at_once() -> None:
    text = changed('severity = "critical"', 'severity = "page"').replace(
        "{ below = 40 }", '{ below = 40, within = "7d" }'
    )
    with pytest.raises(PolicyError) as caught:
        parse_policy(text.replace("clear = 45", "clear = 35"))
    assert [problem.key for problem in caught.value.problems] == [
        "alerts.low.when.within",
        "alerts.low.severity",
        "alerts.low.clear",
    ]


def test_too_many_rules_are_rejected() -> None:
    rules = "".join(f"[alerts.r{number}]\nwhen = {{ below = 1 }}\n" for number in range(MOST_RULES))
    with pytest.raises(PolicyError, match="must be at most 100 rules, not 107"):
        parse_policy(TEXT + rules)


def test_the_commented_rules_of_the_template_are_valid() -> None:
    template = (Path(__file__).parents[4] / "deploy/policies/template.toml").read_text(encoding="utf-8")
    head, mark, rules = template.partition("# [alerts.")
    assert not parse_policy(template).alerts
    policy = parse_policy(head + (mark + rules).replace("\n# ", "\n").removeprefix("# "))
    assert [rule.name for rule in policy.alerts] == ["gone-quiet", "sharp-drop", "soon-at-risk"]
    assert [idle.source for idle in policy.idle_sources] == [
        "billing",
        "engagement",
        "product-usage",
        "support-tickets",
        "surveys",
    ]

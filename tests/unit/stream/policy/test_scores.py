"""Several scores, segments and exceptions are read; `policies/scores.toml` has one of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.plan.models import BASE, CLAMPING, EXCEPTION, REDISTRIBUTION
from stream.plan.plan import compile_plan
from stream.policy.account_conditions import Range
from stream.policy.measures import NOT_MEASURES
from stream.policy.normalisers import Decay, Linear
from stream.policy.policy import Band, PolicyError, Segment, parse_policy
from stream.policy.scores import Group, Limit, MakeUp, SegmentScore
from stream.policy.segments import MOST_SEGMENTS
from stream.publishing.encoding import REMAINDER

TEXT = (Path(__file__).parent / "policies" / "scores.toml").read_text(encoding="utf-8")


def changed(old: str, new: str) -> str:
    assert TEXT.count(old) == 1
    return TEXT.replace(old, new)


def test_every_key_of_segments_and_measures_is_read() -> None:
    policy = parse_policy(TEXT)
    assert policy.segments == (
        Segment("onboarding", (), (Range("days_since_start", None, 90.0),)),
        Segment("enterprise", (("tier", ("enterprise", "strategic")),), (Range("arr", 100_000.0, 1e9),)),
    )
    logins, usage, nps, contact, referrals, tenure = policy.measures
    assert logins.by_segment == (("enterprise", Linear(0.0, 100.0)),)
    assert (usage.compare, usage.history, usage.blocks, usage.reach) == ("percentile", 84, 12, 92)
    assert (nps.missing, nps.stale_after, nps.reach) == (None, 360, 360)
    assert (contact.missing, contact.normaliser) == (0.0, Decay(30.0))
    assert (referrals.normaliser, referrals.weight) == (None, None)
    assert (tenure.source, tenure.stat, tenure.field, tenure.reach) == ("accounts", "days_since", "started_at", 0)


def test_every_key_of_scores_is_read() -> None:
    health, churn, calm, upsell = parse_policy(TEXT).scores
    assert health.make_up == MakeUp(weights=(("contact", 1.0), ("logins", 2.0), ("nps", 1.0)))
    assert health.bands[1] == Band("attention", 40.0, "warning", ("call", "write"), "csm")
    assert health.exceptions == (Limit("contact", 20.0, 60.0, None), Limit("nps", 50.0, None, "attention"))
    weights = MakeUp(weights=(("contact", 2.0), ("logins", 1.0)))
    starts = (("attention", 30.0), ("healthy", 60.0))
    assert health.segments == (SegmentScore("onboarding", weights, None, starts),)
    assert churn.make_up == MakeUp(
        groups=(Group("product", 3.0, (("logins", 2.0), ("usage", 1.0))), Group("voice", 1.0, (("nps", 1.0),)))
    )
    assert churn.segments == (SegmentScore("enterprise", MakeUp(), "calm", ()),)
    assert (calm.model, calm.line, calm.exceptions) == (None, None, ())
    assert (upsell.model, upsell.line, upsell.min_change) == ("additive", Linear(0.0, 100.0), 5.0)
    assert upsell.make_up == MakeUp(impacts=(("referrals", 25.0), ("tenure", 0.1)))


def test_reserved_names_are_those_of_factors_that_are_not_measures() -> None:
    assert set(NOT_MEASURES) == {BASE, CLAMPING, EXCEPTION, REDISTRIBUTION, REMAINDER}


def test_the_digest_is_that_of_earlier_releases() -> None:
    assert parse_policy(TEXT).digest == "77f413ffba3dfc42"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{ logins = 2, nps = 1, contact = 1 }", "{ contact = 1.0, nps = 1, logins = 2 }"),
        ("{ referrals = 25, tenure = 0.1 }", "{ tenure = 1e-1, referrals = 25 }"),
        ("{ healthy = 60, attention = 30 }", "{ attention = 30, healthy = 60 }"),
        ('["enterprise", "strategic"]', '["strategic", "enterprise", "strategic"]'),
        ("[scores.calm]", '[scores.calm]\nmodel = "weighted"'),
        ('missing = "zero"', "missing = 0"),
    ],
)
def test_the_digest_does_not_change_with_spelling_order_and_defaults(old: str, new: str) -> None:
    assert parse_policy(changed(old, new)) == parse_policy(TEXT)


@pytest.mark.parametrize("start", ["[scores.churn.groups.product]", "[scores.health.segments.onboarding]"])
def test_the_order_of_groups_and_of_segments_of_a_score_has_no_meaning(start: str) -> None:
    table = TEXT[TEXT.index(start) :].partition("\n\n")[0]
    assert parse_policy(changed(table, "") + "\n" + table) == parse_policy(TEXT)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("below = 90 }", "below = 91 }"),
        ("[measures.logins.segments.enterprise]", "[measures.logins.segments.onboarding]"),
        ('"percentile"', '"z"'),
        ('"84d"', '"70d"'),
        ('"360d"', '"361d"'),
        ("half_life = 30", "half_life = 31"),
        ('missing = "zero"', 'missing = "neutral"'),
        ("weights = { logins = 2, ", "weights = { logins = 3, "),
        ("cap = 60", "cap = 61"),
        ("points_below = 20", "points_below = 21"),
        ("healthy = 60", "healthy = 61"),
        ('use = "calm"', 'use = "calm" #\nbands = { safe = 51 }'),
        ("tenure = 0.1", "tenure = 0.2"),
        ("zero_at = 0, hundred_at = 100 }\nmin", "zero_at = -1, hundred_at = 100 }\nmin"),
        ('["call", "write"]', '["write", "call"]'),
        ('owner = "csm"', 'owner = "ann"'),
        ('"days_since"', '"days_until"'),
    ],
)
def test_the_digest_changes_with_the_meaning(old: str, new: str) -> None:
    assert parse_policy(changed(old, new)).digest != parse_policy(TEXT).digest


def test_the_order_of_segments_has_a_meaning() -> None:
    first = "[segments.onboarding]\nwhen = { days_since_start = { below = 90 } }\n"
    assert parse_policy(changed(first, "") + first).digest != parse_policy(TEXT).digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("weights = { logins = 2, nps = 1, contact = 1 }", "weights = { logins = 2 }"),  # an exception names the others
        ('stat = "days_since"', 'stat = "days_since"\nweight = 0'),
        ("map = { zero_at = 0, hundred_at = 100 }\n", "map = { zero_at = 100, hundred_at = -1e30 }\n"),
        ("points_below = 20", "points_below = 100"),
        ("cap = 60", "cap = 0"),
        ("{ below = 90 }", "{ from = -30, below = 0 }"),
        (
            "[scores.calm]",
            (
                '[scores."so ruhig wie möglich"]\nweights = { logins = 1 }\nmin_change = 1\n'
                'bands = [{ name = "a/b:c", from = 0 }]\n[scores.calm]'
            ),
        ),
        (
            "[measures.tenure]",
            (
                '[measures."a.b/c"]\nsource = "signals"\nstat = "sum"\nfield = "value"\nwindow = "1d"\n'
                'normalise = { kind = "decay", half_life = 5e-324 }\nweight = 3\n[scores.own]\nmin_change = 0\n'
                'bands = [{ name = "all", from = 0 }]\n[measures.tenure]'
            ),
        ),
    ],
)
def test_unusual_values_are_valid(old: str, new: str) -> None:
    assert compile_plan(parse_policy(changed(old, new))).scores


def test_too_many_segments_are_rejected() -> None:
    more = "".join(f'[segments.s{number}]\nwhen = {{ tier = ["t{number}"] }}\n' for number in range(MOST_SEGMENTS - 1))
    with pytest.raises(PolicyError, match=r"policy\.toml:3: segments: must be at most 60 segments, not 61"):
        parse_policy(TEXT + more)
    assert len(parse_policy(TEXT + more.partition("[segments.s58]")[0]).segments) == MOST_SEGMENTS

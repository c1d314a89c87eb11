"""Numbers that other products publish in their documentation, through a whole policy and real events."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from agents.files.replay import replay_files
from schemas.outputs import ScoreMessage, ScoreValue
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy

TIME_MS = 1_774_612_800_000  # 2026-03-27T12:00:00Z


def scored(folder: Path, policy: str, *events: dict) -> ScoreValue:
    """The score of the one account whose events these are."""
    lines = [
        json.dumps({"id": str(number), "account_id": "a", "time": TIME_MS, **event})
        for number, event in enumerate(events)
    ]
    file = folder / "events.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    replay = replay_files([file], compile_plan(parse_policy(policy, "policy.toml")))
    assert not replay.bad
    (sent,) = replay.engine.current().scores
    (score,) = msgspec.json.decode(sent.value, type=ScoreMessage).scores.values()
    return score


def measure(name: str, weight: float, rest: str) -> str:
    return f'[measures.{name}]\nsource = "billing"\nwindow = "30d"\nweight = {weight}\n{rest}\n'


def amount(value: float, **fields: object) -> dict:
    return {"topic": "billing", "kind": "invoice_paid", "amount": value, "days_late": 0, **fields}


ONE_BAND = '[scores.health]\nmin_change = 1\nbands = [{ name = "all", from = 0 }]\n'
LAST = 'stat = "last"\nfield = "amount"\n'


@pytest.mark.parametrize(("value", "points"), [(18, 100 * 11 / 23), (5, 0), (35, 100), (7, 0), (30, 100)])
def test_natero_linear(tmp_path: Path, value: float, points: float) -> None:
    line = LAST + 'normalise = { kind = "linear", zero_at = 7, hundred_at = 30 }'
    score = scored(tmp_path, 'name = "natero"\n' + measure("m", 1, line) + ONE_BAND, amount(value))
    assert score.value == pytest.approx(points, abs=1e-9)
    assert round(score.value or 0) == (48 if value == 18 else points)


def test_vitally_thirds(tmp_path: Path) -> None:
    rule = 'normalise = { kind = "threshold", good = 10, average = 5 }'
    parts = [
        measure(name, 1, f'stat = "sum"\nfield = "amount"\nwhere = {{ currency = ["{name}"] }}\n{rule}')
        for name in ("EUR", "USD", "GBP")
    ]
    paid = [amount(value, currency=currency) for value, currency in ((12, "EUR"), (10, "USD"), (4, "GBP"))]
    score = scored(tmp_path, 'name = "vitally"\n' + "".join(parts) + ONE_BAND, *paid)
    assert score.value == pytest.approx(200 / 3, abs=1e-9)
    assert round((score.value or 0) / 10, 2) == 6.67


@pytest.mark.parametrize(
    ("value", "band"),
    [(0, "red"), (50, "red"), (50.5, "red"), (51, "yellow"), (75, "yellow"), (76, "green"), (100, "green")],
)
def test_gainsight_bands(tmp_path: Path, value: float, band: str) -> None:
    line = LAST + 'normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }'
    bands = (
        '[scores.health]\nmin_change = 1\nbands = [{ name = "green", from = 76 }, '
        '{ name = "yellow", from = 51 }, { name = "red", from = 0 }]\n'
    )
    score = scored(tmp_path, 'name = "gainsight"\n' + measure("m", 1, line) + bands, amount(value))
    assert score.value == pytest.approx(value)
    assert score.band == band


@pytest.mark.parametrize(("pulse", "weights"), [(True, (20, 16, 16, 16, 12, 20)), (False, (25, 20, 20, 20, 15, 0))])
def test_zudo_redistribution(tmp_path: Path, pulse: bool, weights: tuple[int, ...]) -> None:
    line = LAST + 'normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }\nmissing = "redistribute"'
    names = ("first", "second", "third", "fourth", "fifth", "pulse")
    parts = [
        measure(name, weight, f'{line}\nwhere = {{ currency = ["{name}"] }}')
        for name, weight in zip(names, (20, 16, 16, 16, 12, 20), strict=True)
    ]
    events = [amount(50, currency=name) for name in names if pulse or name != "pulse"]
    score = scored(tmp_path, 'name = "zudo"\n' + "".join(parts) + ONE_BAND, *events)
    assert [factor.weight * 100 for factor in score.factors] == pytest.approx(list(weights), abs=1e-12)
    assert score.value == pytest.approx(50)


@pytest.mark.parametrize(
    ("now", "change", "points"),
    [(40, -60.0, 0.0), (80, -20.0, 50.0), (70, -30.0, 50.0), (100, 0.0, 100.0), (150, 50.0, 100.0)],
)
def test_custify_trend_against_the_window_before(tmp_path: Path, now: int, change: float, points: float) -> None:
    rule = 'normalise = { kind = "threshold", good = 0, average = -30 }'
    line = f'stat = "sum"\nfield = "amount"\ncompare = "previous"\n{rule}'
    # The first of the 30 complete days before today, and the last and the first of the 30 before those.
    times = [TIME_MS - days * 86_400_000 for days in (30, 31, 60)]
    paid = [amount(number, time=time) for number, time in zip((now, 60, 40), times, strict=True)] + [amount(500)]
    score = scored(tmp_path, 'name = "custify"\n' + measure("m", 1, line) + ONE_BAND, *paid)
    assert (score.factors[0].value, score.value) == (change, points)


def test_a_trend_without_a_window_before_is_missing(tmp_path: Path) -> None:
    rule = 'normalise = { kind = "threshold", good = 0, average = -30 }\nmissing = 50'
    line = f'stat = "sum"\nfield = "amount"\ncompare = "previous"\n{rule}'
    too_early_ms = TIME_MS - 61 * 86_400_000
    score = scored(
        tmp_path, 'name = "custify"\n' + measure("m", 1, line) + ONE_BAND, amount(9, time=too_early_ms), amount(7)
    )
    assert (score.factors[0].value, score.value) == (None, 50.0)


def test_a_sum_of_actions_and_impacts(tmp_path: Path) -> None:
    # "Multiplying the number of times a customer completed each action by the action's impact score and adding all":
    # 3 renewals x 12 + 2 upgrades x 7.5 + 4 failed payments x -6 = 36 + 15 - 24 = 27.
    impacts = {"renewed": 12, "upgraded": 7.5, "payment_failed": -6}
    parts = [
        f'[measures.{kind}]\nsource = "billing"\nstat = "count"\nwindow = "30d"\nwhere = {{ kind = ["{kind}"] }}\n'
        for kind in impacts
    ]
    table = ", ".join(f"{kind} = {impact}" for kind, impact in impacts.items())
    score = f'{ONE_BAND}model = "additive"\nimpacts = {{ {table} }}\n'
    done = [*["renewed"] * 3, *["upgraded"] * 2, *["payment_failed"] * 4]
    actual = scored(tmp_path, 'name = "sum"\n' + "".join(parts) + score, *(amount(1, kind=kind) for kind in done))
    assert [factor.contribution for factor in actual.factors] == [36, 15, -24]
    assert [factor.points for factor in actual.factors] == [None, None, None]
    assert actual.value == 27


@pytest.mark.parametrize("missing", ["pulse", "third"])
def test_zudo_redistribution_in_groups(tmp_path: Path, missing: str) -> None:
    # Within its group first: without the third, 64 / 80 of the group are left, and the group keeps its 80 %. Then among
    # groups: without a pulse the other group has everything, and its parts are 25/20/20/20/15.
    weights = {"first": 20, "second": 16, "third": 16, "fourth": 16, "fifth": 12}
    line = f'{LAST}normalise = {{ kind = "linear", zero_at = 0, hundred_at = 100 }}'
    parts = [
        f'[measures.{name}]\nsource = "billing"\nwindow = "30d"\n{line}\nwhere = {{ currency = ["{name}"] }}\n'
        for name in (*weights, "pulse")
    ]
    table = ", ".join(f"{name} = {weight}" for name, weight in weights.items())
    groups = f"[scores.health.groups.measured]\nweight = 80\nmeasures = {{ {table} }}\n"
    groups += "[scores.health.groups.felt]\nweight = 20\nmeasures = { pulse = 1 }\n"
    events = [amount(50, currency=name) for name in (*weights, "pulse") if name != missing]
    score = scored(tmp_path, 'name = "zudo"\n' + "".join(parts) + ONE_BAND + groups, *events)
    expected = [25, 20, 20, 20, 15, 0] if missing == "pulse" else [25, 20, 0, 20, 15, 20]
    assert [factor.weight * 100 for factor in score.factors] == pytest.approx(expected, abs=1e-12)
    assert score.value == pytest.approx(50)


def test_gainsight_one_measure_forces_red(tmp_path: Path) -> None:
    # Nine tenths of the weight are at 100 points; the one that is at 0 puts the account into the lowest band.
    line = f'{LAST}normalise = {{ kind = "linear", zero_at = 0, hundred_at = 100 }}'
    parts = [
        measure(name, weight, f'{line}\nwhere = {{ currency = ["{name}"] }}')
        for name, weight in (("rest", 9), ("one", 1))
    ]
    bands = 'bands = [{ name = "green", from = 76 }, { name = "yellow", from = 51 }, { name = "red", from = 0 }]\n'
    forced = f'{bands}exceptions = [{{ measure = "one", points_below = 25, band = "red" }}]\n'
    policy = 'name = "forced"\n' + "".join(parts) + "[scores.health]\nmin_change = 1\n" + forced
    events = amount(100, currency="rest")
    assert scored(tmp_path, policy, events, amount(30, currency="one")).band == "green"
    red = scored(tmp_path, policy, events, amount(20, currency="one"))
    assert red.value == pytest.approx(92.0)
    assert (red.band, red.exceptions) == ("red", ["one"])

"""Statistics and normalisers of other packages are used through entry points, and keep their contracts."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import account_vitals as av
from account_vitals import testing
from agents.process.plugins import NORMALISERS, STATISTICS
from tests.unit.account_vitals.extension import install
from tests.unit.agents.cli.invoke import vitals

Floats = NDArray[np.float64]

MODULE = """
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Trend:
    per: float = 1.0
    reads = ("count",)

    def value(self, panes):
        count = panes["count"]
        days = np.arange(count.shape[1]) - (count.shape[1] - 1) / 2
        return self.per * (count * days).sum(axis=1) / (days * days).sum()


@dataclass(frozen=True)
class Range:
    reads = ("min", "max", "count")

    def value(self, panes):
        last = np.where(panes["count"] > 0, np.arange(panes["count"].shape[1]), -1).max(axis=1)
        row = np.arange(len(last))
        return panes["max"][row, last] - panes["min"][row, last]


@dataclass(frozen=True)
class Near:
    best: float
    width: float
    name: str = ""
    at: tuple[float, ...] = ()
    strict: bool = False

    def __post_init__(self):
        if self.width <= 0:
            raise ValueError("width must be above 0")

    @property
    def turns(self):
        return (self.best,)

    def points(self, values):
        return 100 - 100 * np.abs(values - self.best) / self.width


@dataclass(frozen=True)
class Odd:
    when: object

    def points(self, values):
        return values


class Nothing:
    reads = ("median",)

    def value(self, panes):
        return 0


class Fails:
    def points(self, values):
        return values[values > 5]
"""
STATS = {"trend": "Trend", "range": "Range", "nothing": "Nothing", "absent": "Absent", "count": "Trend"}
KINDS = {"near": "Near", "odd": "Odd", "fails": "Fails", "number": "np"}

POLICY = (
    """
name = "own"

[measures.slope]
source = "product-usage"
stat = "trend"
window = "3d"
complete = true
parameters = { per = 2 }
normalise = { kind = "near", best = 2, width = 4 }
weight = 1

[measures.spread]
source = "billing"
stat = "range"
field = "days_late"
window = "30d"
normalise = { kind = "grid", by = "slope", rows = [
  { from = -100, kind = "linear", zero_at = 10, hundred_at = 0 },
  { from = 0, kind = "near", best = 4, width = 8 },
] }
weight = 1

[scores.health]
min_change = 1
bands = [{ name = "fine", from = 50 }, { name = "poor", from = 0 }]
""".replace("rows = [\n  ", "rows = [")
    .replace("},\n  {", "}, {")
    .replace(" },\n] }", " }] }")
)


def day(number: int, **fields: Any) -> dict[str, Any]:
    time = f"2026-03-{number:02}T09:00:00Z"
    return {"topic": "product-usage", "id": f"{number}{fields}", "account_id": "acme", "time": time} | fields


EVENTS = [
    *(day(2, user_id="u", n=n) for n in range(1)),
    *(day(4, user_id="u", n=n) for n in range(3)),
    *(day(5, user_id="u", n=n) for n in range(9)),
    *(
        day(3, kind="invoice_paid", topic="billing", days_late=days) for days in (1, 7)
    ),
]  # fmt: skip


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    install(folder, "other-package", {STATISTICS: STATS, NORMALISERS: KINDS}, MODULE)
    monkeypatch.syspath_prepend(str(folder))
    for module in ("other_package", "third_package"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return folder


@pytest.fixture
def policy(packages: Path, tmp_path: Path) -> Path:
    del packages
    path = tmp_path / "own.toml"
    path.write_text(POLICY, "utf-8")
    return path


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in EVENTS), "utf-8")
    return path


def test_a_score_has_their_values_and_points(policy: Path, events: Path) -> None:
    done = vitals("score", events, "--policy", policy)
    assert done.exit_code == 0, done.stderr
    (score,) = map(json.loads, done.stdout.splitlines())
    factors = {factor["measure"]: factor for factor in score["scores"]["health"]["factors"]}
    # 1, 0 and 3 events on the three complete days before the 5th: the slope is 1 a day
    assert (factors["slope"]["value"], factors["slope"]["points"]) == (2.0, 100.0)
    assert (factors["spread"]["value"], factors["spread"]["points"]) == (6.0, 75.0)
    text = vitals("explain", "acme", events, "--policy", policy).stdout
    assert "slope: trend of usage events is 2 in the last 3 complete days; 100.0 of 100 points" in text
    assert "spread: range of days late of billing events is 6 in the last 30 days; 75.0 of 100 points" in text


def test_live_and_files_agree_and_state_goes_on_with_another_version(policy: Path, packages: Path) -> None:
    before = av.Policy.load(policy)
    info = packages / "other_package-1.0.dist-info"
    shutil.move(info, packages / "other_package-1.1.dist-info")
    metadata = packages / "other_package-1.1.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text("utf-8").replace("Version: 1.0", "Version: 1.1"), "utf-8")
    after = av.Policy.load(policy)
    assert before.label != after.label
    assert [column.name for column in before.plan.columns] == [column.name for column in after.plan.columns]
    assert av.Policy.parse(POLICY.replace("per = 2", "per = 3")).label != after.label
    assert av.Policy.parse(POLICY.replace("per = 2", "per = 2.0")).label == after.label


def test_check_names_the_extensions(policy: Path) -> None:
    done = vitals("check", policy, "--offline")
    assert done.exit_code == 0, done.stderr
    named = "normaliser near (other-package 1.0), statistic range (other-package 1.0), statistic trend"
    assert f"extensions: {named} (other-package 1.0)" in done.stdout
    report = json.loads(vitals("check", policy, "--offline", "--json").stdout)
    assert report["extensions"][0] == {
        "kind": "normaliser", "name": "near", "package": "other-package", "version": "1.0"
    }  # fmt: skip


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ('"trend"', '"trent"', "measures.slope.stat: must be one of count, "),
        ('"trend"', '"trent"', 'days_to_first, absent, nothing, range, trend, not "trent"; did you mean "trend"?'),
        ('"trend"', '"xyzzy"', "; no installed package has a statistic of this name"),
        ('"trend"', '"absent"', "'absent' in the entry points account_vitals.statistics is other_package:Absent"),
        ('"trend"', '"nothing"', "reads must be some of count, sum, min, max"),
        ("per = 2", 'per = "x"', 'measures.slope.parameters.per: must be a number, not "x"'),
        ("per = 2", "pre = 2", 'unknown key "pre"; did you mean "per"?'),
        ('window = "3d"', 'window = "3bd"', 'stat "trend" takes no window in business days'),
        ('window = "3d"', 'window = "3d"\ncompare = "previous"', 'stat "trend" cannot be compared with earlier'),
        ('window = "3d"', 'window = "3d"\nfield = "count"', 'stat "trend" does not take a field'),
        ("complete = true", 'complete = "at-least"', 'stat "trend" does not take complete = "at-least"'),
        ('field = "days_late"\n', "", "measures.spread.field: missing: must be a number field of billing"),
        ('"billing"', '"product-usage"', 'not "days_late"'),
        ('kind = "near", best = 2', 'kind = "nera", best = 2', 'did you mean "near"?'),
        ('kind = "near", best = 2', 'kind = "xyzzy", best = 2', "no installed package has a normaliser of this name"),
        ("best = 2, width = 4", "best = 2", "measures.slope.normalise.width: missing: must be a number"),
        ("width = 4", "width = 0", "'near' of other-package 1.0 refuses its parameters: width must be above 0"),
        ("width = 4", "width = 4, half_life = 2", 'unknown key "half_life"'),
        ("width = 4", "width = 4, name = 7", "normalise.name: must be a string, not 7"),
        ("width = 4", "width = 4, at = [true]", "normalise.at: must be a list of at least one number"),
        ("width = 4", "width = 4, strict = 1", "normalise.strict: must be true or false, not 1"),
        ('kind = "near", best = 2', 'kind = "odd", best = 2', "the type of when must be float, bool, str or"),
        ('kind = "near", best = 2', 'kind = "number", best = 2', "is no class"),
        ('kind = "near", best = 4', 'kind = "near", zero_at = 4', 'kind "near" does not take zero_at'),
        ('stat = "trend"', 'stat = "count"', 'stat "count" takes no parameters'),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, shown: str) -> None:
    assert old in POLICY
    with pytest.raises(av.PolicyError) as raised:
        av.Policy.parse(POLICY.replace(old, new, 1))
    assert shown in str(raised.value)


def test_two_packages_of_one_name_are_refused(policy: Path, packages: Path) -> None:
    install(packages, "third-package", {STATISTICS: {"trend": "Trend"}}, MODULE)
    done = vitals("check", policy, "--offline")
    assert done.exit_code == 2
    assert "'trend' in the entry points account_vitals.statistics is of other-package and third-package" in done.stderr


def test_without_the_package_it_is_said_that_none_has_the_name() -> None:
    with pytest.raises(av.PolicyError, match="no installed package has a statistic of this name"):
        av.Policy.parse(POLICY)


@pytest.mark.usefixtures("packages")
def test_an_extension_that_fails_is_named(events: Path) -> None:
    failing = POLICY.replace('kind = "near", best = 2, width = 4', 'kind = "fails"', 1)
    with pytest.raises(RuntimeError, match=r"normaliser 'fails' of other-package 1\.0"):
        av.score(events, av.Policy.parse(failing))


# -- the contract tests -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("packages")
def test_extensions_that_keep_the_contract_pass() -> None:
    trend, near = testing.check_installed("statistic", "trend"), testing.check_installed("normaliser", "near")
    testing.check_statistic("trend", trend(), [({"count": [0, 1, 2]}, 1.0), ({"count": [4]}, math.nan)])
    testing.check_normaliser("near", near(best=3, width=2), {3: 100.0, 2: 50.0, 9: 0.0})


@dataclass
class Made:
    """A statistic of one function."""

    reads: Any
    function: Callable[[Mapping[str, Floats]], Any]

    def value(self, panes: Mapping[str, Floats]) -> Any:
        return self.function(panes)


class Stat:
    def __init__(self, function: Callable[[Floats], Any], reads: Any = ("count",)) -> None:
        self.function, self.reads = function, reads

    def value(self, panes: Mapping[str, Floats]) -> Any:
        return self.function(next(iter(panes.values())))


def written(count: Floats) -> Floats:
    count[0] = 1
    return count[:, 0]


@pytest.mark.parametrize(
    ("name", "statistic", "shown"),
    [
        ("count", Stat(lambda count: count[:, 0]), "account-vitals has one of this name"),
        ("own", Made(("count",), lambda panes: panes["count"][:, 0]), "the type of reads must be"),
        ("own", Stat(lambda count: count[:, 0], ()), "reads is empty"),
        ("own", Stat(lambda count: count[:, 0], ("median",)), "allowed are count, sum, min, max"),
        ("own", Stat(lambda count: count), "gives values of shape"),
        ("own", Stat(lambda count: count[:, 1]), "fails: IndexError"),
        ("own", Stat(written), "read-only"),
        ("own", Stat(lambda count: count[:, 0] - count.mean()), "among others"),
        ("own", Stat(lambda count: count.sum(axis=1) + 1), r"gives 7.0, not 6.0"),
    ],
)
def test_a_statistic_that_breaks_the_contract_is_caught(name: str, statistic: Any, shown: str) -> None:
    examples = [({"count": [1, 2, 3]}, 6.0)] if "gives 7" in shown else []
    with pytest.raises(AssertionError, match=shown):
        testing.check_statistic(name, statistic, examples)


class Rule:
    def __init__(self, function: Callable[[Floats], Any], turns: tuple[float, ...] = ()) -> None:
        self.points, self.turns = function, turns


@dataclass
class Thawed:
    best: float

    def points(self, values: Floats) -> Floats:
        return values


@pytest.mark.parametrize(
    ("kind", "rule", "shown"),
    [
        ("linear", Rule(lambda values: values), "account-vitals has one of this name"),
        ("own", Thawed(1.0), "Thawed can be changed"),
        ("own", Rule(lambda values: values[:1]), "does not give points for every value"),
        ("own", Rule(lambda values: values * np.nan), "does not give points for every value"),
        ("own", Rule(lambda values: 1 / int(len(values) == 1)), "fails: ZeroDivisionError"),
        ("own", Rule(lambda values: values - values.min()), "depend on the other values"),
        ("own", Rule(lambda values: 100 - np.abs(values)), "rise and fall from -inf to inf"),
        ("own", Rule(lambda values: 100 - np.abs(values), (2.0, 1.0)), "ascending"),
        ("own", Rule(lambda values: values), "1.0 gives 1.0 points, not 2.0"),
    ],
)
def test_a_normaliser_that_breaks_the_contract_is_caught(kind: str, rule: Any, shown: str) -> None:
    with pytest.raises(AssertionError, match=shown):
        testing.check_normaliser(kind, rule, {1.0: 2.0} if "not 2.0" in shown else {})

"""Policies are read as docs/reference/policy says, and every mistake is reported with its line, key and message.

The mistakes are rows of `policies/NAME_mistakes.txt`, each made in `policies/NAME.toml`.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.sources import BUILT_IN
from stream.policy.band_index import band_index
from stream.policy.normalisers import Linear, Threshold, Tiers
from stream.policy.policy import Band, Measure, PolicyError, Problem, Score, Window, parse_policy
from tests.pages.blocks import POLICY_PAGES, text_of
from tests.strategies.policies import policies

ROOT = Path(__file__).parents[4]
HERE = Path(__file__).parent / "policies"
NAMES = ("valid", "scores", "alerts", "derived", "things", "sources")
FILES = {name: (HERE / f"{name}.toml").read_text(encoding="utf-8") for name in NAMES}
VALID = FILES["valid"]
TEMPLATE = (ROOT / "deploy/policies/template.toml").read_text(encoding="utf-8")


class Mistake(NamedTuple):
    """A row: lines of `file` and the text that replaces them, then line and key of the one problem, and its message."""

    file: str
    lines: str
    text: str
    location: str
    message: str

    def made(self) -> str:
        first, _, last = self.lines.partition("-")
        lines = FILES[self.file].split("\n")
        lines[int(first) - 1 : int(last or first)] = self.text.split("⏎")
        return "\n".join(lines)


def mistakes() -> list[Mistake]:
    rows = [(name, row) for name in FILES for row in (HERE / f"{name}_mistakes.txt").read_text("utf-8").splitlines()]
    return [Mistake(name, *map(str.strip, row.split(" | "))) for name, row in rows if row and row[0] != "#"]


def problems_of(text: str) -> tuple[Problem, ...]:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    return caught.value.problems


def changed(old: str, new: str) -> str:
    assert VALID.count(old) == 1
    return VALID.replace(old, new)


# ---------------------------------------------------------------------------------------------------------------------
# Valid policies


def test_every_key_is_read() -> None:
    policy = parse_policy(VALID)
    assert policy.name == "example"
    assert policy.score == Score(
        "health",
        1.5,
        (Band("at-risk", 0.0, "critical"), Band("attention", 40.0, "warning"), Band("healthy", 70.0, None)),
    )
    users, urgent, use, tickets, paid = policy.measures
    assert users == Measure(
        name="users",
        source="product-usage",
        stat="distinct_users",
        field=None,
        where=(),
        of=(),
        weights=None,
        per_hours=None,
        window=Window(30, "day"),
        normaliser=Linear(0.0, 10.0),
        weight=30.0,
        missing=50.0,
    )
    assert urgent.of == (("priority", ("urgent",)),)
    assert urgent.where == (("kind", ("bug", "question")), ("status", ("opened",)))
    assert urgent.window == Window(24, "hour")
    assert urgent.normaliser == Tiers(((0.0, 100.0), (0.1, 60.0), (0.5, 0.0)))
    assert urgent.missing is None
    assert (use.field, use.per_hours) == ("count", 168.0)
    assert use.normaliser == Threshold(10.0, 5.0, points=(100.0, 50.0, 0.0))
    assert tickets.weights == ("priority", (("low", 0.5), ("urgent", 4.0)))
    assert tickets.normaliser == Threshold(2.0, 8.0, (90.0, 40.0, 10.0))
    assert (paid.stat, paid.field, paid.per_hours) == ("mean", "days_late", None)


@pytest.mark.parametrize(("per", "hours"), [('per = "hour"', 1), ('per = "day"', 24), ("", 24), ('per = "week"', 168)])
def test_a_rate_without_per_is_per_day(per: str, hours: float) -> None:
    assert parse_policy(changed('per = "week"', per)).measures[2].per_hours == hours


@pytest.mark.parametrize(
    ("text", "window"),
    [("1h", Window(1, "hour")), ("72h", Window(72, "hour")), ("1d", Window(1, "day")), ("365d", Window(365, "day"))],
)
def test_the_shortest_and_the_longest_windows_are_valid(text: str, window: Window) -> None:
    assert parse_policy(changed('"24h"', f'"{text}"')).measures[1].window == window


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("where = { status", 'where = { ticket_id = ["any text"], status'),  # values are free text
        ("where = { status", "where = {} #"),
        ("weight = 30", "weight = 0"),
        ("weight = 30", "weight = 3e100"),
        ("min_change = 1.5", "min_change = 0"),
        ("{ priority = { urgent = 4, low", "{ priority = { urgent = -4, low"),
        ('"at-risk"', '"Gefährdet: Gespräch suchen"'),
        ("missing = 50", "missing = 'redistribute'"),
        ('name = "example"', 'name = "EMEA_2-b"'),
    ],
)
def test_unusual_values_are_valid(old: str, new: str) -> None:
    parse_policy(changed(old, new))


@given(policies())
def test_drawn_policies_are_valid(text: str) -> None:
    parse_policy(text)


def test_crlf_and_a_byte_order_mark_are_accepted() -> None:
    windows = "\ufeff" + VALID.replace("\n", "\r\n")
    assert parse_policy(windows) == parse_policy(VALID)
    assert [problem.line for problem in problems_of(windows.replace('"30d"', '"30x"'))] == [6, 37]


def test_the_template_scores_77() -> None:
    policy = parse_policy(TEMPLATE)
    values = dict(zip([measure.name for measure in policy.measures], (8.0, 3.0, 3.0, 6.0, 7.5), strict=True))
    assert list(values) == ["product_usage", "support_tickets", "payment_history", "engagement", "nps"]
    weights = [measure.weight or 0.0 for measure in policy.measures]
    assert weights == [30.0, 20.0, 25.0, 15.0, 10.0]
    rules = [(measure.normaliser, values[measure.name]) for measure in policy.measures]
    points = [
        float(rule.points(np.array(value))) for rule, value in rules if isinstance(rule, Linear | Threshold | Tiers)
    ]
    assert points == [80.0, 70.0, 90.0, 60.0, 75.0]
    score = sum(weight * gained for weight, gained in zip(weights, points, strict=True)) / sum(weights)
    assert score == 77.0
    assert policy.score.bands[int(band_index(np.array(score), np.array([0.0, 40.0, 70.0])))].name == "healthy"


def test_the_comment_in_the_template_has_the_calculation() -> None:
    assert "(30 x 80 + 20 x 70 + 25 x 90 + 15 x 60 + 10 x 75) / 100 = 77" in TEMPLATE


def test_the_fields_of_each_source_are_those_of_the_documentation() -> None:
    rows = [line for line in text_of(*POLICY_PAGES).splitlines() if line[:3] == "| `"]
    documented = {}
    for row in rows:
        source, *fields = (cell.replace("`", "").strip() for cell in row.strip("|").split("|"))
        if source in BUILT_IN.of_events:
            text, number = (tuple(filter(None, cell.split(", "))) for cell in fields)
            documented[source] = (text, number)
    assert documented == {source.name: (source.texts, source.numbers) for source in BUILT_IN.measured}


# ---------------------------------------------------------------------------------------------------------------------
# The digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "example"', '# a comment\n\nname   =  "example" # another'),
        ("weight = 30", "weight = 30.0"),
        ("zero_at = 0, hundred_at = 10", "hundred_at = 1e1, zero_at = -0.0"),
        ('["question", "bug"]', '["bug", "question", "bug"]'),
        ('{ status = ["opened"], kind = ["question", "bug"] }', '{ kind = ["question", "bug"], status = ["opened"] }'),
        ("{ urgent = 4, low = 0.5 }", "{ low = 0.5, urgent = 4 }"),
        ("weight = 25", 'weight = 25\nmissing = "redistribute"'),
        ("good = 10, average = 5", "good = 10, average = 5, points = [100, 50, 0]"),
    ],
)
def test_the_digest_does_not_change_with_spelling_order_and_defaults(old: str, new: str) -> None:
    assert parse_policy(changed(old, new)) == parse_policy(VALID)


def test_bands_are_sorted_by_start_not_by_name() -> None:
    bands = parse_policy(changed('name = "healthy"', 'name = "all good"')).score.bands
    assert [band.name for band in bands] == ["at-risk", "attention", "all good"]


def test_the_order_of_bands_in_the_file_has_no_meaning() -> None:
    healthy = '  { name = "healthy", from = 70 },\n'
    lowest = '  { name = "at-risk", from = 0, alert = "critical" },\n'
    assert parse_policy(changed(healthy, "").replace(lowest, lowest + healthy)) == parse_policy(VALID)


def test_the_digest_is_that_of_earlier_releases() -> None:
    assert parse_policy(VALID).digest == "3bd6208ce3e71faa"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"example"', '"other"'),
        ("weight = 30", "weight = 31"),
        ("missing = 50", ""),
        ('"24h"', '"24d"'),
        ('"bug"]', '"bugs"]'),
        ("urgent = 4", "urgent = 5"),
        ("from = 0.1", "from = 0.2"),
        ('per = "week"', ""),
        ("from = 70", "from = 71"),
        ('alert = "warning"', 'alert = "info"'),
        ("[scores.health]", "[scores.risk]"),
        ("measures.users]", "measures.people]"),
    ],
)
def test_the_digest_changes_with_the_meaning(old: str, new: str) -> None:
    assert parse_policy(changed(old, new)).digest != parse_policy(VALID).digest


# ---------------------------------------------------------------------------------------------------------------------
# Mistakes


@pytest.mark.parametrize("mistake", mistakes(), ids=lambda mistake: f"{mistake.file} {mistake.lines}: {mistake.text}")
def test_a_mistake_is_reported_once_with_line_key_and_message(mistake: Mistake) -> None:
    problems = problems_of(mistake.made())
    assert len(problems) == 1, "\n".join(map(str, problems))
    assert f"{problems[0].line or '-'} {problems[0].key}" == mistake.location
    assert mistake.message in problems[0].message


def test_the_tables_of_mistakes_are_read() -> None:
    assert len(mistakes()) > 400


def test_all_mistakes_are_reported_at_once_in_the_order_of_lines() -> None:
    text = """\
[measures.a]
souce = "product_usage"
stat = "sum"
field = "score"
window = "4w"
normalise = { kind = "teirs", tiers = [{ from = 1, points = 101 }, { from = 1, points = 0 }] }
weight = -1
where = { featur = [] }
[scores.a]
min_change = "1"
[[scores.a.bands]]
name = "healthy"
from = 70
alert = "warn"
[[scores.a.bands]]
name = "healthy"
from = 70
"""
    beginnings = [f"{problem.line} {problem.key}: {problem.message.split()[0]}" for problem in problems_of(text)]
    assert beginnings == [
        "2 measures.a.souce: unknown",
        "2 measures.a.souce: must",
        "4 measures.a.field: must",
        "5 measures.a.window: must",
        "6 measures.a.normalise.kind: must",
        "6 measures.a.normalise.tiers[0].points: must",
        "6 measures.a.normalise.tiers[1].from: must",
        "7 measures.a.weight: must",
        '8 measures.a.where.featur: "featur"',
        "8 measures.a.where.featur: must",
        "10 scores.a.min_change: must",
        "11 scores.a.bands: the",
        "14 scores.a.bands[0].alert: must",
        '16 scores.a.bands[1].name: "healthy"',
        "17 scores.a.bands[1].from: 70",
        "None name: missing:",
    ]


def test_an_error_has_one_line_per_problem_and_can_be_copied() -> None:
    text = changed("weight = 30", "weight = -1").replace('name = "example"', "")
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, "risk.toml")
    error = caught.value
    assert str(error).split("\n") == [
        "risk.toml:8: measures.users.weight: must be a number of 0 or more, not -1",
        "risk.toml: name: missing: must be a string of letters (a to z, A to Z), digits, - and _",
    ]
    assert error.problems[0] == Problem(
        "risk.toml", 8, "measures.users.weight", "must be a number of 0 or more, not -1"
    )
    assert copy.copy(error).problems == error.problems
    assert isinstance(error, ValueError)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"weight = {'1' * 5000}", "Exceeds the limit"),
        (f"weight = 0x{'f' * 5000}", "unknown key"),
        (f"name = {'[' * 100_000}", "nested too deeply"),
        (f"name = {'[' * 100}{']' * 100}", "not [[[[[…]]]]]"),
        (f"name{'.a' * 3000} = 1", "not { a = { a = { a = { a = { a = … } } } } }"),
        ("name = 'x\n" + "# a line\n" * 2000, "the value that begins here is never closed"),
    ],
)
def test_extreme_files_are_rejected_with_a_message(text: str, message: str) -> None:
    assert any(message in problem.message for problem in problems_of(text))


def test_too_many_bands_are_rejected() -> None:
    bands = "".join(f'{{ name = "b{start}", from = {start / 2} }},' for start in range(101))
    text = VALID[: VALID.index("bands =")] + f"bands = [{bands}]\n"
    assert [str(problem) for problem in problems_of(text)] == [
        "policy.toml:51: scores.health.bands: must be at most 100 bands, not 101"
    ]


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value)


WORDS = st.sampled_from(
    ["count", "kind", "linear", "tiers", "from", "points", "30d", "surveys", "score", "name", "x", ""]
)
SCALARS = WORDS | st.integers() | st.floats() | st.booleans() | st.text(st.characters(codec="ascii"), max_size=5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=6
)
ASSIGNED = [number for number, line in enumerate(VALID.split("\n")) if " = " in line and line[0].isalpha()]


@given(st.sampled_from(ASSIGNED), VALUES)
@example(3, {"a": float("nan")})
def test_any_value_of_any_key_is_accepted_or_rejected_with_a_message(number: int, value: object) -> None:
    lines = VALID.split("\n")
    lines[number] = lines[number].split(" = ")[0] + " = " + toml(value)
    problems: tuple[Problem, ...] | None = None
    try:
        parse_policy("\n".join(lines))
    except PolicyError as error:
        problems = error.problems
    assert problems is None or all(problem.line and problem.key and problem.message for problem in problems)
    assert problems != ()


@given(st.text())
def test_any_text_is_rejected_with_a_message(text: str) -> None:
    assert problems_of(text)

"""Frames of every kind have the numbers of the command, and answers of their own kind."""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import account_vitals as av
from tests.pages.steps import File, steps
from tests.unit.account_vitals.kinds import ANSWERS, KINDS, Rows, rows_of
from tests.unit.agents.cli.invoke import vitals

ROOT = Path(__file__).parents[3]
TUTORIAL = {
    step.name: step.text for step in steps(ROOT / "docs" / "tutorial" / "score-a-file.md") if isinstance(step, File)
}
EXAMPLES = ROOT / "deploy" / "examples" / "events.jsonl"
TEMPLATE = ROOT / "deploy" / "policies" / "template.toml"
MOMENTS = [
    "2026-03-28",
    date(2026, 3, 28),
    datetime(2026, 3, 28, 23, 59, 59, 999_000, UTC),
    datetime(2026, 3, 29, 0, 59, 59, 999_000, timezone(timedelta(hours=1))),
    1_774_742_399_999,
]


@pytest.fixture
def tutorial(tmp_path: Path) -> Path:
    """A folder with the files of the tutorial."""
    for name, text in TUTORIAL.items():
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


def read(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def by_topic(rows: Rows) -> dict[str, Rows]:
    topics: dict[str, Rows] = {}
    for row in rows:
        topics.setdefault(row["topic"], []).append({key: value for key, value in row.items() if key != "topic"})
    return topics


def printed(*arguments: object) -> list[dict[str, Any]]:
    done = vitals(*arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def as_printed(lines: list[dict[str, Any]]) -> Rows:
    """The lines of `vitals score` as rows of a frame."""
    return [
        {
            "account_id": line["account_id"],
            "as_of": datetime.fromtimestamp(line["as_of"] / 1000, UTC),
            "score": name,
            "value": score["value"],
            "band": score["band"],
            "state": line.get("state"),
            "segment": line["segment"],
            "policy": line["policy"],
            "factors": score["factors"],
        }
        for line in lines
        for name, score in line["scores"].items()
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_has_the_scores_of_the_command(tutorial: Path, kind: str) -> None:
    events, policy = tutorial / "support-tickets.jsonl", tutorial / "first.toml"
    answer = av.score({"support-tickets": KINDS[kind](read(events))}, policy)
    assert isinstance(answer, ANSWERS[kind])
    assert rows_of(answer) == as_printed(printed("score", events, "--policy", policy))


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_has_the_history_of_the_command(tutorial: Path, kind: str) -> None:
    events, policy = tutorial / "support-tickets.jsonl", tutorial / "first.toml"
    answer = av.history({"support-tickets": KINDS[kind](read(events))}, policy, account="acme")
    assert isinstance(answer, ANSWERS[kind])
    days = printed("score", events, "--policy", policy, "--account", "acme", "--history")
    rows = [(row["account_id"], row["day"].isoformat(), row["value"], row["band"]) for row in rows_of(answer)]
    assert rows == [(day["account_id"], day["day"], day["score"], day["band"]) for day in days]
    assert len(rows) > 10


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_several_topics_have_the_scores_of_the_command(kind: str) -> None:
    frames = {topic: KINDS[kind](rows) for topic, rows in by_topic(read(EXAMPLES)).items()}
    expected = as_printed(printed("score", EXAMPLES, "--policy", TEMPLATE, "--as-of", "2026-03-28"))
    assert rows_of(av.score(frames, TEMPLATE, "2026-03-28")) == expected
    assert len({row["account_id"] for row in expected}) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_one_frame_with_a_column_topic_has_the_scores_of_the_command(kind: str) -> None:
    """Most cells are empty: pandas makes floats of whole numbers and NaN of what is missing."""
    rows = read(EXAMPLES)
    columns = {name: None for row in rows for name in row}
    frame = KINDS[kind]([columns | row for row in rows])
    expected = as_printed(printed("score", EXAMPLES, "--policy", TEMPLATE, "--as-of", "2026-03-28"))
    assert rows_of(av.score(frame, TEMPLATE, "2026-03-28")) == expected


def test_files_and_dicts_have_the_scores_of_the_command() -> None:
    expected = as_printed(printed("score", EXAMPLES, "--policy", TEMPLATE, "--as-of", "2026-03-28"))
    for events in (EXAMPLES, str(EXAMPLES), [EXAMPLES], read(EXAMPLES)):
        answer = av.score(events, TEMPLATE, "2026-03-28")
        assert isinstance(answer, pa.Table)
        assert answer.to_pylist() == expected


@pytest.mark.parametrize("moment", MOMENTS, ids=str)
def test_a_moment_can_be_given_in_several_forms(moment: av.Moment) -> None:
    answer = av.score(read(EXAMPLES), TEMPLATE, moment)
    assert answer["as_of"][0].as_py() == datetime(2026, 3, 28, 23, 59, 59, 999_000, UTC)


@pytest.mark.parametrize("moment", ["yesterday", datetime(2026, 3, 28)])  # noqa: DTZ001 -- without a zone
def test_a_moment_that_is_none_names_the_argument(moment: av.Moment) -> None:
    with pytest.raises(ValueError, match="as_of="):
        av.score(read(EXAMPLES), TEMPLATE, moment)


def test_an_explanation_is_that_of_the_command(tutorial: Path) -> None:
    events, policy = tutorial / "support-tickets.jsonl", tutorial / "first.toml"
    frame = pd.DataFrame(read(events))
    explanation = av.explain({"support-tickets": frame}, policy, "acme", since="2026-03-10")
    options = ("explain", "acme", events, "--policy", policy, "--since", "2026-03-10")
    assert msgspec.to_builtins(explanation) == printed(*options, "--json")[0]
    assert av.as_text(explanation) + "\n" == vitals(*options).stdout


def test_an_account_without_an_event_has_no_explanation() -> None:
    with pytest.raises(av.NoScoreError, match="'nobody'"):
        av.explain(read(EXAMPLES), TEMPLATE, "nobody")


# -- what frames are like in practice ---------------------------------------------------------------------------------


def test_the_index_of_pandas_is_no_data_but_a_named_index_is_a_column() -> None:
    rows = [row for row in read(EXAMPLES) if row["topic"] == "engagement"]
    frame = pd.DataFrame(rows)
    expected = rows_of(av.score(rows, TEMPLATE))
    picked = pd.concat([frame, frame.assign(account_id="other", id="x")])
    assert rows_of(av.score(picked[picked.account_id != "other"], TEMPLATE)) == expected
    assert rows_of(av.score(frame.set_index("account_id"), TEMPLATE)) == expected


def test_the_index_of_pandas_is_no_attribute_of_a_profile() -> None:
    profile = {"topic": "accounts", "id": "p1", "account_id": "acme", "time": "2026-01-01T00:00:00Z", "plan": "big"}
    frame = pd.DataFrame([profile, profile | {"id": "p2", "account_id": "b"}], index=[7, 3])
    from account_vitals.frames import rows_of as rows_in  # noqa: PLC0415 -- the module is not public

    assert next(record.value for record in rows_in(frame)) == profile


def test_times_of_frames_are_times() -> None:
    rows = read(EXAMPLES)
    expected = rows_of(av.score(rows, TEMPLATE))
    timed = [row | {"time": datetime.fromisoformat(row["time"])} for row in rows]
    assert rows_of(av.score(pd.DataFrame(timed), TEMPLATE)) == expected
    assert rows_of(av.score(pl.DataFrame(timed, infer_schema_length=None), TEMPLATE)) == expected
    nanoseconds = pd.DataFrame(timed).astype({"time": "datetime64[ns, UTC]", "topic": "category"})
    assert rows_of(av.score(nanoseconds, TEMPLATE)) == expected


def test_a_column_of_mixed_types_is_named() -> None:
    with pytest.raises(TypeError, match="priority"):
        av.score(pd.DataFrame({"topic": ["surveys", "surveys"], "priority": ["a", 1]}), TEMPLATE)


@pytest.mark.parametrize("events", [7, None, [1, 2], {"surveys": 3}, b"x"])
def test_what_is_no_frame_is_refused_with_what_is_expected(events: Any) -> None:
    with pytest.raises(TypeError, match="a frame with a column `topic`"):
        av.score(events, TEMPLATE)


def test_an_empty_frame_gives_an_empty_frame() -> None:
    empty = pl.DataFrame(schema={"topic": pl.String, "account_id": pl.String})
    answer = av.score(empty, TEMPLATE)
    assert answer.shape == (0, 9)
    assert av.history(empty, TEMPLATE).shape == (0, 6)


def test_a_preset_maps_a_frame_of_another_system() -> None:
    exports = ROOT / "deploy" / "examples" / "exports"
    lines = read(exports / "stripe.jsonl")
    answer = av.score({"stripe": lines}, TEMPLATE, mapping="stripe")
    assert answer.to_pylist() == as_printed(
        printed("score", exports / "stripe.jsonl", "--policy", TEMPLATE, "--mapping", "stripe")
    )
    assert len(answer) > 0


# -- what is left out -------------------------------------------------------------------------------------------------

BAD: Rows = [
    {"topic": "surveys", "id": "1", "account_id": "a", "time": "2026-03-01T00:00:00Z", "kind": "nps", "score": 9},
    {"topic": "surveys", "id": "2", "account_id": "a", "time": "2026-03-01T00:00:00Z", "kind": "nps", "score": 99},
    {"topic": "nothing", "id": "3", "account_id": "a", "time": "2026-03-01T00:00:00Z"},
]


def test_rows_that_cannot_be_used_are_an_error_that_names_each() -> None:
    with pytest.raises(av.RowsError, match="errors='warn'") as raised:
        av.score(pl.DataFrame(BAD), TEMPLATE)
    assert [(row.line, row.reason) for row in raised.value.rows] == [(3, "unknown_topic"), (2, "invalid_field")]
    assert "events:2: invalid_field: surveys:" in str(raised.value)


def test_rows_that_cannot_be_used_can_be_left_out_with_a_warning_at_the_caller() -> None:
    with pytest.warns(av.LeftOutWarning, match="2 rows in all: 1 unknown_topic, 1 invalid_field") as warned:
        answer = av.score(pl.DataFrame(BAD), TEMPLATE, errors="warn")
    assert answer["account_id"].to_list() == ["a"]
    assert warned[0].filename == __file__


def test_profiles_that_are_later_than_the_last_event_are_a_warning() -> None:
    profile = {"topic": "accounts", "id": "p", "account_id": "a", "time": "2026-04-01T00:00:00Z", "tier": "big"}
    with pytest.warns(av.LeftOutWarning, match="1 profile is later"):
        av.score([BAD[0], profile], TEMPLATE)


def test_a_policy_with_mistakes_names_them(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(TUTORIAL["first.toml"].replace('"count"', '"counts"'), "utf-8")
    (problem,) = av.Policy.validate(wrong)
    assert (problem.line, problem.key) == (5, "measures.tickets.stat")
    with pytest.raises(av.PolicyError, match="did you mean"):
        av.score(BAD[:1], wrong)
    assert av.Policy.validate(TEMPLATE) == ()


def test_a_policy_says_what_it_has() -> None:
    policy = av.Policy.parse(TUTORIAL["first.toml"], "first.toml")
    assert (policy.name, policy.scores, policy.measures) == ("first", ("health",), ("tickets",))
    assert policy.label == "first@4ca4f5b8268eb757"
    assert policy.bands() == {"healthy": 40.0, "at-risk": 0.0}
    assert repr(policy) == "<Policy first@4ca4f5b8268eb757 from first.toml>"


# -- a back-test ------------------------------------------------------------------------------------------------------


def usage_of_accounts() -> tuple[Rows, Rows]:
    """Events of 24 accounts, a third of which use less and less and then leave."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    events, outcomes = [], []
    for number in range(24):
        leaves, account = number % 3 == 0, f"a{number}"
        for day in range(0, 60 if leaves else 120, 2 + number % 5):
            time = begin + timedelta(days=day, hours=number)
            events.append(
                {
                    "id": f"{account}-{day}",
                    "account_id": account,
                    "time": time,
                    "user_id": f"u{day % 7}",
                    "feature": "x",
                }
            )
        if leaves:
            outcomes.append({"account_id": account, "churned_at": (begin + timedelta(days=80 + number)).date()})
    return events, outcomes


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_a_back_test_of_frames_is_that_of_the_command(tmp_path: Path, kind: str) -> None:
    events, outcomes = usage_of_accounts()
    file, table = tmp_path / "product-usage.jsonl", tmp_path / "outcomes.csv"
    file.write_text("\n".join(json.dumps(row | {"time": row["time"].isoformat()}) for row in events), "utf-8")
    lines = [f"{row['account_id']},{row['churned_at'].isoformat()}" for row in outcomes]
    table.write_text("account_id,churned_at\n" + "\n".join(lines), "utf-8")
    (expected,) = printed("backtest", file, "--outcomes", table, "--policy", TEMPLATE, "--lead", "30", "--json")
    report = av.backtest({"product-usage": KINDS[kind](events)}, KINDS[kind](outcomes), TEMPLATE, leads=[30])
    assert msgspec.to_builtins(report) == expected
    assert report.data.churned == 8


def test_a_back_test_says_what_it_takes() -> None:
    with pytest.raises(ValueError, match="one or two, not 3"):
        av.backtest([], [], [TEMPLATE] * 3)
    with pytest.raises(ValueError, match="whole days from 1 on"):
        av.backtest([], [], TEMPLATE, leads=[0])


# -- without the packages for frames ----------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["pyarrow", "narwhals"])
def test_without_a_package_for_frames_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'account-vitals\[frames\]'"):
        av.score(pd.DataFrame(read(EXAMPLES)), TEMPLATE)


def test_an_engine_takes_dicts_without_the_packages_for_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pyarrow", "narwhals"):
        monkeypatch.setitem(sys.modules, module, None)
    engine = av.Engine(TEMPLATE)
    engine.feed(read(EXAMPLES))
    assert len(engine.scores()) == 4

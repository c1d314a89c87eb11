"""`vitals score`: what it prints, with `--history` too, and its exit statuses."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from pathlib import Path

import pytest

from tests.unit.agents.cli.invoke import ACME_EVENTS, AS_OF, EVENTS, TEMPLATE, lines, score_at, vitals

DAY_MS = 86_400_000


def test_score_prints_one_line_for_each_account(tmp_path: Path) -> None:
    other = tmp_path / "engagement.jsonl"
    other.write_text('{"id": "1", "account_id": "Zeta", "time": 1772000000000, "kind": "webinar"}\n', encoding="utf-8")
    done = vitals("score", ACME_EVENTS, other, "--as-of", AS_OF)
    assert done.exit_code == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["account_id"] for line in lines] == ["Zeta", "acme"]
    assert lines[1]["scores"]["health"]["value"] == 77.0


@pytest.mark.parametrize("moment", ["2026-03-27T23:59:59.999Z", "2026-03-28T01:59:59+02:00", "1774655999999", None])
def test_times_can_be_given_in_several_formats(moment: str | None) -> None:
    done = vitals("score", ACME_EVENTS, *(["--as-of", moment] if moment else []))
    assert json.loads(done.stdout)["scores"]["health"]["value"] == 77.0


@pytest.mark.parametrize("moment", ["yesterday", "2026-03-27T10:00:00", ""])
def test_an_invalid_time_is_bad_usage(moment: str) -> None:
    done = vitals("score", ACME_EVENTS, "--as-of", moment)
    assert done.exit_code == 2
    assert "--as-of" in done.stderr


def test_score_reports_bad_lines_and_fails_but_scores_the_rest(tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text(
        '{"topic": "engagement", "id": "1", "account_id": "a", "time": 1772000000000, "kind": "webinar"}\n'
        "nonsense\n"
        "\n"
        '{"topic": "unheard-of", "id": "2"}\n'
        '{"topic": "surveys", "id": "3", "account_id": "a", "time": 1772000000000, "kind": "nps", "score": 11}\n'
        '{"topic": "engagement", "id": "4", "account_id": "a", "time": 1772000000, "kind": "webinar"}\n',
        encoding="utf-8",
    )
    done = vitals("score", mixed)
    assert done.exit_code == 1
    assert len(done.stdout.splitlines()) == 1
    assert f"{mixed}:2: malformed_json" in done.stderr
    assert f"{mixed}:4: unknown_topic" in done.stderr
    assert f"{mixed}:5: invalid_field" in done.stderr
    assert "implausible_time" in done.stderr


def test_score_of_a_missing_file_is_bad_usage(tmp_path: Path) -> None:
    done = vitals("score", tmp_path / "gone.jsonl")
    assert done.exit_code == 2
    assert "gone.jsonl" in done.stderr


def test_the_history_ends_with_the_score_and_is_the_same_as_csv() -> None:
    days = lines("score", EVENTS, "--history", "--as-of", AS_OF)
    last = {day["account_id"]: (day["score"], day["band"]) for day in days}
    assert last == {name: score_at(name, AS_OF) for name in ("acme", "birch", "cedar", "dune")}
    dune = [day for day in days if day["account_id"] == "dune"]
    assert [day["day"] for day in dune] == ["2026-03-24", "2026-03-25", "2026-03-26", "2026-03-27"]
    assert {day["as_of"] % DAY_MS for day in dune} == {DAY_MS - 1}
    assert [(day["score"], day["band"]) for day in dune] == [score_at("dune", day["as_of"]) for day in dune]
    shown = vitals("score", EVENTS, "--history", "--as-of", AS_OF, "--account", "dune", "--csv").stdout
    rows = list(csv.DictReader(io.StringIO(shown)))
    assert [{key: str(value) for key, value in day.items()} for day in dune] == rows


def test_a_table_has_the_scores_and_factors_of_the_lines() -> None:
    rows = list(csv.DictReader(io.StringIO(vitals("score", EVENTS, "--as-of", AS_OF, "--csv").stdout)))
    messages = lines("score", EVENTS, "--as-of", AS_OF)
    assert [row["account_id"] for row in rows] == [message["account_id"] for message in messages]
    for row, message in zip(rows, messages, strict=True):
        score = message["scores"]["health"]
        shown = {
            "account_id": message["account_id"], "day": "2026-03-27", "as_of": message["as_of"],
            "score": score["value"], "band": score["band"], "state": message.get("state"),
            "segment": message["segment"], "parent_id": None, "confidence": score.get("confidence"),
        }  # fmt: skip
        for factor in score["factors"]:
            name = factor["measure"]
            shown |= {name: factor["value"], f"{name}.points": factor["points"]}
            shown[f"{name}.contribution"] = factor["contribution"]
        assert row == {name: "" if value is None else str(value) for name, value in shown.items()}


def test_a_table_of_one_account_and_of_an_additive_score() -> None:
    policy = Path(TEMPLATE).with_name("impact.toml")
    shown = vitals("score", EVENTS, "--csv", "--account", "birch", "--policy", policy).stdout
    (row,) = csv.DictReader(io.StringIO(shown))
    assert (row["account_id"], row["base"], row["base.contribution"]) == ("birch", "", "40.0")
    contributions = [float(cell) for name, cell in row.items() if name.endswith(".contribution")]
    assert sum(contributions) == pytest.approx(float(row["score"]), abs=1e-9)
    assert list(row)[-3:] == ["clamping", "clamping.points", "clamping.contribution"]


def test_a_table_without_a_row_has_a_header(tmp_path: Path) -> None:
    file = write(tmp_path, "engagement.jsonl", a="2026-03-01T10:00:00Z")
    shown = vitals("score", file, "--csv", "--as-of", "2026-02-28").stdout
    assert shown == "account_id,day,as_of,score,band,state,segment,parent_id,confidence\n"


@pytest.mark.parametrize("option", [[], ["--history"]])
def test_no_cell_of_a_table_is_a_formula(tmp_path: Path, option: list[str]) -> None:
    file = write(tmp_path, "engagement.jsonl", **{'=HYPERLINK("http://a.b")': "2026-03-01T10:00:00Z"})
    shown = vitals("score", file, "--csv", *option).stdout
    (row,) = csv.DictReader(io.StringIO(shown))
    assert row["account_id"] == """'=HYPERLINK("http://a.b")"""


def test_an_account_that_has_ended_has_no_last_score_without_history(tmp_path: Path) -> None:
    file = tmp_path / "billing.jsonl"
    file.write_text('{"id": "1", "account_id": "acme", "time": 1774620000000, "kind": "cancelled"}\n', encoding="utf-8")
    ended = {line["account_id"]: line for line in lines("score", ACME_EVENTS, file)}["acme"]
    assert ended["state"] == "ended"
    assert "last" not in ended


def test_the_named_score_is_printed() -> None:
    assert lines("score", EVENTS, "--score", "health") == lines("score", EVENTS)


def write(folder: Path, name: str, **times: str) -> Path:
    """A file of events by account."""
    file = folder / name
    texts = [
        json.dumps({"id": account, "account_id": account, "time": time, "kind": "webinar"})
        for account, time in times.items()
    ]
    file.write_text("\n".join(texts), encoding="utf-8")
    return file


def test_the_printed_as_of_is_the_moment_that_was_asked_for(tmp_path: Path) -> None:
    file = write(tmp_path, "engagement.jsonl", a="2026-03-01T10:00:00Z", b="2026-03-12T23:59:59.999Z")
    for as_of, moment, names in (
        ("2026-03-12", 1_773_359_999_999, ["a", "b"]),
        ("2026-03-12T23:59:59.998Z", 1_773_359_999_998, ["a"]),
        ("2026-03-12T00:00:00Z", 1_773_273_600_000, ["a"]),
        ("2026-02-28", 0, []),
    ):
        printed = lines("score", file, "--as-of", as_of)
        assert [(line["account_id"], line["as_of"]) for line in printed] == [(name, moment) for name in names]
    assert {line["as_of"] for line in lines("score", file)} == {1_773_359_999_999}


def test_what_is_left_out_is_counted_on_stderr(tmp_path: Path) -> None:
    file = write(tmp_path, "engagement.jsonl", a="2026-03-01T10:00:00Z", b="2136-01-01T00:00:00Z")
    profiles = write(tmp_path, "accounts.jsonl", a="2026-04-01T10:00:00Z")
    files = [file, profiles]
    for command in (["score", *files], ["explain", "a", *files], ["check", TEMPLATE, "--against", *files]):
        done = vitals(*command)
        assert done.exit_code == 1, done.stderr
        refused = f"{file}:2: in_the_future: engagement: time 5238432000000 ms (2136-01-01T00:00:00Z) is after"
        assert refused in done.stderr
        assert "left out: 1 line (in_the_future)\n" in done.stderr
        assert "left out: 1 profile is later than the last event" in done.stderr
        assert done.stdout


def test_accounts_without_a_line_are_counted_on_stderr(tmp_path: Path) -> None:
    events = write(tmp_path, "engagement.jsonl", a="2026-03-01T10:00:00Z", b="2026-04-01T10:00:00Z")
    profiles = write(tmp_path, "accounts.jsonl", a="2026-03-01T10:00:00Z", c="2026-03-01T10:00:00Z", d="2026-03-02")
    done = vitals("score", events, profiles, "--as-of", "2026-03-05")
    assert [json.loads(line)["account_id"] for line in done.stdout.splitlines()] == ["a"]
    assert done.stderr == (
        "no line for 2 accounts with a profile and without an event up to the moment of the scores\n"
        "no line for 1 account with nothing up to the moment of the scores; give a later --as-of\n"
    )
    assert done.exit_code == 0
    assert vitals("score", events, profiles, "--as-of", "2026-03-05", "--account", "a").stderr == ""
    merge = tmp_path / "controls.jsonl"
    merge.write_text('{"id":"m","account_id":"c","kind":"merge","into":"a","by":"ann","time":"2026-03-03T00:00:00Z"}\n')
    done = vitals("score", events, profiles, merge)
    assert done.stderr == "no line for 1 account with a profile and without an event up to the moment of the scores\n"


@pytest.mark.parametrize("limit", ["1969-12-31", "2000-01-02", "old"])
def test_allow_before_takes_dates_from_1970_to_2000(tmp_path: Path, limit: str) -> None:
    file = write(tmp_path, "engagement.jsonl", a="1990-03-01T10:00:00Z")
    refused = vitals("score", file, "--allow-before", limit)
    assert refused.exit_code == 2
    assert "--allow-before" in refused.stderr
    assert vitals("score", file).stdout == ""
    (line,) = lines("score", file, "--allow-before", "1990-03-01")
    assert line["as_of"] == 636_285_600_000


def test_the_setting_allows_what_the_option_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, "engagement.jsonl", a="1990-03-01T10:00:00Z", b="1980-03-01T10:00:00Z")
    monkeypatch.setenv("VITALS_ALLOW_BEFORE", "1985-01-01")
    done = vitals("score", file)
    assert "time 320752800000 ms is before 1985-01-01T00:00:00Z" in done.stderr
    assert [json.loads(line)["account_id"] for line in done.stdout.splitlines()] == ["a"]
    assert len(lines("score", file, "--allow-before", "1970-01-01")) == 2


ZONED = """
name = "zoned"
[calendar]
timezone = "America/New_York"
[measures.webinars]
source = "engagement"
stat = "count"
window = "1d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 4 }
weight = 1
[scores.health]
min_change = 0
bands = [{ name = "all", from = 0 }]
[status]
dormant_after = "365d"
"""


def test_dates_are_days_of_the_time_zone_of_the_policy(tmp_path: Path) -> None:
    """2026-03-08 has 23 hours in New York: it begins at 05:00 UTC, and the day after it at 04:00 UTC."""
    policy = tmp_path / "zoned.toml"
    policy.write_text(ZONED, encoding="utf-8")
    file = tmp_path / "engagement.jsonl"
    times = ("2026-03-08T04:59:59Z", "2026-03-08T05:00:00Z", "2026-03-09T03:59:59Z", "2026-03-09T04:00:00Z")
    texts = [
        json.dumps({"id": str(number), "account_id": "a", "time": time, "kind": "webinar"})
        for number, time in enumerate(times)
    ]
    file.write_text("\n".join(texts), encoding="utf-8")
    days = lines("score", file, "--policy", policy, "--history")
    ends = ["2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"]
    last_moments = [*(round(datetime.fromisoformat(end).timestamp() * 1000) - 1 for end in ends), days[-1]["as_of"]]
    assert [(day["day"], day["as_of"], day["score"]) for day in days] == [
        ("2026-03-07", last_moments[0], 25.0),
        ("2026-03-08", last_moments[1], 50.0),
        ("2026-03-09", last_moments[2], 25.0),
    ]
    for day in days[:2]:
        (score,) = lines("score", file, "--policy", policy, "--as-of", day["day"])
        assert (score["as_of"], score["scores"]["health"]["value"]) == (day["as_of"], day["score"])


def test_parents_can_not_be_printed_with_history_or_one_score(tmp_path: Path) -> None:
    file = write(tmp_path, "engagement.jsonl", a="2026-03-01T10:00:00Z")
    for option in (["--history"], ["--score", "health"]):
        refused = vitals("score", file, "--parents", *option)
        assert refused.exit_code == 2
        assert "--parents prints all scores as of one moment" in refused.stderr


def test_parents_are_printed_as_the_rollup_publishes_them(tmp_path: Path) -> None:
    file = write(tmp_path, "engagement.jsonl", a="2026-03-01T10:00:00Z", b="2026-03-01T10:00:00Z")
    profiles = tmp_path / "accounts.jsonl"
    rows = [("a", "top"), ("b", "top"), ("top", "group")]
    profiles.write_text(
        "".join(
            json.dumps({"id": name, "account_id": name, "time": "2026-02-01T00:00:00Z", "parent_id": parent}) + "\n"
            for name, parent in rows
        ),
        encoding="utf-8",
    )
    (line,) = lines("score", file, profiles, "--parents")
    assert (line["account_id"], line["children"]) == ("top", 2)
    assert line["scores"]["health"]["worst_account"] == "a"
    assert lines("score", file, profiles, "--parents", "--account", "group") == []

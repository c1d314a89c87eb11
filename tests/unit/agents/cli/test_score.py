"""`vitals score`: what it prints, with `--history` too, and its exit statuses."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.unit.agents.cli.invoke import ACME_EVENTS, AS_OF, EVENTS, lines, score_at, vitals

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


def test_the_named_score_is_printed() -> None:
    assert lines("score", EVENTS, "--score", "health") == lines("score", EVENTS)

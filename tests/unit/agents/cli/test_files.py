"""`explain`, `score --history` and `check --against` over files: figures that agree with each other, and bad usage."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from agents.cli.main import app
from agents.settings.settings import Settings, child_environment
from schemas.outputs import ScoreMessage

ROOT = Path(__file__).parents[4]
EVENTS = ROOT / "deploy" / "examples" / "events.jsonl"
TEMPLATE = ROOT / "deploy" / "policies" / "template.toml"
AS_OF = "2026-03-27"
DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in child_environment():
        if name.startswith("VITALS_"):
            monkeypatch.delenv(name)


def vitals(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def lines(*arguments: object) -> list[dict[str, Any]]:
    done = vitals(*arguments)
    assert done.exit_code == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def explained(*arguments: object) -> dict[str, Any]:
    (told,) = lines("explain", *arguments, "--json")
    return told


def score_at(account: str, moment: object) -> tuple[float, str]:
    (found,) = lines("score", EVENTS, "--as-of", moment, "--account", account)
    health = found["scores"]["health"]
    return health["value"], health["band"]


@pytest.mark.parametrize("day", ["2026-02-20", "2026-03-06", "2026-03-20", "2026-03-25", "2026-03-27"])
def test_what_moved_a_score_adds_up(day: str) -> None:
    told = explained("acme", EVENTS, "--as-of", AS_OF, "--since", day)
    since = told["since"]
    assert (since["value"], since["band"]) == score_at("acme", f"{day}T00:00:00Z")
    assert since["delta"] == told["value"] - since["value"]
    assert sum(factor["delta"] for factor in since["factors"]) == pytest.approx(since["delta"], abs=1e-9)
    assert [change["time"] > since["at"] for change in since["changes"]] == [True] * len(since["changes"])
    if since["changes"]:
        assert since["changes"][-1]["to"] == told["value"]


def test_changes_on_the_way_name_their_cause() -> None:
    told = explained("acme", EVENTS, "--as-of", "2026-04-06", "--since", "2026-03-25")
    causes = [(change["cause"], change["from"], change["to"]) for change in told["since"]["changes"]]
    assert causes == [("event", 75.5, 71.5), ("window", 71.5, 68.5)]


def test_an_account_that_had_no_score_then_is_compared_with_nothing() -> None:
    told = explained("dune", EVENTS, "--as-of", AS_OF, "--since", "2026-03-20")
    assert (told["since"]["value"], told["since"]["band"]) == (None, None)
    assert told["since"]["delta"] == told["value"]
    assert "no score yet then" in vitals("explain", "dune", EVENTS, "--since", "2026-03-20").stdout
    assert explained("acme", EVENTS, "--since", "2020-01-01")["since"]["value"] is None


def test_the_change_of_band_to_come_is_what_time_brings() -> None:
    told = explained("acme", EVENTS, "--as-of", AS_OF)
    turn = told["ahead"]["turn"]
    assert (turn["at"], turn["band"]) == (1_775_433_600_000, "attention")  # 2026-04-06T00:00:00Z
    assert score_at("acme", turn["at"] - 1) == (71.5, "healthy")
    assert score_at("acme", turn["at"]) == (turn["score"], "attention")
    for step in told["ahead"]["line"]:
        assert (step["score"], step["band"]) == score_at("acme", step["at"])
    near = explained("acme", EVENTS, "--as-of", AS_OF, "--ahead", 3)["ahead"]
    assert (near["turn"], near["final"], len(near["line"])) == (None, False, 1)
    assert "stays healthy until 2026-03-30" in vitals("explain", "acme", EVENTS, "--as-of", AS_OF, "--ahead", 3).stdout


def test_what_stays_for_good_is_said_so() -> None:
    done = vitals("explain", "dune", EVENTS, "--as-of", "2027-03-27")
    assert "stays at-risk for good: already no event is in any window" in done.stdout
    # Its last event is of 2026-03-26; the longest window has 180 days: on 22 September that day is not in it any more.
    ahead = explained("dune", EVENTS, "--as-of", AS_OF, "--ahead", 180)["ahead"]
    assert (ahead["until"], ahead["final"]) == (1_790_035_200_000, True)


def test_from_the_latest_score_alone_it_says_what_needs_files(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = vitals("score", EVENTS, "--account", "birch").stdout

    def latest(_settings: Settings, _account: str) -> ScoreMessage:
        return msgspec.json.decode(raw, type=ScoreMessage)

    monkeypatch.setattr("agents.kafka.latest_score.latest_score", latest)
    done = vitals("explain", "birch")
    assert done.exit_code == 0, done.stderr
    assert "product usage: 10 different users in the last 30 days" in done.stdout
    assert "give the event files after the account" in done.stdout
    assert "when it will change band if nothing happens" in done.stdout
    told = explained("birch")
    assert (told["needs_files"], told["since"], told["ahead"]) == (["since", "ahead"], None, None)
    assert vitals("explain", "birch", "--since", "2026-03-01").exit_code == 2


def test_the_history_ends_with_the_score_and_as_csv_says_the_same() -> None:
    days = lines("score", EVENTS, "--history", "--as-of", AS_OF)
    last = {day["account_id"]: (day["score"], day["band"]) for day in days}
    assert last == {name: score_at(name, AS_OF) for name in ("acme", "birch", "cedar", "dune")}
    dune = [day for day in days if day["account_id"] == "dune"]
    assert [day["day"] for day in dune] == ["2026-03-24", "2026-03-25", "2026-03-26", "2026-03-27"]
    assert [day["as_of"] % DAY_MS for day in dune] == [0, 0, 0, DAY_MS - 1]
    assert [(day["score"], day["band"]) for day in dune] == [score_at("dune", day["as_of"]) for day in dune]
    shown = vitals("score", EVENTS, "--history", "--as-of", AS_OF, "--account", "dune", "--csv").stdout
    rows = list(csv.DictReader(io.StringIO(shown)))
    assert [{key: str(value) for key, value in day.items()} for day in dune] == rows


def test_check_against_tells_the_spread() -> None:
    (report,) = lines("check", TEMPLATE, "--against", EVENTS, "--as-of", AS_OF, "--json")
    spread = report["against"]
    assert spread["accounts"] == 4
    assert sum(one["accounts"] for one in spread["histogram"]) == 4
    people = next(one for one in spread["measures"] if one["measure"] == "product_usage")
    assert (people["missing"], people["at_hundred"]) == (0, 0.5)  # birch has 10 users, cedar 12, acme 8, dune 3
    assert people["values"] == {"min": 3, "q1": 6.75, "median": 9, "q3": 10.5, "max": 12}
    assert any(told.startswith("nps: missing for 75%") for told in spread["warnings"])


def test_check_against_takes_several_files_after_the_policy(tmp_path: Path) -> None:
    more = tmp_path / "engagement.jsonl"
    more.write_text('{"id": "1", "account_id": "eve", "time": 1774600000000, "kind": "webinar"}\n', encoding="utf-8")
    done = vitals("check", TEMPLATE, "--against", EVENTS, more)
    assert done.exit_code == 0, done.stderr
    assert "of 5 accounts" in done.stdout
    for wrong in (("--against", EVENTS, more), (TEMPLATE, EVENTS)):
        done = vitals("check", *wrong)
        assert done.exit_code == 2
        assert "vitals check POLICY --against FILES" in done.stderr
    empty = tmp_path / "billing.jsonl"
    empty.write_text("", encoding="utf-8")
    assert vitals("check", TEMPLATE, "--against", empty).exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", "acme", EVENTS, "--score", "churn"),
        ("score", EVENTS, "--score", "churn"),
        ("score", EVENTS, "--history", "--score", "churn"),
        ("check", TEMPLATE, "--against", EVENTS, "--score", "churn"),
        ("score", EVENTS, "--csv"),
        ("explain", "acme", EVENTS, "--since", "2027-01-01"),
        ("explain", "acme", EVENTS, "--since", "lately"),
    ],
)
def test_what_can_not_be_answered_is_bad_usage(arguments: tuple[object, ...]) -> None:
    done = vitals(*arguments)
    assert done.exit_code == 2
    assert any(word in done.stderr for word in ("it has health", "--history", "--since"))


def test_a_score_named_is_the_one_shown() -> None:
    assert lines("score", EVENTS, "--score", "health") == lines("score", EVENTS)

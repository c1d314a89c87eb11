"""`vitals explain`: figures that agree with those of `vitals score`, and what it prints."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from agents.cli.main import app
from agents.settings.settings import Settings
from schemas.outputs import Override, ScoreMessage
from tests.unit.agents.cli.invoke import ACME_EVENTS, AS_OF, EVENTS, lines, score_at, vitals


@pytest.fixture
def _no_source_stalls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files end for all accounts at once; a forecast is about one account without events."""
    text = (Path(__file__).parents[4] / "deploy/policies/template.toml").read_text(encoding="utf-8")
    policy = tmp_path / "template.toml"
    policy.write_text(re.sub(r"(?m)^\[sources\.[a-z-]+\]\nstall_after = .*\n", "", text), encoding="utf-8")
    monkeypatch.setenv("VITALS_POLICY", str(policy))


def explained(*arguments: object) -> dict[str, Any]:
    (explanation,) = lines("explain", *arguments, "--json")
    return explanation


def test_explain_prints_score_band_and_factors() -> None:
    done = vitals("explain", "acme", ACME_EVENTS, "--as-of", AS_OF, "--json")
    assert done.exit_code == 0
    explanation = json.loads(done.stdout)
    assert explanation["factors"][0]["measure"] in {"product_usage", "support_tickets", "engagement"}
    assert (explanation["band"], explanation["next_band"]) == ("healthy", None)
    shown = vitals("explain", "acme", ACME_EVENTS, "--as-of", AS_OF)
    assert shown.exit_code == 0
    assert "77.0, healthy" in shown.stdout
    assert "product usage" in shown.stdout


def test_explain_of_an_unknown_account_fails() -> None:
    done = vitals("explain", "nobody", ACME_EVENTS)
    assert done.exit_code == 1
    assert "nobody" in done.stderr


@pytest.mark.parametrize("day", ["2026-02-20", "2026-03-06", "2026-03-20", "2026-03-25", "2026-03-27"])
def test_factor_changes_since_a_day_add_up_to_the_score_change(day: str) -> None:
    explanation = explained("acme", EVENTS, "--as-of", AS_OF, "--since", day)
    since = explanation["since"]
    assert (since["value"], since["band"]) == score_at("acme", f"{day}T00:00:00Z")
    assert since["delta"] == explanation["value"] - since["value"]
    assert sum(factor["delta"] for factor in since["factors"]) == pytest.approx(since["delta"], abs=1e-9)
    assert [change["time"] > since["at"] for change in since["changes"]] == [True] * len(since["changes"])
    if since["changes"]:
        assert since["changes"][-1]["to"] == explanation["value"]


@pytest.mark.usefixtures("_no_source_stalls")
def test_changes_since_a_day_have_their_cause() -> None:
    explanation = explained("acme", EVENTS, "--as-of", "2026-04-04", "--since", "2026-03-25")
    causes = [(change["cause"], change["from"], change["to"]) for change in explanation["since"]["changes"]]
    assert causes == [("event", 75.5, 71.5), ("window", 71.5, 68.5)]


def test_an_account_without_a_score_then_is_compared_with_none() -> None:
    explanation = explained("dune", EVENTS, "--as-of", AS_OF, "--since", "2026-03-20")
    assert (explanation["since"]["value"], explanation["since"]["band"]) == (None, None)
    assert explanation["since"]["delta"] == explanation["value"]
    assert "no score yet then" in vitals("explain", "dune", EVENTS, "--since", "2026-03-20").stdout
    assert explained("acme", EVENTS, "--since", "2020-01-01")["since"]["value"] is None


@pytest.mark.usefixtures("_no_source_stalls")
def test_the_forecast_is_the_score_at_later_times() -> None:
    explanation = explained("acme", EVENTS, "--as-of", AS_OF)
    turn = explanation["ahead"]["turn"]
    assert (turn["at"], turn["band"]) == (1_775_260_800_000, "attention")  # 2026-04-04T00:00:00Z
    assert score_at("acme", turn["at"] - 1) == (71.5, "healthy")
    assert score_at("acme", turn["at"]) == (turn["score"], "attention")
    for step in explanation["ahead"]["line"]:
        assert (step["score"], step["band"]) == score_at("acme", step["at"])
    near = explained("acme", EVENTS, "--as-of", AS_OF, "--ahead", 3)["ahead"]
    assert (near["turn"], near["final"], len(near["line"])) == (None, False, 1)
    assert "stays healthy until 2026-03-30" in vitals("explain", "acme", EVENTS, "--as-of", AS_OF, "--ahead", 3).stdout


def test_a_forecast_ends_where_the_account_has_no_data() -> None:
    done = vitals("explain", "dune", EVENTS, "--as-of", "2027-03-27")
    assert "health has no data: the last event was on 2026-03-26 10:02 UTC" in done.stdout
    # Its last event is of 2026-03-26; the shortest window has 28 days: a week more is 35 days later, on 30 April.
    ahead = explained("dune", EVENTS, "--as-of", AS_OF, "--ahead", 190)["ahead"]
    assert (ahead["until"], ahead["final"], ahead["no_data_at"]) == (1_777_507_200_000, False, 1_777_507_200_000)


def test_without_files_it_names_what_needs_files(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = vitals("score", EVENTS, "--account", "birch").stdout

    def latest(_settings: Settings, _account: str) -> ScoreMessage:
        return msgspec.json.decode(raw, type=ScoreMessage)

    monkeypatch.setattr("agents.kafka.latest_score.latest_score", latest)
    done = vitals("explain", "birch")
    assert done.exit_code == 0, done.stderr
    assert "product usage: 10 different users in the last 28 days" in done.stdout
    assert "give the event files after the account" in done.stdout
    assert "when it will change band if nothing happens" in done.stdout
    explanation = explained("birch")
    assert (explanation["needs_files"], explanation["since"], explanation["ahead"]) == (["since", "ahead"], None, None)
    assert vitals("explain", "birch", "--since", "2026-03-01").exit_code == 2


def test_a_reason_cannot_act_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = vitals("score", EVENTS, "--account", "birch").stdout
    message = msgspec.json.decode(raw, type=ScoreMessage)
    message.override = Override("\x1b]0;owned\x07\x1b[2J\nacme: health 100.0, healthy\u202e", 0, 1, 50.0, by="\x9b31m")
    monkeypatch.setattr("agents.kafka.latest_score.latest_score", lambda *_: message)
    for options in ((), ("--json",)):
        shown = CliRunner().invoke(app, ["explain", "birch", *options], color=True).stdout
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown)
        assert not any(line.startswith("acme") for line in shown.splitlines())
        assert r"u001b[2J" in shown or r"\x1b[2J" in shown

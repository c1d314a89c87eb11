"""Comparing a shadow with the live policy, and making it the live one: `vitals shadow`, by worked examples."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from agents.cli.main import app
from agents.settings.settings import child_environment, default_policy
from agents.shadow import outputs
from agents.shadow.outputs import PolicyOutputs
from agents.shadow.promotion import PromotionError, promote, refusal
from schemas.outputs import Alert, ScoreMessage, ScoreValue, ShadowMessage
from stream.explain.differences import compare, open_alerts
from tests.driving.engine import plan_of
from tests.driving.shadow import CANDIDATE, LIVE

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

# -- the comparison ---------------------------------------------------------------------------------------------------


def message(kind: type[ScoreMessage], account: str, value: float, band: str, **more: Any) -> Any:
    scores = {"health": ScoreValue(value, band, [])}
    return kind(account, int(value), 1, f"{kind.__name__}@1", None, scores, **more)


def live_of(*accounts: tuple[str, float, str]) -> dict[str, ScoreMessage]:
    return {name: message(ScoreMessage, name, value, band) for name, value, band in accounts}


def shadow_of(*accounts: tuple[str, float, str, list[str]]) -> dict[str, ShadowMessage]:
    return {name: message(ShadowMessage, name, value, band, alerts=rules) for name, value, band, rules in accounts}


STANDING = PolicyOutputs(
    "live@1",
    "candidate@1",
    live_of(("a", 80, "good"), ("b", 50, "fair"), ("c", 20, "poor"), ("gone", 70, "good")),
    shadow_of(("a", 55, "fair", ["low"]), ("b", 50, "fair", []), ("c", 61, "good", ["x"]), ("new", 10, "poor", [])),
    {("c", "low"), ("c", "x"), ("b", "quiet"), ("unknown", "low")},
    Counter(),
)


def test_differences_of_bands_scores_and_alerts() -> None:
    live, shadow = STANDING.live, STANDING.shadow
    differences = compare(live, shadow, STANDING.opened, (STANDING.live_policy, STANDING.shadow_policy), 1)
    assert (differences.accounts, differences.only_live, differences.only_shadow) == (3, 1, 1)
    assert (differences.changed, differences.moved) == (2, 2)
    assert [(item.band, item.live, item.shadow) for item in differences.bands] == [
        ("good", 2, 1),
        ("fair", 1, 2),
        ("poor", 1, 1),
    ]
    assert [(item.from_, item.to, item.accounts) for item in differences.moves] == [
        ("good", "fair", 1),
        ("poor", "good", 1),
    ]
    (far,) = differences.farthest
    assert (far.account_id, far.live, far.shadow, far.delta) == ("c", 20, 61, 41)
    assert [(item.account_id, item.rule) for item in differences.raised] == [("a", "low")]
    assert [(item.account_id, item.rule) for item in differences.spared] == [("b", "quiet"), ("c", "low")]
    assert [(item.rule, item.live, item.shadow, item.raised, item.spared) for item in differences.alerts] == [
        ("low", 1, 1, 1, 1),
        ("quiet", 1, 0, 0, 1),
        ("x", 1, 1, 0, 0),
    ]
    assert (differences.live_as_of, differences.shadow_as_of) == (80, 61)


def alert(fingerprint: str, account: str, status: Any) -> Alert:
    return Alert("i", fingerprint, account, "low", "warning", status, 1, 1.0, "b", "s", {}, {})


def test_open_alerts_are_those_whose_last_record_fires_and_that_are_of_an_account() -> None:
    log = [alert("1", "a", "firing"), alert("2", "b", "firing"), alert("1", "a", "resolved"), alert("3", "", "firing")]
    assert open_alerts(log) == {("b", "low")}
    assert open_alerts([*log, alert("1", "a", "firing")]) == {("a", "low"), ("b", "low")}


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in child_environment():
        if name.startswith("VITALS_"):
            monkeypatch.delenv(name)


def vitals(monkeypatch: pytest.MonkeyPatch, standing: PolicyOutputs, *arguments: object) -> Result:
    monkeypatch.setattr(outputs, "read_outputs", lambda _settings: standing)
    return CliRunner().invoke(app, ["shadow", *map(str, arguments)])


def test_the_command_shows_the_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    done = vitals(monkeypatch, STANDING)
    assert done.exit_code == 0
    for words in (
        "live live@1, shadow candidate@1",
        "3 accounts with both, 1 only live, 1 only shadow; 2 with another score, 2 in another band",
        "1 would be fair instead of good (health)",
        "raised: a low",
        "spared: b quiet, c low",
    ):
        assert words in done.stdout
    as_json = json.loads(vitals(monkeypatch, STANDING, "--json", "--top", 0).stdout)
    assert (as_json["shadow"], as_json["farthest"], len(as_json["spared"])) == ("candidate@1", [], 2)


def test_the_command_says_when_there_is_no_shadow(monkeypatch: pytest.MonkeyPatch) -> None:
    done = vitals(monkeypatch, STANDING._replace(shadow={}, shadow_policy=""))
    assert (done.exit_code, "--shadow FILE" in done.stderr) == (1, True)


def files(folder: Path) -> tuple[Path, Path]:
    live, candidate = folder / "live.toml", folder / "candidate.toml"
    live.write_text(LIVE, "utf-8")
    candidate.write_text(CANDIDATE, "utf-8")
    live.chmod(0o640)
    return live, candidate


def test_promotion_puts_the_candidate_in_place_and_keeps_the_former(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, candidate = files(tmp_path)
    standing = STANDING._replace(live_policy=plan_of(LIVE).label, shadow_policy=plan_of(CANDIDATE).label)
    done = vitals(monkeypatch, standing, "--promote", "--policy", live, "--shadow", candidate)
    assert done.exit_code == 0, done.stderr
    assert "Stop all workers" in done.stdout
    former = tmp_path / f"live.toml.{plan_of(LIVE).policy.digest}"
    assert (live.read_text("utf-8"), former.read_text("utf-8")) == (CANDIDATE, LIVE)
    assert live.stat().st_mode & 0o777 == 0o640
    assert sorted(tmp_path.iterdir()) == sorted([live, candidate, former])
    again = vitals(monkeypatch, standing, "--promote", "--policy", live, "--shadow", candidate, "--json")
    assert (again.exit_code, "already in the policy file" in again.stderr) == (1, True)


def test_promotion_without_a_candidate_is_bad_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    done = vitals(monkeypatch, STANDING, "--promote")
    assert (done.exit_code, "VITALS_SHADOW" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        (("live@1", "other@1"), "the running shadow is other@1, not candidate@1"),
        (("live@1", ""), "the running shadow is none"),
        (("other@1", "candidate@1"), "the workers score with other@1, the policy file has live@1"),
    ],
)
def test_promotion_is_refused_where_the_workers_do_something_else(standing: tuple[str, str], words: str) -> None:
    assert words in (
        refusal(STANDING._replace(live_policy=standing[0], shadow_policy=standing[1]), "live@1", "candidate@1") or ""
    )
    assert refusal(STANDING, "live@1", "candidate@1") is None


def test_the_template_of_the_package_is_never_overwritten(tmp_path: Path) -> None:
    _, candidate = files(tmp_path)
    before = default_policy().read_bytes()
    with pytest.raises(PromotionError, match="VITALS_POLICY"):
        promote(default_policy(), candidate, "a@1", "b@1")
    assert default_policy().read_bytes() == before


def test_a_file_that_can_not_be_replaced_is_left_alone(tmp_path: Path) -> None:
    live, _ = files(tmp_path)
    with pytest.raises(PromotionError, match="No such file"):
        promote(live, tmp_path / "gone.toml", "a@1", "b@1")
    assert live.read_text("utf-8") == LIVE

"""Settings of the sinks: accepted formats, the errors for bad ones, and secrets that are never shown."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agents.cli.main import app
from agents.settings.settings import SettingsError, child_environment, load_settings

SECRET = "hunter2-in-clear"
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in child_environment():
        if name.startswith("VITALS_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("webhook_allow_private", "true", True),
        ("webhook_allow_private", "false", False),
        ("webhook_allow_private", "10.0.0.0/8", (ip_network("10.0.0.0/8"),)),
        ("webhook_allow_private", "10.0.0.0/8, fd00::/8", (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))),
        ("webhook_allow_private", '["192.168.1.7"]', (ip_network("192.168.1.7/32"),)),
        ("notify_segments", "enterprise, mid market", ("enterprise", "mid market")),
        ("notify_severity", "critical", "critical"),
        ("alertmanager_resend_s", "30", 30.0),
    ],
)
def test_formats_of_a_variable(monkeypatch: pytest.MonkeyPatch, name: str, text: str, expected: Any) -> None:
    monkeypatch.setenv(f"VITALS_{name.upper()}", text)
    assert getattr(load_settings(), name) == expected


def test_urls_of_receivers_in_a_variable_and_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('notify_urls = ["slack://a/b/c", "mailto://d"]\n', encoding="utf-8")
    monkeypatch.setenv("VITALS_SETTINGS", str(file))
    assert [url.get_secret_value() for url in load_settings().notify_urls or ()] == ["slack://a/b/c", "mailto://d"]
    monkeypatch.setenv("VITALS_NOTIFY_URLS", "slack://e/f/g?x=1,2  mailto://h")
    assert [url.get_secret_value() for url in load_settings().notify_urls or ()] == [
        "slack://e/f/g?x=1,2",
        "mailto://h",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("webhook_url", f"ftp://example.com/{SECRET}"),
        ("webhook_url", f"https:///{SECRET}"),
        ("webhook_url", f"https://example.com/{SECRET} x"),
        ("webhook_url", f"https://example.com/{SECRET}#x"),
        ("webhook_url", f"https://example.com:99999/{SECRET}"),
        ("webhook_url", f"https://exämple.com/{SECRET}"),
        ("alertmanager_url", f"file:///{SECRET}"),
        ("board_url", "javascript:alert(1)"),
        ("webhook_secret", SECRET),
        ("webhook_secret", f"{KEY} whsec_{SECRET}"),
        ("webhook_allow_private", "10.0.0.1/8"),
        ("notify_allow_private", "10.0.0.1/8"),
        ("board_url", f"https://me:{SECRET}@board.example"),
        ("webhook_allow_private", "everything"),
        ("notify_severity", "loud"),
        ("alertmanager_resend_s", "0"),
        ("sink_timeout_s", "0"),
        ("webhook_port", "65536"),
    ],
)
def test_a_bad_setting_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(f"VITALS_{name.upper()}", text)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.problems
    assert all(problem.startswith(name) for problem in caught.value.problems)
    assert SECRET not in str(caught.value)


def test_secrets_are_never_shown() -> None:
    settings = load_settings(
        webhook_url=f"https://example.com/{SECRET}",
        alertmanager_url=f"https://me:{SECRET}@example.com",
        webhook_secret=KEY,
        notify_urls=[f"slack://{SECRET}"],
    )
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert SECRET not in shown
    assert KEY not in shown


@pytest.mark.parametrize(
    ("sink", "variables", "named"),
    [
        ("alertmanager", {}, "alertmanager_url is not set"),
        ("webhook", {}, "webhook_url is not set"),
        ("webhook", {"webhook_url": "https://example.com"}, "webhook_secret is not set"),
        ("webhook", {"webhook_url": "https://example.com", "webhook_secret": " "}, "is empty"),
        ("webhook", {"webhook_url": f"http://127.0.0.1:1/{SECRET}", "webhook_secret": KEY}, "webhook_allow_private"),
        ("notify", {}, "notify_urls is not set"),
        ("notify", {"notify_urls": f"json://1.1.1.1 nosuch://{SECRET}"}, "number 2 (nosuch)"),
        ("notify", {"notify_urls": f"json://me:{SECRET}@10.0.0.1"}, "notify_allow_private"),
    ],
)
def test_a_sink_names_the_setting_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, sink: str, variables: dict[str, str], named: str
) -> None:
    for name, text in variables.items():
        monkeypatch.setenv(f"VITALS_{name.upper()}", text)
    ended = CliRunner().invoke(app, ["sink", sink])
    assert ended.exit_code == 2
    assert named in ended.stderr
    assert SECRET not in ended.output

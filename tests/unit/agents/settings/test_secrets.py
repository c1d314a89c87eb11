"""Secrets: each can be read from a file, none can be empty, and no error shows one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agents.cli.main import app
from agents.settings.redactor import redact
from agents.settings.secrets import secret_names
from agents.settings.settings import Settings, SettingsError, child_environment, load_settings, unknown_variables

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SAMPLES = {
    "webhook_secret": KEY,
    "webhook_url": "https://hooks.example/T0AB1CD2",
    "alertmanager_url": "https://me:s3cr3t-7@alerts.example",
    "notify_urls": "slack://TokenA1/TokenB2/TokenC3",
}
NAMES = secret_names(Settings.model_fields)


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in child_environment():
        if name.startswith("VITALS_"):
            monkeypatch.delenv(name)


def value_of(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    return " ".join(each.get_secret_value() for each in (value if isinstance(value, tuple) else [value]))


def test_the_secrets_are_those_of_the_type() -> None:
    assert {"sasl_password", "board_token", "redis_password", "tls_key_password", *SAMPLES} <= set(NAMES)
    assert "sasl_username" not in NAMES


BESIDE = {"registry_password": ("registry_username", "key")}
"""What has to be set with a secret."""


@pytest.mark.parametrize("name", NAMES)
def test_each_secret_can_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    secret = SAMPLES.get(name, " s3cret with spaces, 7 ")
    (tmp_path / "secret").write_text(secret + "\n", encoding="utf-8")
    monkeypatch.setenv(f"VITALS_{name.upper()}_FILE", str(tmp_path / "secret"))
    if name in BESIDE:
        monkeypatch.setenv(f"VITALS_{BESIDE[name][0].upper()}", BESIDE[name][1])
    assert unknown_variables() == []
    assert value_of(load_settings(), name) == secret


@pytest.mark.parametrize("name", NAMES)
def test_each_secret_can_be_in_a_file_that_the_settings_file_names(tmp_path: Path, name: str) -> None:
    secret = SAMPLES.get(name, "s3cret-in-a-file")
    (tmp_path / "secret").write_text(secret + "\r\n", encoding="utf-8")
    beside = '{} = "{}"\n'.format(*BESIDE[name]) if name in BESIDE else ""
    (tmp_path / "settings.toml").write_text(f'{beside}{name}_file = "{tmp_path}/secret"\n', encoding="utf-8")
    assert value_of(load_settings(tmp_path / "settings.toml"), name) == secret


@pytest.mark.parametrize("name", NAMES)
def test_a_secret_and_its_file_are_not_set_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("from-the-file-7", encoding="utf-8")
    monkeypatch.setenv(f"VITALS_{name.upper()}", SAMPLES.get(name, "from-the-variable-7"))
    monkeypatch.setenv(f"VITALS_{name.upper()}_FILE", str(tmp_path / "secret"))
    with pytest.raises(SettingsError, match=f"{name} and {name}_file are both set") as caught:
        load_settings()
    assert "-7" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VITALS_SASL_PASSWORD_FILE", str(tmp_path / "missing"))
    with pytest.raises(SettingsError, match=r"sasl_password_file: .*/missing cannot be read: No such file"):
        load_settings()
    (tmp_path / "missing").write_bytes(b"\xff\xfesecret")
    with pytest.raises(SettingsError, match=r"/missing is not a text file in UTF-8") as caught:
        load_settings()
    assert "secret'" not in f"{caught.value} {caught.value.__context__!r}"


@pytest.mark.parametrize("text", ["", " ", "\n"])
@pytest.mark.parametrize("name", NAMES)
def test_an_empty_secret_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, text: str) -> None:
    monkeypatch.setenv(f"VITALS_{name.upper()}", text)
    with pytest.raises(SettingsError, match="is empty") as caught:
        load_settings()
    assert all(problem.startswith(name) for problem in caught.value.problems)
    monkeypatch.delenv(f"VITALS_{name.upper()}")
    (tmp_path / "secret").write_text(text, encoding="utf-8")
    monkeypatch.setenv(f"VITALS_{name.upper()}_FILE", str(tmp_path / "secret"))
    with pytest.raises(SettingsError, match="is empty"):
        load_settings()


def test_a_very_short_secret_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITALS_REDIS_PASSWORD", "xyz")
    with pytest.raises(SettingsError, match=r"redis_password .* fewer than 4 characters") as caught:
        load_settings()
    assert "xyz" not in str(caught.value)


@pytest.mark.parametrize("command", ["check", "topics"])
@pytest.mark.parametrize("url", ["kafka://user:s3cr3t-7@host:9092", "s3cr3t-7@host:9092", "a:1;kafka://u:s3cr3t-7@b:2"])
def test_credentials_in_the_brokers_url_are_refused_and_not_shown(command: str, url: str) -> None:
    done = CliRunner().invoke(app, [command, "--broker", url])
    assert done.exit_code == 2
    assert "sasl_username and sasl_password" in done.stderr
    assert "s3cr3t-7" not in done.output


def test_a_password_that_is_sent_unencrypted_causes_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITALS_SASL_PASSWORD", "s3cr3t-7")
    options: dict[str, Any] = {"sasl_username": "vitals", "security_protocol": "SASL_PLAINTEXT"}
    (warning,) = load_settings(**options, sasl_mechanism="PLAIN").warnings()
    assert "unencrypted" in warning
    assert load_settings(**options).warnings() == []
    assert load_settings(**{**options, "security_protocol": "SASL_SSL"}, sasl_mechanism="PLAIN").warnings() == []
    for name, value in (*options.items(), ("sasl_mechanism", "PLAIN")):
        monkeypatch.setenv(f"VITALS_{name.upper()}", value)
    done = CliRunner().invoke(app, ["check", "--offline"])
    assert f"warning: {warning}" in done.stderr


def test_loaded_settings_hide_their_secrets() -> None:
    load_settings(sasl_password="s3cr3t-7")
    assert redact("wrong: s3cr3t-7") == "wrong: ***"
    load_settings()
    assert redact("wrong: s3cr3t-7") == "wrong: s3cr3t-7"

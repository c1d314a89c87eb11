"""Settings: the order of their sources, the errors for bad ones, and secrets that are never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.settings.settings import SettingsError, child_environment, default_policy, load_settings

SECRET = "hunter2-in-clear"


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in child_environment():
        if name.startswith("VITALS_"):
            monkeypatch.delenv(name)


def test_defaults() -> None:
    settings = load_settings()
    assert settings.broker == "kafka://127.0.0.1:9092"
    assert settings.bootstrap_servers() == ["127.0.0.1:9092"]
    assert (settings.group, settings.partitions, settings.time) == ("account-vitals", 4, "live")
    assert settings.policy == default_policy()
    assert settings.policy.is_file()
    assert settings.ssl_context() is None
    assert settings.faust_credentials() is None


def test_argument_before_environment_before_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('group = "file"\npartitions = 8\nlog_level = "debug"\n', encoding="utf-8")
    monkeypatch.setenv("VITALS_SETTINGS", str(file))
    monkeypatch.setenv("VITALS_GROUP", "environment")
    monkeypatch.setenv("VITALS_PARTITIONS", "6")
    settings = load_settings(group="argument")
    assert (settings.group, settings.partitions, settings.log_level) == ("argument", 6, "debug")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BROKER", "localhost"),
        ("BROKER", "http://localhost:9092"),
        ("PARTITIONS", "0"),
        ("PARTITIONS", "many"),
        ("GROUP", "spaces are bad"),
        ("TIME", "wall"),
        ("CATCH_UP", "fast"),
        ("DEDUP", "maybe"),
        ("DEDUP_IDS", "0"),
        ("ALLOW_BEFORE", "1969-12-31"),
        ("ALLOW_BEFORE", "2000-01-02"),
        ("ALLOW_BEFORE", "old"),
        ("COMMIT_INTERVAL_S", "0"),
        ("SESSION_TIMEOUT_S", "1"),
        ("WEB_PORT", "65536"),
        ("LOG_LEVEL", "loud"),
        ("SASL_MECHANISM", "GSSAPI"),
        ("REDIS_URL", "127.0.0.1:6379"),
        ("REDIS_URL", "redis://user:secret@127.0.0.1:6379"),
        ("REDIS_URL", "redis://127.0.0.1:6379?password=secret"),
        ("REDIS_URL", "redis://127.0.0.1:6379/0?username=me&password=secret"),
        ("REDIS_URL", "redis://:secret#@127.0.0.1"),
        ("REDIS_URL", "redis://secret:word:6379"),
        ("REDIS_URL", "redis://127.0.0.1:6379/0/x"),
        ("REDIS_URL", "redis://[::1"),
        ("REDIS_URL", "unix:///run/redis.sock"),
    ],
)
def test_a_bad_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("VITALS_" + name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    (problem,) = caught.value.problems
    assert problem.startswith(name.lower())


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:6379", "rediss://cache.example", "redis://[::1]:6379/2", "redis://cache-1.example:1/15"]
)
def test_a_redis_url_has_host_port_and_database(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("VITALS_REDIS_URL", url)
    assert load_settings().redis_url == url


def test_every_problem_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITALS_PARTITIONS", "0")
    monkeypatch.setenv("VITALS_TIME", "wall")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert {problem.split()[0] for problem in caught.value.problems} == {"partitions", "time"}


def test_an_unknown_name_in_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('brokr = "kafka://127.0.0.1:9092"\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="brokr"):
        load_settings(file)


@pytest.mark.parametrize("text", [None, "group = ", "\x00"])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "settings.toml"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"settings\.toml"):
        load_settings(file)


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITALS_SASL_PASSWORD", SECRET)
    monkeypatch.setenv("VITALS_TLS_KEY_PASSWORD", SECRET)
    monkeypatch.setenv("VITALS_SASL_USERNAME", "vitals")
    settings = load_settings(security_protocol="SASL_PLAINTEXT")
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert settings.kafka_python()["sasl_plain_password"] == SECRET
    monkeypatch.setenv("VITALS_PARTITIONS", "0")
    monkeypatch.delenv("VITALS_SASL_USERNAME")
    with pytest.raises(SettingsError) as caught:
        load_settings(security_protocol="SASL_SSL")
    assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"


def test_incomplete_credentials_are_refused() -> None:
    with pytest.raises(SettingsError, match="sasl_username and sasl_password"):
        load_settings(security_protocol="SASL_PLAINTEXT", sasl_username="vitals")
    with pytest.raises(SettingsError, match="tls_cert and tls_key"):
        load_settings(security_protocol="SSL", tls_cert="cert.pem")


def test_tls_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    settings = load_settings(security_protocol="SSL", tls_ca=tmp_path / "ca.pem")
    with pytest.raises(SettingsError, match=r"ca\.pem"):
        settings.ssl_context()

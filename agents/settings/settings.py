"""Settings: the only place that reads the environment and the settings file.

Owns names, defaults and limits of all settings. Loaded once by each command; objects get what they need as arguments.
Secrets are `SecretStr`: they are never printed or logged (`agents.settings.redactor`). Each can be in a file that
`VITALS_<NAME>_FILE` names (`agents.settings.secrets`).
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from agents.settings.redactor import set_secrets
from agents.settings.secrets import FILE_SUFFIX, read_secret_files, require_usable, secret_names, texts_to_hide
from agents.settings.sinks import SinkSettings
from schemas.topics import LONGEST_TOPIC, changelog
from stream.policy.errors import did_you_mean

if TYPE_CHECKING:
    import faust

PACKAGED = Path(__file__).parents[1] / "policies"
CHECKOUT = Path(__file__).parents[2] / "deploy" / "policies"

_REDIS_URL = r"^rediss?://([^/@?#:\s\[\]]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?(/\d+)?$"
"""Without user and password, which have settings of their own."""

_REGISTRY_URL = r"^https?://([^/@?#:\s\[\]]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?(/[^@?#\s]*)?$"
"""Without user and password, which have settings of their own."""

SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


def default_policy() -> Path:
    """The file of the template policy, of the installed package or of the checkout."""
    return (PACKAGED if PACKAGED.is_dir() else CHECKOUT) / "template.toml"


class Settings(SinkSettings, BaseSettings):
    """All settings. Each can be set as `VITALS_<NAME>` or in the TOML file that `VITALS_SETTINGS` names."""

    model_config = SettingsConfigDict(env_prefix="VITALS_", extra="forbid", hide_input_in_errors=True)

    broker: str = "kafka://127.0.0.1:9092"
    policy: Path = Field(default_factory=default_policy)
    shadow: Path | None = None
    group: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")] = "account-vitals"
    instance: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")] | None = None
    topic_prefix: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99})?$")] = ""
    partitions: Annotated[int, Field(ge=1, le=1024)] = 4
    standbys: Annotated[int, Field(ge=0, le=10)] = 0
    create_topics: bool = True
    replication: Annotated[int, Field(ge=1, le=10)] = 1

    time: Literal["live", "event"] = "live"
    catch_up: Literal["conflate", "exact"] = "conflate"
    catch_up_lag: Annotated[int, Field(ge=1)] = 10_000
    allow_before: Annotated[date, Field(ge=date(1970, 1, 1), le=date(2000, 1, 1))] = date(2000, 1, 1)
    dedup: bool = True
    dedup_ids: Annotated[int, Field(ge=1, le=50_000_000)] = 200_000
    commit_interval_s: Annotated[float, Field(gt=0, le=300)] = 1.0
    session_timeout_s: Annotated[float, Field(ge=6, le=300)] = 10.0
    watchdog_s: Annotated[float, Field(ge=10)] = 120.0
    merge_wait_s: Annotated[float, Field(ge=0)] = 2.0

    web_host: str = "127.0.0.1"
    web_port: Annotated[int, Field(ge=0, le=65535)] = 6066
    rollup_port: Annotated[int, Field(ge=0, le=65535)] = 6074
    peers_port: Annotated[int, Field(ge=0, le=65535)] = 6075
    mapper_port: Annotated[int, Field(ge=0, le=65535)] = 6076
    rows_port: Annotated[int, Field(ge=0, le=65535)] = 6077
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    board_host: str = "127.0.0.1"
    board_port: Annotated[int, Field(ge=0, le=65535)] = 6080
    board_token: SecretStr | None = None
    board_user_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,100}$")] | None = None
    board_proxies: str | None = None
    board_hosts: str | None = None

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: SaslMechanism = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_key_password: SecretStr | None = None

    registry_url: Annotated[str, Field(pattern=_REGISTRY_URL)] | None = None
    registry_username: str | None = None
    registry_password: SecretStr | None = None
    registry_tls_ca: Path | None = None

    redis_url: Annotated[str, Field(pattern=_REDIS_URL)] = "redis://127.0.0.1:6379"
    redis_username: str | None = None
    redis_password: SecretStr | None = None
    redis_tls_ca: Path | None = None
    redis_tls_cert: Path | None = None
    redis_tls_key: Path | None = None
    redis_tls_key_password: SecretStr | None = None
    redis_metrics_port: Annotated[int, Field(ge=0, le=65535)] = 6086

    @model_validator(mode="before")
    @classmethod
    def _secret_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        return read_secret_files(values, secret_names(cls.model_fields))

    @field_validator("*")
    @classmethod
    def _usable_secret(cls, value: Any) -> Any:
        require_usable(value)
        return value

    @field_validator("broker")
    @classmethod
    def _broker(cls, value: str) -> str:
        if "@" in value:
            msg = "user and password do not belong into the URL: set sasl_username and sasl_password"
            raise ValueError(msg)
        if not re.fullmatch(r"(kafka://)?[^\s/,;]+:\d+([,;](kafka://)?[^\s/,;]+:\d+)*", value):
            msg = "expected kafka://HOST:PORT, more hosts separated by ';'"
            raise ValueError(msg)
        return value if value.startswith("kafka://") else f"kafka://{value}"

    @field_validator("board_proxies")
    @classmethod
    def _proxies(cls, value: str | None) -> str | None:
        for network in (value or "").split(","):
            if value is not None:
                ipaddress.ip_network(network.strip())  # raises ValueError with the network in it
        return value

    @model_validator(mode="after")
    def _longest_topic(self) -> Settings:
        name = changelog(self.group, self.topic_prefix).name
        if len(name) > LONGEST_TOPIC:
            msg = f"topic_prefix and group are too long: the topic {name} has {len(name)} characters, Kafka allows 249"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _credentials(self) -> Settings:
        if self.security_protocol.startswith("SASL") and not (self.sasl_username and self.sasl_password):
            msg = f"security_protocol {self.security_protocol} needs sasl_username and sasl_password"
            raise ValueError(msg)
        if (self.tls_cert is None) != (self.tls_key is None):
            msg = "tls_cert and tls_key must be set together"
            raise ValueError(msg)
        if (self.redis_tls_cert is None) != (self.redis_tls_key is None):
            msg = "redis_tls_cert and redis_tls_key must be set together"
            raise ValueError(msg)
        if (self.registry_username is None) != (self.registry_password is None):
            msg = "registry_username and registry_password must be set together"
            raise ValueError(msg)
        if self.redis_username and not self.redis_password:
            msg = "redis_username needs redis_password"
            raise ValueError(msg)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then the file."""
        del dotenv_settings, file_secret_settings
        arguments = dict(init_settings())
        path = arguments.pop("settings_file", None)
        files = {name: os.environ[name] for name in _file_variables() if name in os.environ}
        sources: list[PydanticBaseSettingsSource] = [
            _Arguments(settings_cls, arguments),
            env_settings,
            _Arguments(settings_cls, {name.removeprefix("VITALS_").lower(): path for name, path in files.items()}),
        ]
        if path:
            sources.append(TomlConfigSettingsSource(settings_cls, toml_file=path))
        return tuple(sources)

    def hidden_texts(self) -> list[str]:
        """The texts of all secrets that must not be shown, see `agents.settings.redactor`."""
        values = {name: getattr(self, name) for name in secret_names(type(self).model_fields)}
        return [text for name, value in values.items() if value is not None for text in texts_to_hide(name, value)]

    def warnings(self) -> list[str]:
        """What is allowed and not advisable."""
        if (self.security_protocol, self.sasl_mechanism) != ("SASL_PLAINTEXT", "PLAIN"):
            return []
        text = "security_protocol SASL_PLAINTEXT with sasl_mechanism PLAIN sends the password unencrypted"
        return [f"{text}: use SASL_SSL, or a SCRAM mechanism"]

    @property
    def earliest_ms(self) -> int:
        """The earliest time that an event may have, epoch ms."""
        return int(datetime.combine(self.allow_before, datetime.min.time(), UTC).timestamp()) * 1000

    def topic(self, name: str) -> str:
        """The topic of this deployment that is called `name` where there is no prefix, such as `health.scores`."""
        return self.topic_prefix + name

    def bootstrap_servers(self) -> list[str]:
        """HOST:PORT of each broker."""
        return [url.removeprefix("kafka://") for url in re.split("[,;]", self.broker)]

    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS context for Kafka, or None without TLS. Raises `SettingsError` for a file that cannot be used."""
        if not self.security_protocol.endswith("SSL"):
            return None
        return _ssl_context(self.tls_ca, self.tls_cert, self.tls_key, self.tls_key_password)

    def registry_ssl_context(self) -> ssl.SSLContext | None:
        """The TLS context for the schema registry, or None without TLS. Raises `SettingsError` as above."""
        if self.registry_url is None or not self.registry_url.startswith("https://"):
            return None
        return _ssl_context(self.registry_tls_ca, None, None, None)

    def redis_ssl_context(self) -> ssl.SSLContext | None:
        """The TLS context for Redis, or None without TLS. Raises `SettingsError` for a file that cannot be used."""
        if not self.redis_url.startswith("rediss://"):
            return None
        return _ssl_context(self.redis_tls_ca, self.redis_tls_cert, self.redis_tls_key, self.redis_tls_key_password)

    def faust_credentials(self) -> faust.auth.Credentials | None:
        """Credentials in the form of Faust."""
        import faust  # noqa: PLC0415 -- slow, and for workers only

        context = self.ssl_context()
        if self.security_protocol.startswith("SASL"):
            assert self.sasl_password is not None
            return faust.SASLCredentials(
                username=self.sasl_username,
                password=self.sasl_password.get_secret_value(),
                ssl_context=context,
                mechanism=self.sasl_mechanism,
            )
        return faust.SSLCredentials(context) if context else None

    def kafka_python(self) -> dict[str, Any]:
        """Connection options in the form of kafka-python."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers(),
            "security_protocol": self.security_protocol,
        }
        if context := self.ssl_context():
            options["ssl_context"] = context
        if self.security_protocol.startswith("SASL"):
            assert self.sasl_password is not None
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = self.sasl_password.get_secret_value()
        return options


def _ssl_context(ca: Path | None, cert: Path | None, key: Path | None, secret: SecretStr | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
        if cert:
            context.load_cert_chain(cert, key, secret.get_secret_value() if secret else None)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(path) for path in (ca, cert, key) if path)
        advice = "check the paths, and that the key belongs to the certificate"
        raise SettingsError([f"TLS files {files}: {error.strerror or error}; {advice}"]) from error
    return context


class _Arguments(PydanticBaseSettingsSource):
    """Settings from arguments, such as options of a command."""

    def __init__(self, settings_cls: type[BaseSettings], arguments: dict[str, Any]) -> None:
        super().__init__(settings_cls)
        self._arguments = arguments

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        del field
        return self._arguments.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._arguments


class SettingsError(ValueError):
    """Settings that cannot be used; each problem names its setting."""

    def __init__(self, problems: list[str]) -> None:
        """Set the problems."""
        super().__init__("\n".join(problems))
        self.problems = problems


def _file_variables() -> list[str]:
    """The variables that name a file with a secret."""
    return [f"VITALS_{name}{FILE_SUFFIX}".upper() for name in secret_names(Settings.model_fields)]


def unknown_variables() -> list[str]:
    """Problems with environment variables VITALS_... that are not settings, each with the most similar setting."""
    known = [*Settings.model_fields, "settings"]
    known += [name.removeprefix("VITALS_").lower() for name in _file_variables()]
    variables = sorted(name for name in os.environ if name.startswith("VITALS_"))
    settings = {name: name.removeprefix("VITALS_").lower() for name in variables}
    return [
        f"{name}: there is no setting {setting}{did_you_mean(setting, known)}"
        for name, setting in settings.items()
        if setting not in known
    ]


def child_environment(**settings: object) -> dict[str, str]:
    """The environment for a child process, with these settings added."""
    return {**os.environ, **{f"VITALS_{name.upper()}": str(value) for name, value in settings.items()}}


def environment_without_settings() -> dict[str, str]:
    """The environment for a program of others: this process's without the settings, which hold secrets."""
    return {name: value for name, value in os.environ.items() if not name.startswith("VITALS_")}


def load_settings(settings_file: Path | None = None, **arguments: Any) -> Settings:
    """Settings from arguments, then the environment, then a file. Raises `SettingsError`.

    The file is `settings_file`, else the one that `VITALS_SETTINGS` names. An argument None counts as not given.
    """
    if settings_file is None and os.environ.get("VITALS_SETTINGS"):
        settings_file = Path(os.environ["VITALS_SETTINGS"])
    arguments = {name: value for name, value in arguments.items() if value is not None}
    if settings_file and not settings_file.is_file():
        raise SettingsError([f"{settings_file}: the settings file does not exist; check --settings or VITALS_SETTINGS"])
    origin = f" (argument, VITALS_ variable or {settings_file})" if settings_file else " (argument or VITALS_ variable)"
    try:
        settings = Settings(**arguments, settings_file=settings_file)  # type: ignore[call-arg]  # not a field: see the sources
    except ValidationError as error:
        problems = []
        for detail in error.errors(include_url=False, include_input=False):
            name = ".".join(map(str, detail["loc"])) or "settings"
            problems.append(f"{name}{origin}: {detail['msg']}")
        raise SettingsError(problems) from None
    except ValueError as error:
        raise SettingsError([f"{settings_file}: {error}"]) from error
    set_secrets(settings.hidden_texts())
    return settings

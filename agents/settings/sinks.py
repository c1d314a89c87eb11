"""The settings of the sinks, which `agents.settings.settings.Settings` includes.

Owns names, defaults and limits. URLs can contain secrets: they are `SecretStr`, and no error quotes one.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, field_validator

from agents.settings.address_guard import Network, parse_networks
from agents.settings.webhook_secret import parse_secret

Port = Annotated[int, Field(ge=0, le=65535)]


class SinkSettings(BaseModel):
    """Settings that only `vitals sink` reads."""

    board_url: str | None = None
    sink_timeout_s: Annotated[float, Field(gt=0, le=60)] = 10.0
    sink_give_up_s: Annotated[float, Field(ge=0)] = 86_400.0
    sink_longest_pause_s: Annotated[float, Field(gt=0, le=3600)] = 300.0

    alertmanager_url: SecretStr | None = None
    alertmanager_resend_s: Annotated[float, Field(ge=1, le=3600)] = 60.0
    alertmanager_port: Port = 6071

    webhook_url: SecretStr | None = None
    webhook_secret: SecretStr | None = None
    webhook_allow_private: bool | tuple[Network, ...] = False
    webhook_port: Port = 6072

    notify_urls: tuple[SecretStr, ...] | None = None
    notify_severity: Literal["info", "warning", "critical"] = "warning"
    notify_segments: tuple[str, ...] | None = None
    notify_allow_private: bool | tuple[Network, ...] = False
    notify_port: Port = 6073

    plugin_port: Port = 6077

    @field_validator("board_url", "alertmanager_url", "webhook_url")
    @classmethod
    def _url(cls, value: str | SecretStr | None) -> str | SecretStr | None:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(value, SecretStr) and not value.get_secret_value().strip():
            return value  # refused as every empty secret is
        if text is not None and not _is_url(text):
            raise ValueError("expected http://HOST/ or https://HOST/, in ASCII, without spaces and #")
        if isinstance(value, str) and "@" in urlsplit(value).netloc:
            raise ValueError("a user and password do not belong into this URL: notifications show it")
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _secret(cls, value: SecretStr | None) -> SecretStr | None:
        for secret in value.get_secret_value().split() if value else []:
            parse_secret(secret)
        return value

    @field_validator("webhook_allow_private", "notify_allow_private", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        if not isinstance(value, str) or value.lower() in {"true", "false", "1", "0"}:
            return value
        try:
            return parse_networks(_split(value))
        except ValueError:
            raise ValueError("expected true, false or networks such as 10.0.0.0/8, separated by spaces") from None

    @field_validator("notify_urls", mode="before")
    @classmethod
    def _split_urls(cls, value: Any) -> Any:
        return tuple(value.split()) if isinstance(value, str) else value

    @field_validator("notify_segments", mode="before")
    @classmethod
    def _split_segments(cls, value: Any) -> Any:
        return (
            tuple(segment.strip() for segment in value.split(",") if segment.strip())
            if isinstance(value, str)
            else value
        )


def _split(text: str) -> list[str]:
    return [word for word in re.split(r"[\s,]+", text) if word]


def _is_url(text: str) -> bool:
    try:
        split = urlsplit(text)
        port = split.port
    except ValueError:
        return False
    invalid = re.search(r"[^\x21-\x7e]|#", text)
    return split.scheme in {"http", "https"} and bool(split.hostname) and port != 0 and not invalid

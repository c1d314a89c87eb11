"""Secret settings: reading one from a file, refusing an empty one, and the texts of each that must not be shown.

Owns the rules for a secret. Which settings are secrets follows from their type, `SecretStr`. Called by
`agents.settings.settings`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from agents.settings.webhook_secret import SECRET_PREFIX

FILE_SUFFIX = "_file"
SHORTEST = 4
_SHORTEST_COMPONENT = 5
_WORD = re.compile("[a-z]{1,15}")
"""A component of a URL that is a plain word, such as `alerts`, is no secret."""
_HOST_NAME = re.compile(r"^(?:[a-z0-9-]+\.)+(?:[a-z]{2,10}|\d{1,3})(?![^:/?])")


def secret_names(fields: Mapping[str, FieldInfo]) -> list[str]:
    """The names of the settings that are secrets."""
    return [name for name, field in fields.items() if _has_secret(field.annotation)]


def _has_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_has_secret(argument) for argument in get_args(annotation))


def read_secret_files(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The values with each `<name>_file` replaced by `<name>`, the content of that file without its final newline.

    Raises `ValueError` with the path, never with the content.
    """
    read = dict(values)
    for name in names:
        path = read.pop(name + FILE_SUFFIX, None)
        if path is None:
            continue
        if read.get(name) is not None:
            raise ValueError(f"{name} and {name}{FILE_SUFFIX} are both set: remove one of them")
        read[name] = _content(name + FILE_SUFFIX, str(path))
    return read


def _content(setting: str, path: str) -> str:
    if not path:
        raise ValueError(f"{setting} is empty: set it to the path of a file, or remove it")
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"{setting}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{setting}: {path} is not a text file in UTF-8") from None


def require_usable(value: Any) -> None:
    """Refuse an empty or very short secret. Raises `ValueError`, without the secret in it."""
    texts = [value] if isinstance(value, SecretStr) else value if isinstance(value, tuple) else []
    secrets = [text.get_secret_value().strip() for text in texts if isinstance(text, SecretStr)]
    if (isinstance(value, tuple) and not texts) or "" in secrets:
        raise ValueError("is empty: set it, or remove the setting")
    if any(len(secret) < SHORTEST for secret in secrets):
        raise ValueError(f"has fewer than {SHORTEST} characters, which anybody can guess: choose a longer secret")


def texts_to_hide(name: str, value: Any) -> Iterator[str]:
    """The texts of a secret setting that must not be shown."""
    for secret in value if isinstance(value, tuple) else [value]:
        text = secret.get_secret_value()
        yield text
        if name == "notify_urls":
            yield from _credentials_in(text)
            yield from _secret_components(re.split(r"[/:@?&=,;#\s]+", _without_host_name(text.partition("://")[2])))
        elif name.endswith("_url"):
            yield from _credentials_in(text)
            yield from _secret_components(urlsplit(text).path.split("/"))
        else:
            yield from (word for each in text.split() for word in (each, each.removeprefix(SECRET_PREFIX)))


def _without_host_name(text: str) -> str:
    """The rest of a receiver's URL, without the name or address of a host; many services have a token in that place."""
    before, is_after_user, after = text.partition("@") if "@" in text.partition("/")[0] else ("", "", text)
    return before + is_after_user + _HOST_NAME.sub("", after, count=1)


def _credentials_in(url: str) -> Iterator[str]:
    """The user, the password and the values of the query."""
    authority, _, query = url.partition("://")[2].partition("?")
    user_info, has_user, _ = authority.partition("/")[0].rpartition("@")
    if has_user:
        user, _, password = user_info.partition(":")
        yield from (user_info, password, unquote(password))
        yield from _secret_components([user])
    values = [value for _, value in parse_qsl(query)] or [query]
    yield from values
    yield from re.split("[&=]", query)


def _secret_components(components: Sequence[str]) -> Iterator[str]:
    for component in components:
        for text in (component, unquote(component)):
            if len(text) >= _SHORTEST_COMPONENT and not _WORD.fullmatch(text):
                yield text

"""Removes secrets from text that is logged, printed or published: from answers, error messages and log lines.

Owns in which forms a secret is recognised, and the redactor of this process. The secrets come from
`agents.settings.secrets`; `agents.settings.settings.load_settings` sets them. Called by the log formatter, the commands
and the sinks.
"""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote, unquote_plus

HIDDEN = "***"
_SHORTEST_FORM = 4
_SHORTEST_BASE64 = 5
_MOST_PASSES = 8
_CREDENTIALS = re.compile(
    r"(?i)(?P<header>\bauthorization[\"']?\s*[:=]\s*[\"']?(?:(?:basic|bearer)\s+)?)[\w.~+/=%-]+"
    r"|(?P<signature>\bv1,)[\w+/=%-]{20,}"
    r"|(?P<url>://)[^/\s@]*@"
)
"""Credentials of any value: in an Authorization header, a webhook signature, the user and password of a URL."""


class Redactor:
    """Replaces secrets, and their encoded forms, with `***`. Immutable."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Recognise each secret as it is, in URL encoding, base64 (inside a longer text too), hex, JSON and HTML."""
        forms = {form for secret in secrets for form in _forms(secret)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def redact(self, text: str) -> str:
        """The text without secrets."""
        text = _CREDENTIALS.sub(_hide_value, text)
        for _ in range(_MOST_PASSES):  # a replacement can complete another secret
            if self._pattern is None or not self._pattern.search(text):
                break
            text = self._pattern.sub(HIDDEN, text)
        return text


def _hide_value(match: re.Match[str]) -> str:
    if match["url"]:
        return f"{match['url']}{HIDDEN}@"
    return (match["header"] or match["signature"]) + HIDDEN


def _forms(secret: str) -> Iterator[str]:
    for plain in {secret, secret.strip(), unquote(secret), unquote_plus(secret)}:
        if len(plain) < _SHORTEST_FORM:
            continue
        encoded = [plain, quote(plain), quote(plain, safe=""), quote_plus(plain), html.escape(plain), repr(plain)[1:-1]]
        encoded += [json.dumps(plain)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1]]
        yield from encoded
        yield from (re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), text) for text in encoded)
        data = plain.encode(errors="surrogateescape")
        yield from (data.hex(), data.hex().upper())
        for text in _in_base64(data):
            yield from (text, text.replace("+", "-").replace("/", "_"), quote(text, safe=""))


def _in_base64(data: bytes) -> Iterator[str]:
    """The characters that a secret has in the base64 of any text that contains it, at each of three alignments."""
    for shift, mixed in enumerate((0, 2, 3)):
        text = b64encode(b"\0" * shift + data).decode().rstrip("=")
        only = text[mixed : len(text) - bool((shift + len(data)) % 3)]
        if len(only) >= _SHORTEST_BASE64:
            yield only


class _Process:
    """The redactor of this process."""

    redactor = Redactor()


def set_secrets(secrets: Iterable[str]) -> None:
    """Set the secrets that this process must not show."""
    _Process.redactor = Redactor(secrets)


def redact(text: str) -> str:
    """The text without the secrets of this process."""
    return _Process.redactor.redact(text)

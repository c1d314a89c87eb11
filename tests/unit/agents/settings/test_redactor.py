"""The redactor: every form of a secret is removed, and plain words stay."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from agents.settings.redactor import HIDDEN, Redactor
from agents.settings.settings import load_settings

SECRET = 'p@ss/w"ö rd+7&'
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote(SECRET, safe="").lower(),
        quote_plus(SECRET),
        json.dumps(SECRET)[1:-1],
        repr(SECRET)[1:-1],
        b64encode(SECRET.encode()).decode(),
        urlsafe_b64encode(SECRET.encode()).decode(),
        SECRET.encode().hex(),
    ],
)
def test_each_form_of_a_secret_is_removed(form: str) -> None:
    assert Redactor([SECRET]).redact(f"before {form} after") == f"before {HIDDEN} after"


@pytest.mark.parametrize("user", ["u", "us", "use", "user"])
def test_a_password_inside_encoded_credentials_is_removed(user: str) -> None:
    pair = b64encode(f"{user}:{SECRET}:x".encode()).decode()
    inner = b64encode(f"{SECRET}".encode()).decode()
    shown = Redactor([SECRET]).redact(f"got {pair}")
    assert HIDDEN in shown
    assert inner not in shown
    assert len(shown) < len(pair)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Basic bWU6c2VjcmV0", "Authorization: Basic ***"),
        ("authorization: bearer abc.def-123", "authorization: bearer ***"),
        ("webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "webhook-signature: v1,***"),
        ("kafka://user:secret@host:9092", "kafka://***@host:9092"),
        ("https://token@host/path", "https://***@host/path"),
        ("no basic problem, v1 is fine", "no basic problem, v1 is fine"),
        ("mail to a@b.example", "mail to a@b.example"),
    ],
)
def test_credentials_of_any_value_are_removed(text: str, expected: str) -> None:
    assert Redactor().redact(text) == expected


def test_a_replacement_does_not_complete_another_secret() -> None:
    assert "ab**" not in Redactor(["ab**", "secret-1"]).redact("absecret-1")


def hidden_of(**settings: Any) -> Redactor:
    return Redactor(load_settings(**settings).hidden_texts())


def test_the_secrets_in_a_url_are_its_password_its_query_and_the_parts_of_its_path() -> None:
    url = "https://me:pa%24%24word@hooks.example/services/T0AB1CD2/B0xyzXYZ99?key=q-7731&x=abcdef"
    redactor = hidden_of(webhook_url=url, webhook_secret=KEY)
    for secret in ("pa%24%24word", "pa$$word", "T0AB1CD2", "B0xyzXYZ99", "q-7731", "abcdef", KEY, KEY[6:]):
        assert redactor.redact(f"<{secret}>") == f"<{HIDDEN}>"
    assert redactor.redact(url) == "https://***@hooks.example/services/***/***?key=***&x=***"
    assert redactor.redact("services of hooks.example") == "services of hooks.example"


def test_plain_words_of_a_path_are_no_secrets() -> None:
    redactor = hidden_of(webhook_url="https://hooks.example/alerts/", alertmanager_url="http://a.example/alertmanager")
    text = "reading health.alerts failed, alertmanager_failed"
    assert redactor.redact(text) == text


def test_all_parts_of_a_receivers_url_are_secrets() -> None:
    redactor = hidden_of(notify_urls="slack://TokenA1/TokenB2/TokenC3 mailto://me:s3cret@mail.example?to=x@y.example")
    for secret in ("TokenA1", "TokenB2", "TokenC3", "s3cret", "x@y.example"):
        assert secret not in redactor.redact(f"failed: {secret}")

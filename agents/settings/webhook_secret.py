"""Signs webhook requests as Standard Webhooks 1.0 defines it (standardwebhooks.com, symmetric signatures).

Owns the format of secrets and the headers. Pure. Called by `agents.sinks.webhook` and by the settings.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence

SECRET_PREFIX = "whsec_"  # noqa: S105 -- the prefix of every secret
_SECRET_BYTES = range(24, 65)


def parse_secret(text: str) -> bytes:
    """The key in `whsec_BASE64`, 24 to 64 bytes. Raises `ValueError`, without the secret in it."""
    try:
        key = b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not text.startswith(SECRET_PREFIX) or len(key) not in _SECRET_BYTES:
        raise ValueError(
            f"expected {SECRET_PREFIX} and the base64 of 24 to 64 random bytes (`openssl rand -base64 32`)"
        )
    return key


def signature(key: bytes, identity: str, timestamp_s: int, body: bytes) -> str:
    """`v1,` and the base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY`."""
    signed = f"{identity}.{timestamp_s}.".encode() + body
    return "v1," + b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def signed_headers(keys: Sequence[bytes], identity: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The three headers, with a signature for each key, so that a receiver can replace its key."""
    return {
        "webhook-id": identity,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(signature(key, identity, timestamp_s, body) for key in keys),
    }

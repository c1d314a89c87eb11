"""Take values and keys out of what other systems put around them: schema registry headers, Connect envelopes, texts.

Must not know rules. Called by `stream.mapping.apply` and whoever reads foreign records.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec

from schemas.foreign_forms import HEADER_BYTES, framing_of, has_header

_JSON = msgspec.json.Decoder()
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ENVELOPE = {"schema", "payload"}


class UnmappedValueError(ValueError):
    """A value that is no JSON; the message says what it is."""


def unwrap(value: bytes) -> Any:
    """Decode a value: JSON, also framed by a schema registry, in a Connect envelope, or as JSON within a text.

    Raises UnmappedValueError.
    """
    framed = has_header(value)
    try:
        content = _decoded((value[HEADER_BYTES:] if framed else value).removeprefix(_BYTE_ORDER_MARK))
        if isinstance(content, str) and content.lstrip()[:1] in {"{", "["}:
            content = _decoded(content.encode())
    except (msgspec.DecodeError, UnicodeError) as error:
        form = framing_of(value)
        behind = " and then no JSON: it is Avro or Protobuf" if framed else ""
        raise UnmappedValueError(str(error) if form is None else f"{form}{behind}") from error
    except RecursionError as error:
        message = "the JSON is nested too deeply"
        raise UnmappedValueError(message) from error
    if isinstance(content, dict) and len(content) == len(_ENVELOPE) and content.keys() == _ENVELOPE:
        return content["payload"]
    return content


def _decoded(value: bytes) -> Any:
    if not value.isascii():
        value.decode()  # the decoder does not check texts that it skips
    return _JSON.decode(value)


def key_text(key: bytes | None) -> str | None:
    """A record's key as an account id: a text, also as JSON in quotes; None if it is no text."""
    if not key:
        return None
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return None
    if text[:1] == '"':
        with suppress(msgspec.DecodeError):
            text = str(_JSON.decode(key))
    return text.strip() or None

"""Make text of foreign records safe for a terminal: control characters and bidi controls become visible escapes.

Owns which characters are escaped, in lines and in JSON; tables are in `agents.process.console`. A name, a reason or an
id can hold any character; printed as it is, it could move the cursor, set the title, or reverse the line.
Called by every command that prints, and by the demo.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

_DELETE = b"\x7f"
_LINES = msgspec.json.Encoder()
_UNSAFE = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters: escape sequences, tabs, line breaks
    "\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # bidi and invisible controls
    "\ud800-\udfff"  # halves of a surrogate pair, which no encoding can write
    "\U000e0000-\U000e007f"  # tags
    "]"
)


def printable(text: str) -> str:
    r"""A text without control characters: an escape character becomes `\x1b`, a line break `\n`."""
    return _UNSAFE.sub(lambda match: _escape(match[0]), text)


def printable_lines(text: str) -> str:
    """Our own text of several lines, each without control characters."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(content: Any) -> str:
    """JSON of the same meaning in which the characters that a terminal acts on are escaped."""
    return _UNSAFE.sub(lambda match: _json_escape(match[0]), msgspec.json.encode(content).decode())


def printable_json_lines(contents: Sequence[Any]) -> str:
    """What `printable_json` returns for each, as lines."""
    lines = _LINES.encode_lines(contents)
    if lines.isascii() and _DELETE not in lines:  # JSON escapes all other control characters of ASCII itself
        return lines.decode()
    return "".join(f"{printable_json(content)}\n" for content in contents)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[index : index + 2].hex()}" for index in range(0, len(units), 2))

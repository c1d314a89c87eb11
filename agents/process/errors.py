"""The text of an error for logs and messages: the name of its class and what it says, on one line.

Called wherever an error of a client or the operating system is shown.
"""

from __future__ import annotations

import re

_NUMBER = re.compile(r"^\[Error -?\d+\] ")
"""What Kafka's clients write before the name of an error."""


def error_text(error: BaseException) -> str:
    """`KafkaTimeoutError: no answer`. The name of the class is there once: some errors have it in their own text."""
    name = type(error).__name__
    text = _os_text(error) if isinstance(error, OSError) and error.strerror else str(error)
    text = _NUMBER.sub("", " ".join(text.split()))
    if name in text:
        return text
    return f"{name}: {text}" if text else name


def _os_text(error: OSError) -> str:
    """An error of the operating system without its number."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)

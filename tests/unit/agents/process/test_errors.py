"""The text of an error: the name of its class once, and its message."""

from __future__ import annotations

import pytest
from aiokafka.errors import KafkaTimeoutError as AioTimeoutError
from aiokafka.errors import SaslAuthenticationFailed
from kafka.errors import KafkaConnectionError, KafkaTimeoutError, UnknownTopicOrPartitionError

from agents.process.errors import error_text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KafkaTimeoutError("no answer"), "KafkaTimeoutError: no answer"),
        (AioTimeoutError(), "KafkaTimeoutError"),
        (KafkaConnectionError("refused"), "KafkaConnectionError: refused"),
        (UnknownTopicOrPartitionError(), "UnknownTopicOrPartitionError"),
        (TimeoutError(), "TimeoutError"),
        (ValueError("two\n lines"), "ValueError: two lines"),
        (SaslAuthenticationFailed("for now"), "SaslAuthenticationFailed: for now"),
        (OSError(2, "No such file"), "FileNotFoundError: No such file"),
        (FileNotFoundError(2, "No such file", "/x/y"), "FileNotFoundError: /x/y: No such file"),
    ],
)
def test_an_error_is_named_once(error: Exception, text: str) -> None:
    assert error_text(error) == text

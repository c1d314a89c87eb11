"""Logging as JSON lines on standard error, for our own code and for libraries, without secrets.

Owns the format. Every text of a line goes through `agents.settings.redactor`. Called once by each command that runs
until it is stopped.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

import structlog

from agents.settings.redactor import redact

_SERVICE_PREFIX = "[^"
"""The first characters of the lines that Faust's services log about starting and stopping."""
_OURS = frozenset({"level", "timestamp"})


def _without_secrets(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The event without the secrets of this process. Level and time are ours and stay as they are."""
    return {name: value if name in _OURS else _redacted(value) for name, value in event.items()}


def _redacted(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {redact(str(name)): _redacted(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(each) for each in value]
    return redact(value if isinstance(value, str) else repr(value))


def configure_logging(level: str) -> None:
    """Log everything from `level` up as JSON lines on standard error; libraries from warning up."""
    number = getattr(logging, level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without_secrets,
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        )
    )
    handler.addFilter(lambda record: record.levelno > logging.INFO or not str(record.msg).startswith(_SERVICE_PREFIX))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.INFO))
    for name in ("faust", "mode", "aiokafka", "kafka", "asyncio", "aiohttp"):
        logging.getLogger(name).setLevel(max(number, logging.WARNING) if number > logging.DEBUG else logging.DEBUG)

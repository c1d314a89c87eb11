"""Logging as JSON lines on standard error, for our own code and for libraries.

Owns the format. Called once by each command that runs until it is stopped.
"""

from __future__ import annotations

import logging
import sys

import structlog

_SERVICE_PREFIX = "[^"
"""The first characters of the lines that Faust's services log about starting and stopping."""


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

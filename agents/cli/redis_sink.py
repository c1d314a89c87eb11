"""The command `vitals sink redis`.

Owns its options; the work is `agents.sinks.redis`. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- a command imports what it needs, so that `vitals --help` is instant

from __future__ import annotations

from typing import Annotated

import typer

from agents.cli.base import FAILED, MISUSED, BrokerUrl, SettingsFile, fail, settings_of


def redis(
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    once: Annotated[bool, typer.Option("--once", help="Bring Redis up to date, then exit.")] = False,
) -> None:
    """Keep the latest scores in Redis and publish changes to its channels."""
    from agents.kafka.client import BrokerError
    from agents.process.logs import configure_logging
    from agents.settings.settings import SettingsError
    from agents.sinks.redis.process import RedisRefusedError, run_redis_sink

    loaded = settings_of(settings, broker=broker)
    configure_logging(loaded.log_level)
    try:
        run_redis_sink(loaded, once=once)
    except (BrokerError, RedisRefusedError) as error:
        fail(FAILED, str(error))
    except SettingsError as error:
        fail(MISUSED, *error.problems)

"""The commands `vitals sink alertmanager`, `webhook` and so on, each a process that feeds another system.

Owns their options; the work is in `agents.sinks`. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agents.cli.base import BrokerUrl, SettingsFile, errors_reported, settings_of

if TYPE_CHECKING:
    from agents.settings.settings import Settings
    from agents.sinks.run import Build

sinks = typer.Typer(help="Deliver scores and alerts to other systems.", no_args_is_help=True)


@sinks.command()
def redis(
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    once: Annotated[bool, typer.Option("--once", help="Bring Redis up to date, then exit.")] = False,
) -> None:
    """Keep the latest scores in Redis and publish changes to its channels."""
    from agents.process.logs import configure_logging
    from agents.sinks.redis.process import RedisRefusedError, run_redis_sink

    loaded = settings_of(settings, broker=broker)
    configure_logging(loaded.log_level)
    with errors_reported(RedisRefusedError):
        run_redis_sink(loaded, once=once)


@sinks.command()
def alertmanager(settings: SettingsFile = None, broker: BrokerUrl = None) -> None:
    """Send alerts to an Alertmanager; repeat firing alerts at an interval."""
    from agents.sinks.run import build_alertmanager

    loaded = settings_of(settings, broker=broker)
    _run(loaded, "alertmanager", build_alertmanager, loaded.alertmanager_port)


@sinks.command()
def webhook(settings: SettingsFile = None, broker: BrokerUrl = None) -> None:
    """Send every alert record to a URL as a signed HTTP POST (Standard Webhooks)."""
    from agents.sinks.run import build_webhook

    loaded = settings_of(settings, broker=broker)
    _run(loaded, "webhook", build_webhook, loaded.webhook_port)


@sinks.command()
def notify(settings: SettingsFile = None, broker: BrokerUrl = None) -> None:
    """Send alerts to people by chat or e-mail (apprise URLs)."""
    from agents.sinks.run import build_notify

    loaded = settings_of(settings, broker=broker)
    _run(loaded, "notify", build_notify, loaded.notify_port)


@sinks.command("plugin")
def plugin_sink(
    name: Annotated[str, typer.Argument(help="Name of the entry point in the group account_vitals.sinks.")],
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
) -> None:
    """Deliver alerts by the sink of another installed package."""
    from agents.sinks.run import plugin_builder

    loaded = settings_of(settings, broker=broker)
    _run(loaded, f"plugin-{name}", plugin_builder(name), loaded.plugin_port, "plugin")


def _run(settings: Settings, name: str, build: Build, port: int, role: str | None = None) -> None:
    from agents.process.logs import configure_logging
    from agents.sinks.run import run_sink

    configure_logging(settings.log_level)
    with errors_reported():
        run_sink(settings, name, build, port, role)

"""The commands `vitals sink alertmanager`, `webhook` and `notify`: each passes alerts on to one kind of receiver.

Owns their options and exit statuses; the work is in `agents.sinks`. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- a command imports what it needs, so that `vitals --help` is instant

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.cli.base import FAILED, MISUSED, BrokerUrl, SettingsFile, fail, settings_of

if TYPE_CHECKING:
    from agents.settings.settings import Settings
    from agents.sinks.run import Build


def alertmanager(settings: SettingsFile = None, broker: BrokerUrl = None) -> None:
    """Send alerts to an Alertmanager; repeat firing alerts at an interval."""
    from agents.sinks.run import build_alertmanager

    loaded = settings_of(settings, broker=broker)
    _run(loaded, "alertmanager", build_alertmanager, loaded.alertmanager_port)


def webhook(settings: SettingsFile = None, broker: BrokerUrl = None) -> None:
    """Send every alert record to a URL as a signed HTTP POST (Standard Webhooks)."""
    from agents.sinks.run import build_webhook

    loaded = settings_of(settings, broker=broker)
    _run(loaded, "webhook", build_webhook, loaded.webhook_port)


def notify(settings: SettingsFile = None, broker: BrokerUrl = None) -> None:
    """Send alerts to people by chat or e-mail (apprise URLs)."""
    from agents.sinks.run import build_notify

    loaded = settings_of(settings, broker=broker)
    _run(loaded, "notify", build_notify, loaded.notify_port)


def _run(settings: Settings, name: str, build: Build, port: int) -> None:
    from agents.kafka.client import BrokerError
    from agents.process.logs import configure_logging
    from agents.settings.settings import SettingsError
    from agents.sinks.run import run_sink

    configure_logging(settings.log_level)
    try:
        run_sink(settings, name, build, port)
    except SettingsError as error:
        fail(MISUSED, *error.problems)
    except BrokerError as error:
        fail(FAILED, str(error))

"""Runs one alert sink: builds it from the settings and feeds it alerts until SIGTERM or SIGINT.

Owns the wiring and the signals. Called by `agents.cli.sinks`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

import structlog
from kafka.errors import KafkaError
from pydantic import SecretStr

from agents.kafka.client import BrokerError, producer_of
from agents.kafka.rights_check import require_rights
from agents.process.errors import error_text
from agents.process.metrics_server import metrics_server
from agents.process.plugins import SINKS, PluginError, plugin
from agents.settings.address_guard import Guard
from agents.settings.settings import Settings, SettingsError
from agents.settings.webhook_secret import parse_secret
from agents.sinks.alert_consumer import AlertConsumer
from agents.sinks.alertmanager import AlertmanagerSink
from agents.sinks.dead_letters import DeadLetterWriter
from agents.sinks.http_post import Poster, allow_all, refusal_of
from agents.sinks.metrics import SinkTelemetry
from agents.sinks.plugin import PluginSink, made_sink
from agents.sinks.sink import Sink
from agents.sinks.webhook import WebhookSink
from schemas.topics import ALERTS, LARGEST_RECORD, WEBHOOK_DLQ

_ALERTS_PATH = "/api/v2/alerts"
_BLOCK_MS = 10_000
"""How long a write to a producer with full buffers, and at start the look-up of a topic, may block."""

log = structlog.get_logger()
Build = Callable[[Settings, SinkTelemetry], Sink]


def _needed(value: SecretStr | None, name: str, example: str) -> str:
    if value is None:
        raise SettingsError([f"{name} is not set: set VITALS_{name.upper()}, such as {example}"])
    return value.get_secret_value()


def build_alertmanager(settings: Settings, telemetry: SinkTelemetry) -> Sink:
    """The Alertmanager sink. Raises `SettingsError`."""
    base = _needed(settings.alertmanager_url, "alertmanager_url", "http://127.0.0.1:9093")
    url, poster = base.rstrip("/") + _ALERTS_PATH, Poster(allow_all, settings.sink_timeout_s)
    return AlertmanagerSink(
        lambda body: poster.post(url, body, {}),
        telemetry,
        resend_s=settings.alertmanager_resend_s,
        longest_pause_s=min(settings.sink_longest_pause_s, settings.alertmanager_resend_s),
        board_url=settings.board_url,
    )


def build_webhook(settings: Settings, telemetry: SinkTelemetry) -> Sink:
    """The webhook sink. Raises `SettingsError`, also for a host that is not allowed, and `BrokerError`."""
    url = _needed(settings.webhook_url, "webhook_url", "https://example.com/alerts")
    secrets = _needed(settings.webhook_secret, "webhook_secret", "whsec_$(openssl rand -base64 32)")
    refusal = Guard(settings.webhook_allow_private).refusal
    if why := refusal_of(url, refusal):
        raise SettingsError([f"webhook_url: {why}; to post to it nevertheless, set webhook_allow_private"])
    poster = Poster(refusal, settings.sink_timeout_s)
    require_rights(settings, "webhook")
    producer = producer_of(settings, max_request_size=LARGEST_RECORD, max_block_ms=_BLOCK_MS)
    try:
        producer.partitions_for(settings.topic(WEBHOOK_DLQ))
    except KafkaError as error:
        msg = (
            f"the broker has no topic {settings.topic(WEBHOOK_DLQ)} ({error}); create it with `vitals topics --create`"
        )
        raise BrokerError(msg) from error
    return WebhookSink(
        lambda body, headers: poster.post(url, body, headers),
        [parse_secret(secret) for secret in secrets.split()],
        DeadLetterWriter(producer, telemetry, settings.topic_prefix),
        telemetry,
        give_up_s=settings.sink_give_up_s,
        longest_pause_s=settings.sink_longest_pause_s,
        board_url=settings.board_url,
    )


def build_notify(settings: Settings, telemetry: SinkTelemetry) -> Sink:
    """The notify sink. Raises `SettingsError`."""
    from agents.sinks.notify import NotifySink  # noqa: PLC0415 -- apprise takes long to import
    from agents.sinks.receiver import Receiver  # noqa: PLC0415 -- as above

    urls = [url.get_secret_value() for url in settings.notify_urls or ()]
    if not urls:
        raise SettingsError(["notify_urls is not set: set VITALS_NOTIFY_URLS, URLs of apprise separated by spaces"])
    try:
        refusal = Guard(settings.notify_allow_private).refusal
        receivers = [Receiver(number, url, refusal) for number, url in enumerate(urls, start=1)]
    except ValueError as error:
        raise SettingsError([f"notify_urls: {error}"]) from None
    return NotifySink(
        receivers,
        telemetry,
        severity=settings.notify_severity,
        segments=settings.notify_segments or (),
        give_up_s=settings.sink_give_up_s,
        longest_pause_s=settings.sink_longest_pause_s,
        board_url=settings.board_url,
    )


def plugin_builder(name: str) -> Build:
    """What builds the sink that another package installs under this name; building raises `SettingsError`."""

    def build(settings: Settings, telemetry: SinkTelemetry) -> Sink:
        try:
            alert_sink = made_sink(plugin(SINKS, name), name)
        except PluginError as error:
            raise SettingsError([str(error)]) from error
        except Exception as error:
            raise SettingsError([f"alert sink {name!r} does not start: {error_text(error)}"]) from error
        limits = {"give_up_s": settings.sink_give_up_s, "longest_pause_s": settings.sink_longest_pause_s}
        return PluginSink(name, alert_sink, telemetry, **limits)

    return build


def run_sink(settings: Settings, name: str, build: Build, port: int, role: str | None = None) -> None:
    """Run until SIGTERM or SIGINT. `role` (default: the name) has the rights and the setting of the port.

    Raises `SettingsError`, and `BrokerError` when it cannot start.
    """
    role = role or name
    telemetry = SinkTelemetry(name)
    sink = build(settings, telemetry)
    with metrics_server(telemetry.registry, settings.web_host, port, f"{role}_port") as listening:
        require_rights(settings, role)
        consumer = AlertConsumer(settings, name, sink, telemetry)
        signal.signal(signal.SIGTERM, consumer.stop)
        signal.signal(signal.SIGINT, consumer.stop)
        log.info("starting", sink=name, topic=settings.topic(ALERTS), metrics_port=listening)
        consumer.run()
    log.info("stopped", sink=name)

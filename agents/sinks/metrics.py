"""The Prometheus metrics of an alert sink, all with a label `sink` and none with an account id.

Owns the registry. Updated by `agents.sinks.alert_consumer` and the sinks, served by `agents.sinks.run`.
"""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge


class SinkTelemetry:
    """The metrics of one sink."""

    def __init__(self, sink: str) -> None:
        """Register all in a registry of its own; counters start at 0, so that their first increase is visible."""
        registry = self.registry = CollectorRegistry()

        def counter(name: str, text: str) -> Counter:
            return Counter(f"vitals_sink_{name}", text, ("sink",), registry=registry).labels(sink)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"vitals_sink_{name}", text, ("sink",), registry=registry).labels(sink)

        self.delivered = counter("delivered_total", "Alert records that a receiver has accepted.")
        self.failed = counter("failed_total", "Failed deliveries that are retried.")
        self.dead_letters = counter("dead_letters_total", "Alert records that are not delivered and not retried.")
        self.open_alerts = gauge("open_alerts", "Firing alerts, without those that have been muted since they started.")
        self.waiting = gauge("waiting_records", "Alert records read and not yet delivered or given up.")
        self.disabled = gauge("disabled", "1 after the receiver has answered 410 Gone, else 0.")
        self._last_success = gauge(
            "last_success_timestamp_seconds", "Time at which a receiver last accepted something."
        )

    def succeeded(self, records: int) -> None:
        """A receiver has accepted so many new records; 0: only repetitions."""
        self.delivered.inc(records)
        self._last_success.set(time.time())

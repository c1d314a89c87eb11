"""The Prometheus metrics of `vitals rollup`, `vitals peers` and `vitals rows`, all with a label `process`.

Owns the names and the registry. Updated by `agents.derived.loop` and `agents.derived.rows`.
"""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge


class DerivedTelemetry:
    """The metrics of one process."""

    def __init__(self, process: str) -> None:
        """Register all in a registry of its own; counters start at 0, so that their first increase is visible."""
        registry = self.registry = CollectorRegistry()

        def counter(name: str, text: str) -> Counter:
            return Counter(f"vitals_derived_{name}", text, ("process",), registry=registry).labels(process)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"vitals_derived_{name}", text, ("process",), registry=registry).labels(process)

        self.read = counter("read_total", "Records read: of health.scores, by `vitals rows` of health.score-changes.")
        self.unreadable = counter("unreadable_total", "Records that could not be read; skipped.")
        self.older = counter(
            "older_total", "Records of health.scores with a lower revision than the account's record before; ignored."
        )
        self._published = counter("published_total", "Records published to the derived topic.")
        self.caught_up = gauge("caught_up", "1 once the records present at start are read, else 0.")
        self._last_published = gauge(
            "last_published_timestamp_seconds", "Time at which records were last published to the derived topic."
        )

    def published_now(self, records: int) -> None:
        """Count records that were published just now."""
        self._published.inc(records)
        self._last_published.set(time.time())

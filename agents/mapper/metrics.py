"""The Prometheus metrics of `vitals mapper`.

Owns the names and the registry. Updated by `agents.mapper.mapper`.
"""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge


class MapperTelemetry:
    """The metrics of one process."""

    def __init__(self) -> None:
        """Register all in a registry of its own."""
        registry = self.registry = CollectorRegistry()
        self.records = Counter(
            "vitals_mapper_records_total",
            "Records read, by topic and outcome: mapped, skipped, or the reason of a dead letter.",
            ("topic", "outcome"),
            registry=registry,
        )
        self.events = Counter(
            "vitals_mapper_events_total", "Events written to input topics.", ("source",), registry=registry
        )
        self._progress = Gauge(
            "vitals_mapper_last_progress_timestamp_seconds",
            "Time at which offsets were last committed.",
            registry=registry,
        )

    def progressed(self) -> None:
        """Note that everything read so far is written and committed."""
        self._progress.set(time.time())

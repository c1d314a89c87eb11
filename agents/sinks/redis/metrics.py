"""What `vitals sink redis` shows to Prometheus.

Owns the names and their registry. No label ever holds an account id. Written to by `agents.sinks.redis.process`.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from schemas.topics import SCORES

OUTCOMES = ("written", "deleted", "repeated", "stale", "superseded", "rejected")
REFUSALS = ("away", "slow", "full", "refused")


class RedisTelemetry:
    """The metrics of one sink."""

    def __init__(self) -> None:
        """Register everything in a registry of its own."""
        registry = self.registry = CollectorRegistry()
        self.records = Counter(
            "vitals_redis_records_total",
            "Records of health.scores by outcome: written, deleted, repeated, stale, superseded, rejected.",
            ["outcome"],
            registry=registry,
        )
        self.rebuilds = Counter(
            "vitals_redis_rebuilds_total", "Rebuilds of the cache from the start of the topic.", registry=registry
        )
        self.errors = Counter(
            "vitals_redis_errors_total",
            "Failed requests to Redis by kind: away, slow, full, refused.",
            ["kind"],
            registry=registry,
        )
        self.connected = Gauge("vitals_redis_connected", "1 while Redis accepts writes, else 0.", registry=registry)
        self.lag = Gauge(
            "vitals_redis_lag_records",
            f"Records of {SCORES} that are not in Redis yet.",
            ["partition"],
            registry=registry,
        )
        # A counter that begins with its first count never shows an increase: what alerts watch begins at 0.
        for outcome in OUTCOMES:
            self.records.labels(outcome)
        for kind in REFUSALS:
            self.errors.labels(kind)

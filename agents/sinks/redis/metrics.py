"""The Prometheus metrics of `vitals sink redis`; no label holds an account id.

Owns the names and the registry. Updated by `agents.sinks.redis.process`.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from schemas.topics import SCORES

OUTCOMES = ("written", "deleted", "repeated", "stale", "superseded", "rejected")
ERROR_KINDS = ("away", "slow", "full", "refused")


class RedisTelemetry:
    """The metrics of one sink."""

    def __init__(self) -> None:
        """Register all in a registry of its own."""
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
        # A counter that appears with its first count shows no increase: those that alert rules watch start at 0.
        for outcome in OUTCOMES:
            self.records.labels(outcome)
        for kind in ERROR_KINDS:
            self.errors.labels(kind)

"""Metrics: every number a worker shows to Prometheus, under the contract's names.

Owns the registry. No label ever has an account id as its value. Written by the worker's parts, served by
`agents.worker.monitoring.web`.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from agents.process.version import package_version
from schemas.codecs import REASONS
from schemas.sources import Sources

LATENCY_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)


class Telemetry:
    """The metrics of one worker."""

    def __init__(self, sources: Sources) -> None:
        """Register everything in a registry of its own; `sources` are those of the worker."""
        # long because: one statement for each metric
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, descriptors and start time of the process

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"vitals_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"vitals_{name}", text, labels, registry=registry)

        self.events = counter(
            "events_total",
            "Input records by outcome: applied, replayed, duplicate, late, rejected, forwarded.",
            "topic",
            "outcome",
        )
        self.removed = counter(
            "removed_records_total",
            "Input records that the broker removed (retention) before a worker read them.",
            "topic",
        )
        self.settled = gauge(
            "events_settled",
            "Input records by final outcome, each record once, kept across restarts.",
            "topic",
            "outcome",
        )
        self.latency = Histogram(
            "vitals_event_latency_seconds",
            "Time from the append of an input record to the publishing of the score that it changed.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.lag = gauge("lag_records", "Input records on the broker that are not applied yet.", "topic", "partition")
        self.watermark = gauge("watermark_timestamp_seconds", "Largest event time applied of a topic.", "topic")
        self.accounts = gauge("accounts", "Accounts by band.", "score", "band")
        self.account_states = gauge("account_states", "Accounts by status: active, new, no-data, ended.", "state")
        self.shadow_accounts = gauge("shadow_accounts", "Accounts by band under the shadow policy.", "score", "band")
        self.changes = counter("score_changes_total", "Score changes published.", "score", "cause")
        self.alerts = counter("alerts_total", "Alerts published.", "rule", "status")
        self.flaps = counter(
            "alert_flaps_total", "Alerts that fired again less than a day after they were resolved.", "rule"
        )
        self.stalled = gauge(
            "source_stalled", "1 while a source is idle for longer than stall_after, else 0.", "topic", "partition"
        )
        self.dead_letters = counter(
            "dead_letters_total", "Input records written to a dead-letter topic.", "topic", "reason"
        )
        self.recognised = counter(
            "recognised_records_total",
            "Input records in another form that were read: cloudevent, segment, unwrapped, converted.",
            "topic",
            "form",
        )
        self.unknown_fields = counter(
            "unknown_fields_total",
            "Records with a field that nothing reads, of those looked at: one a second and topic at most.",
            "topic",
            "field",
        )
        self.state_rows = gauge("state_rows", "Accounts in the state of this worker.")
        self.state_bytes = gauge("state_bytes", "Memory used by the state.")
        self.things_full = gauge("things_full_accounts", "Accounts with as many events of things as are kept.")
        self.dedup_horizon = gauge(
            "dedup_horizon_timestamp_seconds",
            "Record time from which on every event id of a topic is remembered.",
            "topic",
        )
        self.peers = gauge(
            "peers_timestamp_seconds", "Midnight of the peer table in use; absent without one.", "partition"
        )
        self.flush_seconds = Histogram(
            "vitals_flush_seconds", "Duration of a commit: outputs, changelog, offsets.", registry=registry
        )
        self.flush_records = counter("flush_records_total", "Records written and acknowledged by the broker.")
        self.send_errors = counter("send_errors_total", "Writes that the broker refused; each is retried.")
        self.restore_remaining = gauge(
            "restore_records_remaining", "Changelog records that are still to be read in a restore."
        )
        self.standby_lag = gauge(
            "standby_lag_records", "Changelog records on the broker that a standby has not read yet.", "partition"
        )
        self.standby_rows = gauge("standby_rows", "Accounts of partitions that this worker is a standby of.")
        self.ready = gauge("ready", "1 while /readyz returns 200, else 0.")
        self.last_progress = gauge(
            "last_progress_timestamp_seconds", "Time at which the worker last applied or committed something."
        )
        # A counter that appears with its first count never shows an increase: those that alerts watch begin at 0.
        for topic in sources.topics:
            self.removed.labels(topic)
        for topic in sources.of_topics:
            for reason in REASONS:
                self.dead_letters.labels(topic, reason)
        build = gauge("build_info", "Version and policy of this worker; the value is 1.", "version", "policy")
        self._build = build

    def describe(self, policy: str) -> None:
        """Set the version and the policy that run."""
        self._build.labels(package_version(), policy).set(1)

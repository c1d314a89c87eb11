"""Metrics of a board for Prometheus.

Owns their names. No label holds an account id. Called by `agents.board.web.app`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agents.board.state.board import Board


class BoardMetrics(Collector):
    """Collects the metrics of a board."""

    def __init__(self, board: Board, sign_ins: Mapping[str, int]) -> None:
        """Register in a registry of its own. `sign_ins`: how many tokens were tried, by outcome."""
        self._board, self._sign_ins = board, sign_ins
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """The present value of every metric."""
        board = self._board
        yield GaugeMetricFamily(
            "vitals_board_ready", "1 once the board has read all topics, else 0.", value=float(board.ready)
        )
        yield GaugeMetricFamily(
            "vitals_board_accounts", "Accounts in the board's memory.", value=len(board.state.accounts)
        )
        yield GaugeMetricFamily("vitals_board_clients", "Open event streams.", value=board.streams.clients)
        yield CounterMetricFamily(
            "vitals_board_resets", "Streams that could not be resumed and were reset.", value=board.journal.resets
        )
        yield CounterMetricFamily(
            "vitals_board_older",
            "Records of health.scores with a lower revision than the account's record before; ignored.",
            value=board.state.older,
        )
        sign_ins = CounterMetricFamily("vitals_board_sign_ins", "Tokens that clients tried.", labels=["outcome"])
        for outcome, count in self._sign_ins.items():
            sign_ins.add_metric([outcome], count)
        yield sign_ins
        behind = GaugeMetricFamily(
            "vitals_board_behind_records", "Records that the board has not read yet.", labels=["topic"]
        )
        records = CounterMetricFamily("vitals_board_records", "Records read.", labels=["topic"])
        unreadable = CounterMetricFamily(
            "vitals_board_unreadable", "Records that could not be decoded.", labels=["topic"]
        )
        for topic, progress in board.progress.items():
            behind.add_metric([topic], progress.behind)
            records.add_metric([topic], board.records[topic])
            unreadable.add_metric([topic], board.state.unreadable[topic])
        yield from (behind, records, unreadable)

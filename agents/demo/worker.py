"""Run the demo's worker: the real `vitals worker` in a process of its own.

Starts, stops and kills it, and reads its event counts from its metrics. Called by `agents.demo.run` and
`agents.demo.session`.
"""

from __future__ import annotations

import http.client
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from agents.demo.processes import Child

COMMAND = (sys.executable, "-m", "account_vitals", "worker")
HTTP_PATIENCE_S = 2.0
SETTLED = "vitals_events_settled"


class DemoWorker:
    """Runs `vitals worker` with `environment`, which sets its web port to `web_port`; writes its log to `log`."""

    def __init__(self, environment: Mapping[str, str], web_port: int, log: Path, prefix: str = "") -> None:
        self.kills = 0
        self._environment = environment
        self._port = web_port
        self._log, self._prefix = log, prefix
        self._child: Child | None = None

    @property
    def exit_code(self) -> int | None:
        """None while it runs and before its start."""
        return None if self._child is None else self._child.exit_code

    def start(self) -> None:
        """Start or restart it."""
        self._child = Child(COMMAND, self._log, self._environment)

    def crash(self) -> None:
        """Kill it with SIGKILL."""
        if self._child is not None:
            self._child.kill()
            self.kills += 1

    def stop(self, patience_s: float) -> None:
        """Stop it with SIGTERM, and with SIGKILL if it is still running after `patience_s` seconds."""
        if self._child is not None:
            self._child.stop(signal.SIGTERM, patience_s)

    def last_lines(self) -> str:
        """The last lines of its log."""
        return "" if self._child is None else self._child.last_lines()

    def is_ready(self) -> bool:
        """Whether `/readyz` answers 200."""
        status, _ = self._get("/readyz")
        return status == http.client.OK

    def settled(self, topics: frozenset[str]) -> Mapping[str, int] | None:
        """Settled events of those topics by outcome, across restarts; None if the worker does not answer."""
        status, text = self._get("/metrics")
        if status != http.client.OK:
            return None
        outcomes: Counter[str] = Counter()
        for family in text_string_to_metric_families(text):
            if family.name == SETTLED:
                for sample in family.samples:
                    if sample.labels["topic"].removeprefix(self._prefix) in topics:
                        outcomes[sample.labels["outcome"]] += int(sample.value)
        return outcomes

    def _get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=HTTP_PATIENCE_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

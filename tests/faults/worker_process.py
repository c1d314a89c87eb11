"""Runs a real worker in a process of its own, and reads its metrics and health.

Owns the process, its settings and the reading of its metrics. Must not know what is tested. Called by
`tests.faults.deployment`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from tests.broker.child import ChildProcess
from tests.broker.jars import tool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[2]
WORKER = ("-m", "agents", "worker")

_ANSWERS_WITHIN_S = 20.0  # on a machine whose cores are all busy
_STOPS_WITHIN_S = 30.0  # as long as Kubernetes waits by default

Samples = dict[str, dict[tuple[str, ...], float]]


def clean_environment(settings: Mapping[str, object]) -> dict[str, str]:
    """Return this process' environment with only these settings of the product."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VITALS_")}
    return {**inherited, **{f"VITALS_{name.upper()}": str(value) for name, value in settings.items()}}


def wrong_clock(offset: str) -> dict[str, str]:
    """Return variables that shift a process' wall clock by an offset such as `+1h`; timers go on as they do."""
    # The wrapper itself would stand between us and the process that we want to kill: only its variables are taken.
    shown = subprocess.run(
        [tool("faketime"), "-f", offset, tool("env")], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    variables = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    return {"LD_PRELOAD": variables["LD_PRELOAD"], "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


class WorkerProcess:
    """One worker, running since it was made."""

    def __init__(
        self,
        settings: Mapping[str, object],
        *,
        web_port: int,
        log: Path,
        entry: Sequence[str] = WORKER,
        variables: Mapping[str, str] | None = None,
        code: Path = ROOT,
    ) -> None:
        """Start it: the interpreter runs `entry` in the folder `code`. `variables` are added to its environment."""
        self.web_port = web_port
        self._child = ChildProcess(
            [sys.executable, *entry],
            log=log,
            env={**clean_environment({**settings, "web_port": web_port}), **(variables or {})},
            cwd=code,
        )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._child.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._child.poll() is None

    def wait(self, timeout_s: float) -> int | None:
        """Return the exit status, or None when it runs on for that long."""
        return self._child.wait(timeout_s)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._child.kill()

    def stop(self) -> int:
        """Ask it to end, and return its exit status; -9 when it has not within 30 s."""
        return self._child.terminate(_STOPS_WITHIN_S)

    def interrupt(self) -> None:
        """Ask it to end, and do not wait."""
        self._child.send_signal(signal.SIGTERM)

    def log_text(self) -> str:
        """Return everything it and earlier workers with the same log have logged."""
        return self._child.log.read_text("utf-8", "replace")

    def last_words(self) -> str:
        """Return the end of its log, for error messages."""
        return self._child.log_tail()

    def ask(self, path: str) -> tuple[int, str] | None:
        """Return status and body of an answer of its web server, or None when there is no answer."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.web_port}{path}", timeout=_ANSWERS_WITHIN_S
            ) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return None

    def samples(self) -> Samples:
        """Return its metrics: name -> values of the labels, sorted by label -> value. Empty without an answer."""
        answer = self.ask("/metrics")
        samples: Samples = {}
        if answer is None:
            return samples
        for family in text_string_to_metric_families(answer[1]):
            for sample in family.samples:
                labels = tuple(value for _, value in sorted(sample.labels.items()))
                samples.setdefault(sample.name, {})[labels] = sample.value
        return samples

    def is_ready(self) -> bool:
        """Whether it reports that it is ready."""
        answer = self.ask("/readyz")
        return answer is not None and answer[0] == 200

    def settled(self) -> Counter[tuple[str, str]]:
        """Return how many records it has settled, by (topic, outcome)."""
        return Counter(
            {(topic, outcome): int(count) for (outcome, topic), count in self.samples().get(SETTLED, {}).items()}
        )


SETTLED = "vitals_events_settled"
LAG = "vitals_lag_records"

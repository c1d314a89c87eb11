"""What an engine is to the measurements: how it is started, where it publishes, how progress and scores are read.

Owns the interface. Must not know how speed is measured. Implemented in `engines` and `rivals.commands`.
An engine gets a consumer group of its own for every run, so that it starts from nothing.
"""

from __future__ import annotations

import json
import os
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.progress import Progress, read_progress
from tests.broker.child import ChildProcess
from tests.broker.jars import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kafka import KafkaAdminClient

    from tests.broker.kafka_server import KafkaServer


@dataclass(frozen=True)
class Run:
    """One start of one engine."""

    kafka: KafkaServer
    group: str
    input_topic: str
    folder: Path  # for logs and whatever the engine keeps
    topics: tuple[str, ...]  # all that is read, the input topic too

    @property
    def log(self) -> Path:
        """What the engine printed, stdout and stderr."""
        return self.folder / f"{self.group}.log"


class Engine(ABC):
    """A program that reads usage events and publishes scores."""

    name: str  # its key in the JSON line
    label: str  # its row in the table
    publishes = True
    share: float = 1.0
    """Which share of the events it reads, so that slow engines end in time."""
    limit: int = sys.maxsize
    """The most events it reads; fewer than a round are the beginning of it."""
    settle_s: float = 0.0
    """How long after the last event it may still publish; this time is not measured."""
    timers = True
    """Whether it scores accounts that have no events. Without, an account is as its own last event left it."""

    @abstractmethod
    def command(self, run: Run) -> list[str]:
        """The command line."""

    def environment(self, run: Run) -> Mapping[str, str]:  # noqa: ARG002  an engine may need what the run says
        """Variables beside the ones of this process."""
        return {}

    def scores_topic(self, run: Run) -> str:
        """The topic with the scores, created before the start."""
        return f"{run.group}-scores"

    def changes_topic(self, run: Run) -> str:
        """The topic with one record for every change, to count them."""
        return self.scores_topic(run)

    def alerts_topic(self) -> str | None:
        """The topic of alerts, of an engine that has them."""
        return None

    def changelog_topic(self, run: Run) -> str:
        """The topic that the engine restores its accounts from."""
        return f"{run.group}-accounts-changelog"

    @abstractmethod
    def read_score(self, value: bytes) -> float:
        """The score in one published record."""

    def progress(self, admin: KafkaAdminClient, run: Run) -> Progress:
        """How far it is, seen from outside: by default, what its consumer group has committed."""
        return read_progress(admin, run.group, run.topics)

    def start(self, run: Run) -> ChildProcess:
        """Start the process; its stdout and stderr go to `<folder>/<group>.log`."""
        return ChildProcess(
            self.command(run),
            log=run.log,
            env={**os.environ, **self.environment(run)},
            cwd=REPOSITORY,
        )


def log_events(run: Run, event: str) -> list[dict[str, object]]:
    """The whole JSON lines of a run's log whose `event` is this one."""
    text = run.log.read_text("utf-8", "replace") if run.log.exists() else ""
    lines = [line[line.index("{") :] for line in text.splitlines(keepends=True) if "{" in line and line.endswith("\n")]
    events = [json.loads(line) for line in lines if f'"{event}"' in line]
    return [fields for fields in events if fields.get("event") == event]

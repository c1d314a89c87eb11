"""Creates the topics of our worker by its own command, as an operator does. Called by the three measurements."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.bench.progress import EngineError
from tests.bench.workload import PARTITIONS
from tests.broker.jars import REPOSITORY

if TYPE_CHECKING:
    from tests.broker.kafka_server import KafkaServer

_WITHIN_S = 60.0


def create_our_topics(kafka: KafkaServer) -> None:
    """Run `vitals topics --create`; what exists already stays.

    Raises:
        EngineError: the command failed; it holds what the command printed.

    """
    done = subprocess.run(
        [sys.executable, "-m", "agents", "topics", "--create"],
        env={**os.environ, "VITALS_BROKER": kafka.url, "VITALS_PARTITIONS": str(PARTITIONS)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=_WITHIN_S,
        check=False,
    )
    if done.returncode != 0:
        message = f"'vitals topics --create' failed (exit {done.returncode}):\n{done.stdout}{done.stderr}"
        raise EngineError(message)

"""A worker whose fence is broken on purpose: what it reads twice, it counts twice.

Run as `python tests/faults/worker_without_fence.py`. Everything else is the product's worker with the settings of its
environment. The tests see that the oracle catches it.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from agents.cli.main import app
from stream.engine import engine
from stream.ingest import batch

if TYPE_CHECKING:
    from stream.ingest.batch import Batch, Candidates


def unfence() -> None:
    """Take every record for a new one, wherever it lies."""
    sort_out = batch.sort_out

    def blind(records: Batch, at: int, **named: Any) -> Candidates:
        found = sort_out(records, at, **{**named, "position": 0, "seen": None})
        return replace(found, already_applied=np.zeros(len(found.offsets), dtype=bool))

    vars(engine)["sort_out"] = blind


if __name__ == "__main__":
    unfence()
    app(["worker"], prog_name="vitals")

"""A worker that ignores applied offsets on purpose: what it reads twice, it counts twice.

Run as `python tests/faults/worker_without_applied_offsets.py`. Everything else is the product's worker with the
settings of its environment. A test proves with it that the oracle notices.
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


def ignore_applied_offsets() -> None:
    """Make the engine treat every record as new, whatever its offset is."""
    sort_out = batch.sort_out

    def sort_out_as_new(records: Batch, *arguments: Any, **named: Any) -> Candidates:
        candidates = sort_out(records, *arguments, **{**named, "position": 0, "seen": None})
        return replace(candidates, already_applied=np.zeros(len(candidates.offsets), dtype=bool))

    vars(engine)["sort_out"] = sort_out_as_new


if __name__ == "__main__":
    ignore_applied_offsets()
    app(["worker"], prog_name="vitals")

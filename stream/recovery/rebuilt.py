"""The state from which a partition is rebuilt: where to begin, above which revision, and which accounts are known.

Owns the changelog records that `vitals state rebuild` writes in place of a partition's state. A worker that restores
them reads its sources from the beginning, and continues the chain of changes and the alerts that were published
(decision 33). Pure; called by `agents.state.rebuild`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import numpy as np

from stream.columns.row_schema import VERSION, RowSchema
from stream.recovery.namespaces import PUBLISHED_KEYS
from stream.recovery.record_form import STATE_KEY

_EMPTY_ROW = RowSchema.of([("version", "|u1"), ("layout", "|V8"), ("as_of", "<i8"), ("applied", "<i8")], {})


def first_records(
    position: Mapping[str, int], revision: int, published: Mapping[str, int], accounts: Iterable[bytes]
) -> list[tuple[bytes, bytes]]:
    """The records of a partition that begins at `position` (by source), with revisions above `revision`.

    `published` are the offsets, by output topic, from which the published changes and alerts are read. `accounts` are
    those that have a score: each gets a row without events, so that what was published of it is not dropped while its
    events are still on their way from another partition.
    """
    row = np.zeros(1, dtype=_EMPTY_ROW.dtype)
    row["version"], row["layout"] = VERSION, np.void(_EMPTY_ROW.digest)
    value = row.tobytes()
    records = [(b"l" + _EMPTY_ROW.digest, _EMPTY_ROW.describe())]
    records += [(b"r" + account, value) for account in accounts]
    # The count of peer tables is part of every revision of the partition.
    state = {"as_of": None, "position": dict(position), "tables": revision}
    records.append((STATE_KEY, json.dumps(state).encode()))
    return [*records, *((PUBLISHED_KEYS[topic], b"%d" % offset) for topic, offset in published.items())]

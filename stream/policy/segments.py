"""Read the segments of a policy: groups of accounts that are scored differently.

Owns `Segment`. Must not know what a segment changes, nor the forms of its condition. Called by the policy parser;
`stream.plan.segments` assigns accounts to segments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream.policy.account_conditions import KEYS, Range, read_when
from stream.policy.filters import Filter

if TYPE_CHECKING:
    from stream.policy.table import Table

MOST_SEGMENTS = 60  # the segments that an account matches are bits of one integer


@dataclass(frozen=True, slots=True)
class Segment:
    """A named set of accounts: every text condition holds, every number or date is in its range."""

    name: str
    texts: Filter
    ranges: tuple[Range, ...]


def read_segments(root: Table) -> tuple[Segment, ...]:
    """The segments of a policy in the order of the file, without those that are wrong, which is recorded."""
    tables = root.names("segments", "tables such as [segments.enterprise]")
    if len(tables) > MOST_SEGMENTS:
        root.problem("segments", f"must be at most {MOST_SEGMENTS} segments, not {len(tables)}")
    segments = [_read_segment(tables, name) for name in tables]
    return tuple(segment for segment in segments if segment is not None)


def _read_segment(tables: Table, name: str) -> Segment | None:
    if tables.without_when(name, KEYS, "the condition of a segment"):
        return None
    table = tables.named(name, "a table [segments.NAME] with a when", ("when",))
    when = None if table is None else read_when(table)
    return None if when is None else Segment(name, when.texts, when.ranges)

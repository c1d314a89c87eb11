"""What is left out of a score, as an error or a warning: rows that are no events, and profiles that are too late.

Owns the words. Which rows are left out and why is decided by `agents.files`. Called by `account_vitals.scoring` and
`account_vitals.engine`.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from agents.files.playback import BadLine

OnErrors = Literal["raise", "warn"]
_MOST_SHOWN = 5


class RowsError(ValueError):
    """Rows that cannot be used. `rows` has all of them: `file` (or label of the frame), `line`, `reason`, `message`."""

    def __init__(self, rows: Sequence[BadLine]) -> None:
        """At least one row."""
        self.rows = tuple(rows)
        super().__init__(f"{listed(self.rows)}\nCorrect or remove these rows, or leave them out with errors='warn'.")


class LeftOutWarning(UserWarning):
    """Rows, or profiles that are later than the scores, were left out; the others count."""


def report_left_out(bad: Sequence[BadLine], later_profiles: int, errors: OnErrors, stacklevel: int) -> None:
    """Raise RowsError for unusable rows, or warn. Warn of profiles that are later than the last event."""
    if bad and errors == "raise":
        raise RowsError(bad)
    if bad:
        warnings.warn(f"left out:\n{listed(bad)}", LeftOutWarning, stacklevel=stacklevel)
    if later_profiles:
        profiles = "profile is" if later_profiles == 1 else "profiles are"
        hint = "a profile counts from its time on; give a later as_of"
        message = f"left out: {later_profiles:,} {profiles} later than the last event; {hint}"
        warnings.warn(message, LeftOutWarning, stacklevel=stacklevel)


def listed(rows: Sequence[BadLine]) -> str:
    """The first rows, one on each line, and how many there are of each reason."""
    lines = [f"{row.file}:{row.line}: {row.reason}: {row.message}" for row in rows[:_MOST_SHOWN]]
    counts = ", ".join(f"{count:,} {reason}" for reason, count in Counter(row.reason for row in rows).items())
    return "\n".join([*lines, f"{len(rows):,} {'row' if len(rows) == 1 else 'rows'} in all: {counts}"])

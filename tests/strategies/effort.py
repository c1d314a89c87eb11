"""How many examples a property test tries: an eighth in `make test`, all of them in `make search`.

`make test` draws the same examples in every run, so more of them find nothing new there; `make search` draws others.
"""

from __future__ import annotations

import os

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
EXAMPLES = 40
"""Of a test that does not say how many."""


def examples(count: int) -> int:
    """Return how many of `count` examples the profile of this run tries."""
    return count if PROFILE == "search" else max(4, count // 8)

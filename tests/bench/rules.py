"""The rules of the work that every engine does: how long the window is, what a score is made of, when it is published.

Owns the constants. Must need nothing but the standard library, because rivals import it in Python environments of their
own. Called by `workload` and by the Python rivals; `test_workload.py` compares policy and Java programs with it.
"""

from __future__ import annotations

DAY_MS = 86_400_000
WINDOW_DAYS = 30
PARTITIONS = 4

# The two normalisers and the rule of publishing, as in policy.toml.
EVENTS_HUNDRED_AT = 80
VOLUME_HUNDRED_AT = 160
MIN_CHANGE = 1.0

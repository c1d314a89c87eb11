"""Hypothesis profiles: `ci`, the default, always draws the same examples; `search` draws others and does not shrink.

A red build then comes from what was changed; new failures are looked for by `make search`.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

settings.register_profile(
    "ci", max_examples=40, deadline=None, print_blob=True, suppress_health_check=SLOW_IS_FINE, derandomize=True
)
settings.register_profile(
    "search", parent=settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate), derandomize=False
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

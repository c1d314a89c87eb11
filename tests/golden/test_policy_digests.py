"""The digest of a policy names its state and its outputs: no renaming in the code may change it.

The digests are those of version 0.1.0. With another one all saved state would count as that of another policy.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stream.policy.policy import parse_policy

ROOT = Path(__file__).parents[2]
DIGESTS = {
    "deploy/policies/guide.toml": "5866565e4b05e638",
    "deploy/policies/impact.toml": "1a7384989a5e97f5",
    "deploy/policies/nicereply.toml": "2e116e495a34c3bf",
    "deploy/policies/predictive.toml": "c42062ba76722740",
    "deploy/policies/template.toml": "37f2ed8011f2300f",
    "tests/bench/alerting.toml": "8533180794e8f321",
    "tests/bench/everything.toml": "c5c4ec4ddee5b309",
    "tests/bench/policy.toml": "8237973c2d56d017",
    "tests/golden/changelogs/candidate.toml": "bee19a9418dfee8f",
    "tests/golden/changelogs/live.toml": "b41887efb7af4072",
    "tests/unit/stream/policy/policies/alerts.toml": "dc23be01a880b61f",
    "tests/unit/stream/policy/policies/scores.toml": "77f413ffba3dfc42",
    "tests/unit/stream/policy/policies/valid.toml": "3bd6208ce3e71faa",
}


NEW_ACCOUNTS = '[new_accounts]\nmin_age = "14d"\n'
COMPLETE = 'complete = "at-least"\n'
WEEKS = {"28d": "30d", "56d": "60d", "91d": "90d", "182d": "180d", "364d": "365d"}
"""What the policies to start from have that those of 0.1.0 did not: new accounts, whole days, and whole weeks."""
IDLE_SOURCES = re.compile(r"(?m)^\[sources\.[a-z-]+\]\nstall_after = .*\n")
"""Nor did those of 0.1.0 say when a source has stalled."""
STEPS = re.compile(
    r"(stat = \"days_since_last\"\n[^\n]*\n[^\n]*\n)normalise = \{ kind = \"tiers\".*?\n\] \}\n", re.DOTALL
)
DECAY = 'normalise = { kind = "decay", half_life = 30 }\n'


def as_of_0_1_0(text: str) -> str:
    """A policy to start from without what was added to it."""
    text = STEPS.sub(lambda match: match[1] + DECAY, text.replace(NEW_ACCOUNTS, "").replace(COMPLETE, ""))
    text = IDLE_SOURCES.sub("", text)
    return re.sub(r'(?m)(?<=^window = ")\d+d(?="$)', lambda match: WEEKS.get(match[0], match[0]), text)


@pytest.mark.parametrize(("path", "digest"), DIGESTS.items(), ids=list(DIGESTS))
def test_the_digest_of_a_policy_is_that_of_0_1_0(path: str, digest: str) -> None:
    text = (ROOT / path).read_text("utf-8")
    shipped = path.startswith("deploy/")
    assert (NEW_ACCOUNTS in text) == (COMPLETE in text) == shipped
    assert parse_policy(as_of_0_1_0(text) if shipped else text).digest == digest
    assert (parse_policy(text).digest != digest) == shipped

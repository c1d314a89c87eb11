"""The records of today are compatible with those of the last release, but for what was changed on purpose."""

from __future__ import annotations

import pytest

from schemas.catalog.compatibility import differences
from schemas.sources import BUILT_IN
from tests.golden.schemas.make_snapshot import catalog, read_catalog, snapshots

BLANK_IDS = "a blank id is no id: it was an account or event that nobody could name"
NO_VALUE = "an account that has ended or has no data has no score: it was 0 or an old one"
ACCEPTED = {
    **{
        f"{topic}.{field}: constraint changed": BLANK_IDS
        for topic in BUILT_IN.of_topics
        for field in ("id", "account_id")
    },
    "accounts: constraint changed": "other fields of a profile are its attributes: they were ignored",
    "health.score-changes.cause=status: value added": "an account is not scored any more, or is again",
    **{
        f"{topic}.scores.*.{field}: type added": NO_VALUE
        for topic in ("health.scores", "health.shadow")
        for field in ("value", "band")
    },
}
"""Changes since the last release that the table forbids, and why they were made. Empty after a release."""


def test_there_is_the_catalog_of_one_release() -> None:
    assert len(snapshots()) == 1, "python -m tests.golden.schemas.make_snapshot, and delete the one before"


def test_only_allowed_changes_were_made_since_the_last_release() -> None:
    changes = differences(read_catalog(snapshots()[0]), catalog())
    forbidden = [str(each) for each in changes if not each.allowed]
    assert sorted(set(forbidden) - ACCEPTED.keys()) == [], "see docs/reference/schemas.md#compatibility"
    assert sorted(ACCEPTED.keys() - set(forbidden)) == [], "no such change: leave it out of ACCEPTED"


@pytest.mark.parametrize("topic", ["health.scores", "controls"])
def test_a_field_that_is_taken_away_is_found(topic: str) -> None:
    now = catalog()
    del now[topic].schema["properties"]["account_id"]
    forbidden = {str(each) for each in differences(read_catalog(snapshots()[0]), now) if not each.allowed}
    assert f"{topic}.account_id: field removed" in forbidden

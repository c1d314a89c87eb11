"""Reasons of alerts are what was recorded, saved and loaded, rule by rule."""

from __future__ import annotations

import msgspec
import pytest

from stream.accounts.reasons import AlertReasons, Reason

FALL, SILENT = Reason("usage -8.0", "usage"), Reason("silent")


def test_reasons_are_kept_by_rule_until_the_last_episode_ends() -> None:
    reasons = AlertReasons(["fall", "silent"])
    reasons.record(3, "fall", FALL)
    reasons.record(3, "silent", SILENT)
    assert (reasons.of(3, "fall"), reasons.of(3, "silent"), reasons.of(4, "fall")) == (FALL, SILENT, None)
    reasons.discard(3, "fall")
    assert (reasons.of(3, "fall"), reasons.of(3, "silent")) == (None, SILENT)
    reasons.discard(3, "silent")
    reasons.discard(4, "silent")
    assert not reasons


def test_reasons_of_rules_that_do_not_exist_any_more_are_not_loaded() -> None:
    before = AlertReasons(["fall", "silent"])
    before.record(0, "fall", FALL)
    before.record(0, "silent", SILENT)
    before.record(1, "silent", SILENT)
    now = AlertReasons(["fall"])
    for row, saved in before.items():
        now.load(row, saved)
    assert set(now) == {0}
    assert (now.of(0, "fall"), now.of(0, "silent")) == (FALL, None)


@pytest.mark.parametrize("saved", [b"", b"[]", b'{"fall":{"text":1}}', b'{"fall":{'])
def test_reasons_that_can_not_be_read_are_refused_when_they_are_loaded(saved: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        AlertReasons(["fall"]).load(0, saved)

"""Accounts that wait at a window boundary while others are erased, merged or new, and the storms of such a boundary."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from stream.engine.engine import Engine, Mode
from tests.driving.engine import Drive, plan_of
from tests.oracle.events import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

DAY_MS = 86_400_000
FIRST_MS = 20_000 * DAY_MS
NAMES = [f"account-{number}" for number in range(6)]
POLICY = """
name = "a-day"
[status]
dormant_after = "30d"
[storms]
share = 0.5
least = {least}
within = "10m"
[measures.events]
source = "product-usage"
stat = "count"
window = "1d"
normalise = {{ kind = "linear", zero_at = 0, hundred_at = 4 }}
weight = 1
[scores.health]
min_change = 1
bands = [{{ name = "fine", from = 20 }}, {{ name = "poor", from = 0, alert = "warning" }}]
"""


def event(offset: int, account: str, time_ms: int) -> Record:
    value = json.dumps({"id": f"e-{offset}", "account_id": account, "time": time_ms}).encode()
    return Record("product-usage", 0, offset, time_ms, account.encode(), value)


def control(offset: int, account: str, time_ms: int, **what: str) -> Record:
    document = {"id": f"c-{offset}", "account_id": account, "time": time_ms, "by": "ada", **what}
    return Record("controls", 0, offset, time_ms, account.encode(), json.dumps(document).encode())


def drive_of(most_at_once: int | None, *, least: int = 1_000) -> Drive:
    """An engine whose storms have at least so many accounts."""
    return Drive(Engine(plan_of(POLICY.format(least=least)), most_at_once=most_at_once))


def driven(steps: Sequence[Sequence[Record]], most_at_once: int | None) -> Drive:
    drive = drive_of(most_at_once)
    for records in steps:
        drive.take(records)
    drive.save()
    return drive


def sent(drive: Drive) -> list[object]:
    """What was published, by account, and saved."""
    kinds = (drive.scores, drive.changes, drive.alerts)
    return [drive.topic, *(sorted(kind, key=lambda message: message.account_id) for kind in kinds)]


BEFORE = [event(number, name, FIRST_MS + number) for number, name in enumerate(NAMES)]
AFTER = event(len(NAMES), "new", FIRST_MS + DAY_MS + 1)


@pytest.mark.parametrize(
    "records",
    [
        [control(0, NAMES[0], FIRST_MS + DAY_MS + 2, kind="erase")],
        [control(0, NAMES[0], FIRST_MS + DAY_MS + 2, kind="merge", into=NAMES[1])],
        [event(7, NAMES[0], FIRST_MS + 2 * DAY_MS)],
        [event(7, NAMES[0], FIRST_MS + 3 * DAY_MS), event(8, NAMES[1], FIRST_MS + 3 * DAY_MS)],
        [event(7, NAMES[0], FIRST_MS + DAY_MS + 3), event(8, NAMES[1], FIRST_MS + 2 * DAY_MS + 3)],
    ],
    ids=["erased", "merged", "on-the-next-boundary", "on-a-later-boundary", "another-boundary-within"],
)
@pytest.mark.parametrize("apart", [True, False], ids=["own-step", "same-step"])
def test_what_changes_an_account_that_waits_comes_after_the_boundary(records: list[Record], *, apart: bool) -> None:
    steps = [BEFORE, [AFTER], records] if apart else [BEFORE, [AFTER, *records]]
    assert sent(driven(steps, 0)) == sent(driven(steps, None))


def test_the_state_is_saved_after_all_accounts_were_published() -> None:
    drive = driven([BEFORE, [AFTER]], 0)
    assert not drive.engine.is_rescoring
    assert [alert.account_id for alert in drive.alerts if alert.account_id] == NAMES


def test_an_account_that_is_new_after_the_boundary_does_not_wait() -> None:
    drive = drive_of(0)
    drive.take(BEFORE)
    drive.take([AFTER])
    assert (drive.scores[-1].account_id, drive.alerts) == ("new", [])
    assert drive.engine.is_rescoring_of_boundary


def test_a_storm_is_a_share_of_the_accounts_that_were_scored_at_the_boundary() -> None:
    drive = drive_of(0, least=2)
    drive.take([event(offset, name, FIRST_MS + offset) for offset, name in enumerate(NAMES * 2)])
    drive.take([event(len(NAMES) * 2, "new", FIRST_MS + DAY_MS + 1)])
    drive.note(drive.engine.rescore_next(1))
    assert [alert.rule for alert in drive.alerts] == ["band:health:poor"], "fewer than the least number"
    drive.note(drive.engine.rescore_next(1))
    assert [alert.rule for alert in drive.alerts[1:]] == ["storm", "band:health:poor"], "2 of 2, not of 7"


@pytest.mark.parametrize("mode", [Mode.EXACT, Mode.CONFLATED])
def test_catching_up_begins_after_the_boundary(mode: Mode) -> None:
    drives = [drive_of(0), drive_of(None)]
    for drive in drives:
        drive.take(BEFORE)
        drive.take([AFTER])
        drive.turn_to(mode)
        drive.take([event(7, NAMES[0], FIRST_MS + DAY_MS + 3)])
    assert not drives[0].engine.is_rescoring
    assert sent(drives[0]) == sent(drives[1])


def test_accounts_whose_scores_move_count_for_the_size_of_a_turn() -> None:
    drive = drive_of(0)
    drive.take(BEFORE)
    drive.take([AFTER])
    for count in range(2, len(NAMES) + 1, 2):
        drive.note(drive.engine.rescore_next(2))
        assert [alert.account_id for alert in drive.alerts] == NAMES[:count], "all scores move"
    drive.take([event(len(NAMES) + 1, "new", FIRST_MS + 2 * DAY_MS + 1)])
    drive.note(drive.engine.rescore_next(2))
    assert not drive.engine.is_rescoring, "no score moves at the second boundary"

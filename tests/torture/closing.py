"""The end of a round with alert rules: six days without an event, after which it is known which alerts are open.

Owns the records that let time pass, and the comparison of open alerts. Which alerts open and close meanwhile depends on
the order in which records of different topics are read while they arrive; this does not. Called by
`tests.torture.rounds`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.faults import verdict
from tests.faults.events import DAY_MS, END_MS, USAGE, accounts_of, event
from tests.faults.topic_log import PARTITIONS, Message
from tests.oracle.recognised import read_record
from tests.oracle.status import ENDED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_QUIET_MS = 6 * DAY_MS
"""The windows of usage and tickets are empty by then, the one of surveys is not."""
_WITNESSES = tuple(accounts_of(partition, 1, prefix="witness")[0] for partition in range(PARTITIONS))
SINKING, FALL, QUIET = "sinking", "fall", "quiet"


def closing_records() -> list[Message]:
    """Return one event of a new account in each partition, six days after the last one of the round."""
    return [event(USAGE, f"closing-{account}", account, END_MS + _QUIET_MS + 1) for account in _WITNESSES]


def open_rule_differences(log: verdict.InputLog, policy: str, alerts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return in words where the open alerts of `tests.faults.events.RULES` are not those of six quiet days.

    Without usage no score reaches 45, so every account is sinking, and none has fallen within a day. Every account that
    has had usage is quiet, unless it has ended: a deleted profile ends one.
    """
    published = {(account, rule) for account, rule in verdict.open_alerts(alerts) if rule in {SINKING, FALL, QUIET}}
    scores = log.scores(policy)
    expected = {(account, SINKING) for account, score in scores.items() if score.value is not None and score.value < 45}
    expected |= {(account, QUIET) for account in _users_of(log) if scores[account].status != ENDED}
    expected -= {(account, rule) for account, rule in expected if account in _WITNESSES}
    published -= {(account, rule) for account, rule in published if account in _WITNESSES}
    wrong = [f"{account}: {rule} is not open" for account, rule in sorted(expected - published)]
    return wrong + [f"{account}: {rule} is open" for account, rule in sorted(published - expected)]


def _users_of(log: verdict.InputLog) -> set[str]:
    """The accounts that have an event of product-usage that was applied."""
    rejected = {(record.topic, record.partition, record.offset) for record in log.rejected}
    return {
        read_record(USAGE, record.value, log.now_ms, key=record.key).account_id
        for record in log.records
        if USAGE in {record.source, record.origin}
        and record.value is not None
        and (record.source, record.partition, record.offset) not in rejected
    }

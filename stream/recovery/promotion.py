"""Promotion: a candidate's engine becomes the live one and continues from what the previous live engine published.

Owns which fields the promoted engine takes from the previous one, each by one rule of `take_over`. Which namespaces are
restored into the two engines is decided by `stream.recovery.namespaces`, which calls it. Pure.
"""

from __future__ import annotations

import numpy as np

from schemas.events import CONTROL_SOURCE
from schemas.sources import INBOX
from stream.accounts.accounts import NO_BAND, Accounts
from stream.accounts.acknowledgements import Acknowledgement
from stream.accounts.alert_state import PUBLISHED_FIELDS
from stream.accounts.overrides import reopen_ended
from stream.columns.columns import Rows
from stream.engine.engine import Engine

_TAKEN = {
    "last_published_score": 0,
    "last_published_band": NO_BAND,
    "last_published_parts": 0,
    "last_published_state": 0,
    "override_published": 0,
}
"""The arrays of `Accounts` that say what was published, and their value where nothing was."""
_LARGER = ("applied", "last_ms", "life_ms")
"""Revisions never go back. Whatever has a record is an account, also where the candidate found all its events late."""
_OF_CONTROLS = (CONTROL_SOURCE, INBOX)
"""The inputs from which controls come."""


def take_over(engine: Engine, previous: Engine) -> None:
    """Let a promoted engine continue from what `previous`, the previous live engine under the same plan, published.

    | field | rule |
    |---|---|
    | last published scores and overrides, published fields and reasons of alerts | from the previous |
    | alerts of removed rules | from the previous |
    | storm, alerts of idle sources | from the previous |
    | revision, times of the last event, count of peer tables, what erased accounts had | the larger |
    | time of the first event | the smaller |
    | acknowledgements and snoozes | from the one that applied more controls, see `_merge_acknowledgements` |
    | all other state | stays |

    What differs is published with the next scores, each change with the cause `policy`.
    """
    accounts, previous_accounts = engine.accounts, previous.accounts
    previous_rows = np.arange(len(previous_accounts), dtype=np.int64)
    rows = accounts.index.rows_of_saved(previous_accounts.index.names)
    accounts.reserve()
    for name, nothing in _TAKEN.items():
        getattr(accounts, name)[:] = nothing
        getattr(accounts, name)[rows] = getattr(previous_accounts, name)[previous_rows]
    reopen_ended(accounts)
    for name in PUBLISHED_FIELDS:
        getattr(accounts.alerts, name)[:] = 0
        getattr(accounts.alerts, name)[rows] = getattr(previous_accounts.alerts, name)[previous_rows]
    accounts.alert_reasons.clear()
    for previous_row, reasons in previous_accounts.alert_reasons.items():
        accounts.alert_reasons[int(rows[previous_row])] = reasons
    removed = previous_accounts.alerts.removed_rule_alerts
    accounts.alerts.removed_rule_alerts = {int(rows[row]): alerts for row, alerts in removed.items()}
    for name in _LARGER:
        array = getattr(accounts, name)
        array[rows] = np.maximum(array[rows], getattr(previous_accounts, name)[previous_rows])
    accounts.first_ms[rows] = np.minimum(accounts.first_ms[rows], previous_accounts.first_ms[previous_rows])
    accounts.follow_first_events(rows)
    _merge_acknowledgements(accounts, previous_accounts, rows)
    accounts.revision_base = max(accounts.revision_base, previous_accounts.revision_base)
    engine.peers.applied_count = max(engine.peers.applied_count, previous.peers.applied_count)
    engine.alert_emitter.storm.load(previous.alert_emitter.storm.saved())
    engine.idle_source_alerts.open.clear()
    engine.idle_source_alerts.open.update(previous.idle_source_alerts.open)
    engine.rescore_without_publishing()
    alive = accounts.alive()
    for flags in (accounts.policy_changed, accounts.changed, accounts.score_pending, accounts.dirty):
        flags[alive] = True


def _merge_acknowledgements(accounts: Accounts, previous: Accounts, rows: Rows) -> None:
    """Take what was published of each acknowledgement from the previous engine, and the newer controls of the two.

    The candidate is ahead in rows that a crash left out of the live namespace. There its own controls are the newer
    ones: a missing snooze has ended. A missing acknowledgement may only say that its alert was resolved for the
    candidate, so that of the previous engine stays. In all other rows both engines have applied the same controls.
    There the alert that readers see decides about the acknowledgement, and a snooze of a rule that the previous policy
    did not have is the candidate's. `rows` are the rows of the previous engine's accounts.
    """
    columns = [accounts.sources.index[name] for name in _OF_CONTROLS]
    previous_columns = [previous.sources.index[name] for name in _OF_CONTROLS]
    for previous_row, row in enumerate(rows.tolist()):
        own, theirs = accounts.acknowledgements.pop(row, {}), previous.acknowledgements.get(previous_row, {})
        if not own and not theirs:
            continue
        previous_offsets = previous.applied_offsets[previous_row, previous_columns]
        ahead = bool(np.any(accounts.applied_offsets[row, columns] > previous_offsets))
        merged = {}
        for rule in {**own, **theirs}:
            mine, published = own.get(rule, Acknowledgement()), theirs.get(rule, Acknowledgement())
            if ahead:
                acknowledged, snoozed = mine.acknowledged or published.acknowledged, mine.snoozed
            else:
                acknowledged, snoozed = published.acknowledged, published.snoozed or mine.snoozed
            merged[rule] = Acknowledgement(acknowledged, snoozed, published.published)
        accounts.acknowledgements[row] = merged

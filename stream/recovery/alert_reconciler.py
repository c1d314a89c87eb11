"""What readers of `health.alerts` were told and a restored worker does not know: brought in line with what is so.

A worker that crashed may have told alerts after its last commit. The next one applies the same events again, in other
batches perhaps: it would tell some alerts twice, and what fell and rose within one batch never, so that an alert stays
open for readers that is open nowhere else. So it reads what was told after the commit, holds back what it would tell of
these alerts until it has come as far as the other had, and then tells only what readers do not know. Each alert says
how far that was, in a header of its record. Pure; called by `agents.worker.processor`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest

import msgspec
import numpy as np

from schemas.codecs import UNREADABLE, encode
from schemas.outputs import Alert
from stream.alerts.messages import STALLED, STORM, closed, same_episode
from stream.engine.engine import Engine
from stream.ingest.batch import INPUT_SOURCES
from stream.publishing.effects import Effects, Message

Told = tuple[bytes | None, bytes | None]
"""A record of `health.alerts`: its value, and `position_of` whoever wrote it, or None."""


class Retelling:
    """The last that was told of each alert, by account and rule, where this worker has told nothing of it yet."""

    def __init__(self, records: Iterable[Told], end: int) -> None:
        """What one partition of `health.alerts` has after the last commit.

        `end` is the offset after them. What is no alert is left out.
        """
        self.end = end
        self._last: dict[tuple[str, str], Alert] = {}
        self._held: dict[tuple[str, str], list[Alert]] = {}
        self._until = [0] * (1 + len(INPUT_SOURCES))
        for value, position in records:
            try:
                alert = msgspec.json.decode(value or b"", type=Alert)
                reached = msgspec.json.decode(position or b"[]", type=list[int])
            except UNREADABLE:
                continue
            self._last[alert.account_id, alert.rule] = alert
            reached = reached or [_moment(alert)]
            self._until = [max(pair) for pair in zip_longest(self._until, reached, fillvalue=0)]

    def hold(self, effects: Effects) -> None:
        """Keep back alerts of which readers were told."""
        if not self._last:
            return
        kept, effects.alerts = effects.alerts, []
        for message in kept:
            alert = msgspec.json.decode(message.value, type=Alert)
            key = (alert.account_id, alert.rule)
            if key in self._last:
                self._held.setdefault(key, []).append(alert)
                effects.alerted[alert.rule, alert.status] -= 1
            else:
                effects.alerts.append(message)

    def due(self, engine: Engine) -> bool:
        """Whether an engine has come as far as the one that told the last of these alerts."""
        if not self._last:
            return True
        return engine.as_of is not None and all(map(int.__ge__, _reached(engine), self._until))

    def agree(self, engine: Engine) -> Effects:
        """Tell what readers were told otherwise; the engine goes on from there."""
        effects = Effects()
        silent = []
        for key, told in self._last.items():
            news = _after(told, self._held.get(key, []))
            if news is None:
                silent.append(told)
                continue
            for alert in news:
                _send(alert, effects)
        of_accounts = [alert for alert in silent if alert.account_id]
        index = engine.accounts.index
        rows = np.unique([index[alert.account_id] for alert in of_accounts if alert.account_id in index]).astype(int)
        rows = rows[engine.accounts.applied[rows] > 0]
        places = dict(zip(rows.tolist(), range(len(rows)), strict=True))
        scored_batch = engine.scored_batch(rows) if len(rows) else None
        for alert in of_accounts:
            place = places.get(index.get(alert.account_id, -1))
            if scored_batch is not None and place is not None:
                engine.alert_emitter.agree(alert, scored_batch, place, effects)
            elif alert.status == "firing":
                _send(closed(alert, engine.as_of or 0), effects)
        for alert in silent:
            if not alert.account_id:
                _agree_operational(alert, engine, effects)
                continue
            held = self._held.get((alert.account_id, alert.rule), [])
            if held and held[-1].status == alert.status == "firing" and _words(held[-1]) != _words(alert):
                _send(same_episode(held[-1], alert), effects)
        return effects


def _after(told: Alert, held: list[Alert]) -> list[Alert] | None:
    """What was held back and comes after `told`; None where none of it tells."""
    ids = [alert.id for alert in held]
    if told.id in ids:
        return held[ids.index(told.id) + 1 :]
    # The same in other words, where batches fell otherwise: what is later goes on from what was told.
    news = [alert for alert in held if _moment(alert) > _moment(told)]
    while news and news[0].status == told.status:
        del news[0]
    if news and news[0].status == "resolved":
        news[0] = same_episode(news[0], told)
    return news or None


def _moment(alert: Alert) -> int:
    return alert.starts_at if alert.ends_at is None else alert.ends_at


def position_of(engine: Engine) -> bytes:
    """How far an engine has come: a JSON list of its moment (epoch ms) and of what it has settled of each line."""
    return msgspec.json.encode(_reached(engine))


def _reached(engine: Engine) -> list[int]:
    return [engine.as_of or 0, *(engine.position[name] for name in INPUT_SOURCES)]


def _words(alert: Alert) -> tuple[object, ...]:
    """What makes an alert that is open news though it goes on."""
    return alert.acknowledged_at, alert.acknowledged_by, alert.snoozed_until, alert.digest


def _agree_operational(alert: Alert, engine: Engine, effects: Effects) -> None:
    """The same for an alert of a stalled source or a storm."""
    assert engine.as_of is not None
    source, told, fires = alert.rule.removeprefix(STALLED), engine.idle_source_alerts.open, alert.status == "firing"
    if fires and source in engine.time.idle_since():
        told[source] = alert.starts_at
    elif fires and source not in told and (alert.rule != STORM or not engine.alert_emitter.storm.open):
        _send(closed(alert, engine.as_of), effects)
    elif not fires and source in told:
        told[source] = max(told[source], alert.ends_at or 0)
        engine.idle_source_alerts.emit_one(source, None, effects)


def _send(alert: Alert, effects: Effects) -> None:
    effects.alerts.append(Message((alert.account_id or alert.rule).encode(), encode(alert)))
    effects.alerted[alert.rule, alert.status] += 1

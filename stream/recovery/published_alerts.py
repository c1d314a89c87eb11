"""Alerts that a worker published and did not commit before it crashed, and how the next engine reconciles with them.

Owns which alerts are held back until the engine has come as far as the worker that published them, and what is
published then: only the difference between the last published record of each alert and the engine's state. Every alert
record says how far its worker had come, in the header `vitals.position`. Pure; called by `stream.recovery.reconciler`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest

import msgspec
import numpy as np

from schemas.codecs import encode
from schemas.outputs import Alert
from schemas.records import UnreadableError, read_message
from schemas.sources import BUILT_IN
from stream.alerts.messages import STALLED, STORM, closed, same_episode
from stream.engine.engine import Engine
from stream.publishing.effects import Effects, Message

Key = tuple[str, str]
"""Account id (empty for an operational alert) and rule."""


class PublishedAlerts:
    """The last published record of each alert, until the engine has reconciled with it; false when there are none."""

    def __init__(self, records: Iterable[tuple[bytes | None, bytes | None]] = ()) -> None:
        """Load records of one partition of `health.alerts` that were published after the last commit.

        A record is its value and its header `vitals.position`, None where it has none: then its own time counts. A
        value that is not an alert is skipped.
        """
        self._published: dict[Key, Alert] = {}
        self._held_back: dict[Key, list[Alert]] = {}
        self._until: list[int] = []
        self._until_of_added: dict[str, int] = {}
        """As `_until`, by name, of sources that a policy adds."""
        for value, header in records:
            try:
                alert = read_message(Alert, value)
                position, added = _decoded(header)
            except UnreadableError:
                continue
            self._published[alert.account_id, alert.rule] = alert
            position = position or [_time_of(alert)]
            self._until = [max(pair) for pair in zip_longest(self._until, position, fillvalue=0)]
            for source, offset in added.items():
                self._until_of_added[source] = max(offset, self._until_of_added.get(source, 0))

    def __bool__(self) -> bool:
        return bool(self._published)

    @property
    def until_ms(self) -> int:
        """The largest stream time (epoch ms) at which one of the records was published."""
        return self._until[0]

    def load(self, engine: Engine) -> None:
        """Let alerts that readers have as firing go on as they are, however many of them the replay fires at once.

        A restored engine that takes in one step what came one by one before would take it for a storm. Where the
        restored state has the end of one already, the worker before held that back and saved it: it is held back again.
        """
        firing = {
            key: alert for key, alert in self._published.items() if alert.status == "firing" and alert.digest is None
        }
        for key, alert in self._published.items():
            ended_ms = engine.alert_emitter.ended_ms(alert)
            if alert.status == "firing" and ended_ms is not None and ended_ms > alert.starts_at:
                self._held_back[key] = [closed(alert, ended_ms)]
                firing.pop(key, None)
        engine.alert_emitter.continued = firing

    def hold_back(self, effects: Effects) -> None:
        """Move alerts that were published before from `effects` to here, until `reconcile`."""
        if not self._published:
            return
        messages, effects.alerts = effects.alerts, []
        for message in messages:
            alert = msgspec.json.decode(message.value, type=Alert)
            key = (alert.account_id, alert.rule)
            if key in self._published:
                self._held_back.setdefault(key, []).append(alert)
                effects.alerted[alert.rule, alert.status] -= 1
            else:
                effects.alerts.append(message)

    def reached(self, engine: Engine) -> bool:
        """Whether the engine has come as far, in time and in every source, as the workers that published the alerts."""
        added = all(engine.position.get(name, offset) >= offset for name, offset in self._until_of_added.items())
        return added and all(now >= before for now, before in zip(_position(engine), self._until, strict=False))

    def reconcile(self, engine: Engine, effects: Effects) -> None:
        """Publish where the engine's alerts differ from the published ones, and hold back no more.

        An alert whose last published record the engine came by again goes on from there. Any other is resolved or
        fired where its state differs, and else takes over the start and flaps that were published.
        """
        published, self._published = self._published, {}
        engine.alert_emitter.continued = {}
        held_back, self._held_back = self._held_back, {}
        unmatched = []
        for key, alert in published.items():
            later = _later(alert, held_back.get(key, []))
            if later is None:
                unmatched.append(alert)
            for message in later or ():
                _publish(message, effects)
        _reconcile_accounts([alert for alert in unmatched if alert.account_id], engine, effects)
        for alert in unmatched:
            if not alert.account_id:
                _reconcile_operational(alert, engine, effects)
                continue
            latest = held_back.get((alert.account_id, alert.rule), [alert])[-1]
            if latest.status == alert.status == "firing" and _details(latest) != _details(alert):
                _publish(same_episode(latest, alert), effects)


def position_of(engine: Engine) -> bytes:
    """The header `vitals.position` as JSON: stream time (epoch ms) and the settled offset of each built-in input.

    With a policy that adds sources there is one more element: their settled offsets by name.
    """
    added = {name: engine.position[name] for name in engine.sources.of_events if name not in BUILT_IN}
    return msgspec.json.encode([*_position(engine), added] if added else _position(engine))


def _position(engine: Engine) -> list[int]:
    return [engine.as_of or 0, *(engine.position[name] for name in BUILT_IN.inputs)]


def _decoded(header: bytes | None) -> tuple[list[int], dict[str, int]]:
    """What `position_of` has encoded. Raises `UnreadableError`."""
    elements = read_message(list[int | dict[str, int]], header or b"[]")
    position = [element for element in elements if isinstance(element, int)]
    added = [element for element in elements if isinstance(element, dict)]
    return position, added[0] if added else {}


def _time_of(alert: Alert) -> int:
    return alert.starts_at if alert.ends_at is None else alert.ends_at


def _details(alert: Alert) -> tuple[object, ...]:
    """The fields for which an alert that goes on firing is published again."""
    return alert.acknowledged_at, alert.acknowledged_by, alert.snoozed_until


def _later(published: Alert, held_back: list[Alert]) -> list[Alert] | None:
    """The held back records that follow after the published one; None where none of them says what follows."""
    ids = [alert.id for alert in held_back]
    if published.id in ids:
        return held_back[ids.index(published.id) + 1 :]
    # Batches differ and ids with them: records of a later time continue the published episode.
    later = [alert for alert in held_back if _time_of(alert) > _time_of(published)]
    while later and later[0].status == published.status:
        del later[0]
    if later and later[0].status == "resolved":
        later[0] = same_episode(later[0], published)
    return later or None


def _reconcile_accounts(alerts: Sequence[Alert], engine: Engine, effects: Effects) -> None:
    """Reconcile alerts of accounts with the rows; without a row an alert that is firing is resolved."""
    index = engine.accounts.index
    rows = np.unique([index[alert.account_id] for alert in alerts if alert.account_id in index]).astype(int)
    rows = rows[engine.accounts.applied[rows] > 0]
    positions = {row: position for position, row in enumerate(rows.tolist())}
    scored_batch = engine.scored_batch(rows) if len(rows) else None
    for alert in alerts:
        position = positions.get(index.get(alert.account_id, -1))
        if scored_batch is not None and position is not None:
            engine.alert_emitter.reconcile(alert, scored_batch, position, effects)
        elif alert.status == "firing":
            _publish(closed(alert, engine.as_of or 0), effects)


def _reconcile_operational(alert: Alert, engine: Engine, effects: Effects) -> None:
    """Reconcile the alert of an idle source or a storm."""
    source, fires = alert.rule.removeprefix(STALLED), alert.status == "firing"
    still_open = engine.idle_source_alerts.open
    if fires and source in engine.time.idle_since():
        still_open[source] = alert.starts_at
    elif fires and source not in still_open and (alert.rule != STORM or not engine.alert_emitter.storm.open):
        _publish(closed(alert, engine.time.current_ms()), effects)
    elif not fires and source in still_open:
        still_open[source] = max(still_open[source], alert.ends_at or 0)
        engine.idle_source_alerts.emit_one(source, None, effects)


def _publish(alert: Alert, effects: Effects) -> None:
    effects.alerts.append(Message((alert.account_id or alert.rule).encode(), encode(alert)))
    effects.alerted[alert.rule, alert.status] += 1

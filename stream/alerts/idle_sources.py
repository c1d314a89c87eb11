"""Operational alerts about idle sources: nothing has come from a source for longer than its `stall_after`.

Owns which of these alerts are open and their messages (rule `stalled:SOURCE`). Which sources are idle, and the clocks
that stand still meanwhile, are in `stream.engine.time`. Called by `stream.engine.engine`.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.codecs import encode
from stream.alerts.messages import STALLED, operational_alert
from stream.publishing.effects import Effects, Message

_SEVERITY = "critical"
_HOUR_MS = 3_600_000


class IdleSourceAlerts:
    """The idle-source alerts of one partition."""

    def __init__(self, idle_after_ms: Mapping[str, int], partition: int | None) -> None:
        """No alert is open. `idle_after_ms` is the policy's `stall_after` by source."""
        self._idle_after_ms = idle_after_ms
        self._labels = {} if partition is None else {"partition": str(partition)}
        self.open: dict[str, int] = {}
        """Sources with an open alert, and since when each is idle (ms). Also of an earlier policy."""

    def emit(self, idle_since: Mapping[str, int], as_of_ms: int, effects: Effects) -> None:
        """Fire and resolve alerts; `idle_since` has the sources that are idle now, and since when (ms)."""
        for source, since_ms in idle_since.items():
            if source not in self.open:
                self.open[source] = since_ms
                self.emit_one(source, None, effects)
        for source in [source for source in self.open if source not in idle_since]:
            self.emit_one(source, as_of_ms, effects)
            del self.open[source]

    def emit_one(self, source: str, ended_ms: int | None, effects: Effects) -> None:
        """Publish the alert of a source in `open`: as firing, or as resolved at `ended_ms`."""
        rule = f"{STALLED}{source}"
        if ended_ms is None:
            hours = self._idle_after_ms[source] / _HOUR_MS
            summary = f"no {source} of any account for {hours:g} hours: its measures are held as they were"
        else:
            summary = f"{source} has come again"
        alert = operational_alert(
            rule,
            summary,
            {"source": source, **self._labels},
            began_ms=self.open[source],
            ended_ms=ended_ms,
            severity=_SEVERITY,
        )
        effects.alerts.append(Message(rule.encode(), encode(alert)))
        effects.alerted[rule, alert.status] += 1

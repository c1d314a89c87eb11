"""Sources that have stalled: when nothing comes from a source any more, for nobody.

Owns the clocks that the columns of such sources go by, and the operational alert. A clock is `as_of`, but at most the
source's watermark plus what the policy allows, and never goes back: while a source has stalled, what is read from it
stands still. Called by `stream.engine.engine`.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.codecs import encode
from stream.alerts.messages import STALLED, operational_alert
from stream.plan.plan import Plan
from stream.publishing.effects import Effects, Message

_SEVERITY = "critical"


class IdleSources:
    """The clocks of one partition's sources."""

    def __init__(self, plan: Plan, watermarks: Mapping[str, int], partition: int | None) -> None:
        """`watermarks` (ms by source) are the engine's own and grow."""
        self._after = {stall.source: stall.after_ms for stall in plan.policy.idle_sources}
        self._watermarks = watermarks
        self._labels = {} if partition is None else {"partition": str(partition)}
        self.clocks: dict[str, int] = {}
        """Clock (ms) by source that can stall."""
        self.told: dict[str, int] = {}
        """Stalled sources of which an alert is open, and since when (ms)."""

    def __bool__(self) -> bool:
        """Whether the policy knows of stalls at all."""
        return bool(self._after)

    def advance(self, as_of_ms: int) -> None:
        """Bring the clocks to a moment."""
        for source, after in self._after.items():
            seen = self._watermarks.get(source)
            clock = as_of_ms if seen is None else min(as_of_ms, seen + after)
            self.clocks[source] = max(clock, self.clocks.get(source, clock))

    def idle(self, as_of_ms: int) -> tuple[str, ...]:
        """The sources that have stalled at a moment, sorted."""
        return tuple(
            sorted(
                source
                for source, after in self._after.items()
                if source in self._watermarks and as_of_ms > self._watermarks[source] + after
            )
        )

    def tell(self, as_of_ms: int, effects: Effects) -> None:
        """Fire and resolve the operational alerts."""
        now = self.idle(as_of_ms)
        for source in now:
            if source not in self.told:
                self.told[source] = self._watermarks[source] + self._after[source]
                self.say(source, None, effects)
        for source in [source for source in self.told if source not in now]:
            self.say(source, as_of_ms, effects)
            del self.told[source]

    def say(self, source: str, ended_ms: int | None, effects: Effects) -> None:
        """Tell the alert of a source that has one: open, or since when it is over (ms)."""
        rule = f"{STALLED}{source}"
        if ended_ms is None:
            hours = self._after[source] / 3_600_000
            summary = f"no {source} of any account for {hours:g} hours: its measures are held as they were"
        else:
            summary = f"{source} has come again"
        alert = operational_alert(
            rule,
            summary,
            {"source": source, **self._labels},
            began_ms=self.told[source],
            ended_ms=ended_ms,
            severity=_SEVERITY,
        )
        effects.alerts.append(Message(rule.encode(), encode(alert)))
        effects.alerted[rule, alert.status] += 1

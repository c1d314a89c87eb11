"""A pair of engines driven as a worker drives them, beside each of the two policies alone; the changelog outlives both.

Owns what is written to the topics and to the changelog, and what a start makes of it. Must not know any expected value.
Called by the tests of shadows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from schemas.outputs import Alert, ScoreChange, ShadowMessage
from schemas.sources import BUILT_IN
from stream.engine.engine import Engine, Mode
from stream.ingest.merge import Merge
from stream.recovery import changelog
from stream.recovery.namespaces import Opened, open_namespaces
from tests.driving.alert_histories import rule
from tests.driving.engine import fetches_of
from tests.strategies.policies import NOW_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stream.plan.plan import Plan
    from stream.publishing.effects import Effects
    from stream.recovery.shadow import Pair
    from tests.oracle.engine import Record

Written = dict[bytes, bytes]


LIVE = """
name = "live"
[status]
dormant_after = "365d"
[measures.usage]
source = "product-usage"
stat = "count"
window = "2d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 1
[scores.health]
min_change = 1
bands = [{ name = "good", from = 60 }, { name = "poor", from = 0, alert = "warning" }]
[alerts.low]
when = { below = 40 }
"""
# The same scores are halved, the window is longer, `low` begins higher, the band is not marked.
CANDIDATE = LIVE.replace('"live"', '"candidate"').replace("hundred_at = 10", "hundred_at = 20").replace(
    'window = "2d"', 'window = "4d"'
).replace("below = 40", "below = 30").replace(', alert = "warning"', "") + rule(
    'when = { below = 55 }\nfor = "1d"', "slow"
)


def write(topic: Written, records: Sequence[tuple[bytes, bytes | None]]) -> None:
    """Append to a compacted topic, as a worker reads it."""
    for key, value in records:
        changelog.keep_newer(topic, key, value)


@dataclass
class Alone:
    """One policy with nothing beside it."""

    plan: Plan
    topic: Written = field(default_factory=dict)
    raw: list[Effects] = field(default_factory=list)
    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.engine = Engine(self.plan)
        changelog.restore(self.engine, self.topic)

    def commit(self) -> None:
        write(self.topic, changelog.snapshot(self.engine))


@dataclass
class Both:
    """The live policy and a candidate as a pair, and, driven alike, each alone."""

    plan: Plan
    candidate: Plan | None
    topic: Written = field(default_factory=dict)
    shadow_topic: Written = field(default_factory=dict)
    raw: list[Effects] = field(default_factory=list)
    mode: Mode = Mode.HEAD
    merge: Merge = field(default_factory=lambda: Merge(BUILT_IN))
    beside: list[Alone] = field(default_factory=list)
    opened: Opened = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    @property
    def pair(self) -> Pair:
        return self.opened.pair

    def start(self) -> None:
        """Start from what is in the changelog."""
        self.opened = open_namespaces(self.topic, self.plan, self.candidate, Engine)

        def failed(error: Exception) -> None:
            raise error

        self.pair.on_failure = failed
        for alone in self.beside:
            alone.start()
        self.merge, self.mode = Merge(BUILT_IN), Mode.HEAD

    def act(self, do: Callable[[Pair | Engine], Effects]) -> None:
        """Let all of them do the same."""
        effects = do(self.pair)
        self.raw.append(effects)
        write(self.shadow_topic, [(sent.key, sent.value) for sent in effects.shadow])
        for alone in self.beside:
            alone.raw.append(do(alone.engine))

    def take(self, records: Sequence[Record]) -> None:
        for fetch in fetches_of(records):
            self.merge.add(fetch)
        if batches := self.merge.release(lambda _fence: False):
            self.act(lambda engine: engine.step(batches, self.mode, NOW_MS))

    def turn_to(self, mode: Mode) -> None:
        if mode is not Mode.CONFLATED and self.mode is Mode.CONFLATED:
            self.act(lambda engine: engine.caught_up())
        elif mode is Mode.HEAD and self.mode is Mode.EXACT:
            self.act(lambda engine: engine.flush(Mode.HEAD))
        self.mode = mode

    def commit(self, written: int | None = None) -> None:
        """Write the snapshot's first records; None: all."""
        self.act(lambda engine: engine.flush(self.mode))
        write(self.shadow_topic, [(sent.key or b"", sent.value) for sent in self.opened.namespaces.tombstones()])
        write(self.topic, self.opened.namespaces.snapshot(self.pair)[:written])
        for alone in self.beside:
            alone.commit()

    def changes(self) -> list[ScoreChange]:
        return [msgspec.json.decode(sent.value, type=ScoreChange) for effects in self.raw for sent in effects.changes]

    def alerts(self) -> list[Alert]:
        return [msgspec.json.decode(sent.value, type=Alert) for effects in self.raw for sent in effects.alerts]

    def shadows(self) -> dict[str, ShadowMessage]:
        """The latest of each account in `health.shadow`."""
        return {
            key.decode(): msgspec.json.decode(value, type=ShadowMessage) for key, value in self.shadow_topic.items()
        }

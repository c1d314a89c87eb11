"""A candidate policy beside the live one: a second engine over the same records, whose outputs nobody acts on.

Owns what becomes of a candidate's effects (one message an account for `health.shadow`, nothing else) and that it can
not disturb the live engine. The two share nothing but the records: each judges lateness, borders and repeated ids as if
it were alone. Where their state is kept is for `stream.recovery.namespaces`. Called by `agents.worker.processor`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from stream.accounts.alert_lifecycle import is_open
from stream.engine.engine import Engine, Mode
from stream.ingest.batch import Batch
from stream.publishing.effects import Effects, Message

Act = Callable[[Engine], Effects]


class Shadow:
    """The candidate's engine, which follows whatever the live one does."""

    def __init__(self, engine: Engine) -> None:
        """Wrap an engine, empty or restored."""
        self.engine = engine
        self._rules = [msgspec.json.encode(part.name) for part in engine.plan.rules]

    def follow(self, act: Act, *, at_head: bool) -> list[Message[bytes]]:
        """Let the engine act; the messages of `health.shadow` that come of it, one an account.

        Behind the head, accounts whose alerts alone have changed are told with the next flush.
        """
        effects = act(self.engine)
        accounts = self.engine.accounts
        scored_batch = {message.key: message.value for message in effects.scores}
        found = {
            accounts.index.get(key.decode())
            for key in {message.key for message in effects.alerts} - scored_batch.keys()
        }
        rows = np.array(sorted(row for row in found if row is not None), dtype=np.int64)
        if at_head:
            scored_batch.update((message.key, message.value) for message in self.engine.current(rows).scores)
        else:
            accounts.score_pending[rows] = True
        return [Message(key, self._with_alerts(key, value)) for key, value in scored_batch.items()]

    def _with_alerts(self, key: bytes, value: bytes) -> bytes:
        """A score message with the names of the rules whose alerts are open."""
        accounts = self.engine.accounts
        phases = accounts.alerts.phase[accounts.index[key.decode()]]
        rules = b",".join(self._rules[place] for place in np.flatnonzero(is_open(phases)).tolist())
        return b'%b,"alerts":[%b]}' % (value[:-1], rules)


@dataclass(slots=True)
class Pair:
    """The live engine of a partition and, maybe, a shadow that does what it does.

    An error of the shadow ends the shadow, not the live engine: `on_failure` is told of it.
    """

    live: Engine
    shadow: Shadow | None = None
    on_failure: Callable[[Exception], None] = field(default=lambda _error: None)

    def step(self, batches: Sequence[Batch], mode: Mode, now_ms: int | None) -> Effects:
        """As `Engine.step`."""
        return self._act(lambda engine: engine.step(batches, mode, now_ms), mode)

    def flush(self, mode: Mode) -> Effects:
        """As `Engine.flush`."""
        return self._act(lambda engine: engine.flush(mode), mode)

    def tick(self, now_ms: int) -> Effects:
        """As `Engine.tick`."""
        return self._act(lambda engine: engine.tick(now_ms), Mode.HEAD)

    def caught_up(self) -> Effects:
        """As `Engine.caught_up`."""
        return self._act(lambda engine: engine.caught_up(), Mode.HEAD)

    def _act(self, act: Act, mode: Mode) -> Effects:
        effects = act(self.live)
        if self.shadow is not None:
            try:
                effects.shadow = self.shadow.follow(act, at_head=mode is Mode.HEAD)
            except Exception as error:  # noqa: BLE001 -- whatever it is, the live scores must go on
                self.shadow = None
                self.on_failure(error)
        return effects

"""Shadow: a candidate policy that runs beside the live one, over the same records.

Owns what becomes of a candidate's effects (one message for each account in `health.shadow`, nothing else) and that it
can not disturb the live engine. The two engines share nothing but the records: each decides on its own what is late,
which boundary has passed and which ids repeat. Where their state is stored is for `stream.recovery.namespaces`. Called
by `agents.worker.tasks.processor`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from schemas.events import RowState
from stream.accounts.alert_lifecycle import is_open
from stream.engine.engine import Engine, Mode
from stream.ingest.batch import Batch
from stream.publishing.effects import Effects, Message
from stream.recovery.handed_over import records_of

Act = Callable[[Engine], Effects]


class Shadow:
    """The candidate's engine."""

    def __init__(self, engine: Engine) -> None:
        """Wrap an engine, empty or restored."""
        self.engine = engine
        self._rules = [msgspec.json.encode(rule.name) for rule in engine.plan.rules]

    def follow(self, act: Act, *, at_head: bool) -> list[Message[bytes]]:
        """Let the engine act; returns the messages for `health.shadow`, one for each account that changed.

        Behind the head, accounts of which only alerts changed are published with the next flush.
        """
        effects = act(self.engine)
        accounts = self.engine.accounts
        scores = {message.key: message.value for message in effects.scores}
        alerted = {message.key for message in effects.alerts} - scores.keys()
        known = {accounts.index.get(key.decode()) for key in alerted}
        rows = np.array(sorted(row for row in known if row is not None and accounts.applied[row]), dtype=np.int64)
        if at_head:
            scores.update((message.key, message.value) for message in self.engine.current(rows).scores)
        else:
            accounts.score_pending[rows] = True
        return [Message(key, self._with_alerts(key, value)) for key, value in scores.items()]

    def _with_alerts(self, key: bytes, value: bytes) -> bytes:
        """Add the names of the rules whose alerts are open to a score message."""
        accounts = self.engine.accounts
        phases = accounts.alerts.phase[accounts.index[key.decode()]]
        rules = b",".join(self._rules[index] for index in np.flatnonzero(is_open(phases)).tolist())
        return b'%b,"alerts":[%b]}' % (value[:-1], rules)


@dataclass(slots=True)
class Pair:
    """The live engine of a partition and, if there is a candidate, a shadow that does the same.

    An error in the shadow removes the shadow and calls `on_failure`; the live engine goes on.
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

    def caught_up(self, most: int | None = None) -> Effects:
        """As `Engine.caught_up`."""
        return self._act(lambda engine: engine.caught_up(most), Mode.HEAD)

    @property
    def catching_up(self) -> bool:
        """Whether one of the engines may have left something unpublished while catching up."""
        return any(engine.catching_up for engine in self._engines())

    @property
    def is_rescoring(self) -> bool:
        """Whether accounts of one of the engines wait for `rescore_next`."""
        return any(engine.is_rescoring for engine in self._engines())

    @property
    def is_rescoring_at_head(self) -> bool:
        """As `Engine.is_rescoring_at_head`, of either engine."""
        return any(engine.is_rescoring_at_head for engine in self._engines())

    @property
    def is_rescoring_of_boundary(self) -> bool:
        """As `Engine.is_rescoring_of_boundary`, of either engine."""
        return any(engine.is_rescoring_of_boundary for engine in self._engines())

    def _engines(self) -> list[Engine]:
        return [self.live] if self.shadow is None else [self.live, self.shadow.engine]

    def rescore_next(self, mode: Mode, most: int) -> Effects:
        """As `Engine.rescore_next`, in a step of this mode."""
        return self._act(lambda engine: engine.rescore_next(most), mode)

    def hand_over(self) -> list[Message[bytes]]:
        """The state of merged accounts that was not sent, as records of the repartition topic; it counts as sent."""
        records = []
        merging, accounts = self.live.merging, self.live.accounts
        for row in merging.pending():
            name, pointer, label = accounts.index.names[row], accounts.merges.into[row], self.live.plan.label
            states = {label: merging.state_of(row), **self._state_by_shadow(name)}
            records += records_of(name, pointer, label, states)
            merging.empty(row)
        return records

    def _state_by_shadow(self, name: str) -> dict[str, RowState]:
        if self.shadow is None:
            return {}
        engine = self.shadow.engine
        try:
            row = engine.accounts.index.get(name)
            if row not in engine.merging.pending():
                return {}
            assert row is not None, "it is pending"
            states = {engine.plan.label: engine.merging.state_of(row)}
            engine.merging.empty(row)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the live scores must go on
            self.shadow = None
            self.on_failure(error)
            return {}
        return states

    def _act(self, act: Act, mode: Mode) -> Effects:
        effects = act(self.live)
        if self.shadow is not None:
            try:
                effects.shadow = self.shadow.follow(act, at_head=mode is Mode.HEAD)
            except Exception as error:  # noqa: BLE001 -- whatever it is, the live scores must go on
                self.shadow = None
                self.on_failure(error)
        return effects

"""A partition task: one partition number, its state, its engines, and the records that wait for them.

Owns what is known of a partition and when it may be worked on (`agents.worker.tasks.task_state` has the states). What
is done with it is the work of `agents.worker.tasks.processor`, `agents.worker.commit.checkpoint` and
`agents.worker.tasks.restorer`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.kafka.record_index import keys_and_values, since
from agents.worker.tasks.standby import Standby
from agents.worker.tasks.task_state import TaskState, TaskStateError, transition
from schemas.sources import Sources
from stream.engine.engine import Engine, Mode
from stream.ingest.batch import Batch
from stream.ingest.merge import Merge
from stream.recovery.collected import Collected
from stream.recovery.namespaces import Namespaces, Opened
from stream.recovery.reconciler import Reconciler
from stream.recovery.shadow import Pair


@dataclass(slots=True, eq=False)
class PartitionTask:
    """One partition number: its state, its engines, what waits for them, and how far behind they are."""

    partition: int
    sources: Sources
    state: TaskState = TaskState.CREATED
    collected: Collected = field(default_factory=Collected)
    """The newest changelog record of each key, while the task is CREATED."""
    collected_from: int | None = None
    """Changelog offset from which records were collected without a gap."""
    collected_up_to: int | None = None
    """Changelog offset after the last record collected."""
    taken_up_to: int | None = None
    """Changelog offset up to which a standby had collected before the task was created; None without a standby."""
    is_opening: bool = False
    """Whether its engine is being made from the records collected, in another thread: none is added meanwhile."""
    pair: Pair = field(init=False)
    """The engine of the live policy and the shadow's; from RESTORING on, as `namespaces`."""
    namespaces: Namespaces = field(init=False)
    reconciler: Reconciler = field(init=False)
    """What the worker before published after its last commit; from RUNNING on."""
    arrived: dict[int, list[Sequence[Any]]] = field(default_factory=dict)
    """Records taken and not decoded yet, fetch by fetch, by source index."""
    merge: Merge = field(init=False)
    mode: Mode = Mode.HEAD
    fetched: dict[int, int] = field(default_factory=dict)
    """Offset after the last record taken, by source index."""
    begins: dict[int, int] = field(default_factory=dict)
    """Offset from which the group reads, by source index, as of when the task was taken over."""
    taken_at: dict[int, float] = field(default_factory=dict)
    """Monotonic time of the last records taken, or asked for again, by source index."""
    blocked_since: dict[int, float] = field(default_factory=dict)
    """Monotonic time since which the merge waits for a source, by source index."""
    not_waited_for: set[int] = field(default_factory=set)
    """Sources that the merge has waited for too long, by source index."""
    applied_at: float = field(default_factory=time.monotonic)
    """Monotonic time of the last step."""
    after_merge: list[Batch] = field(default_factory=list)
    """What was released from the merge of sources and lies after a control that merges accounts, which is not saved."""
    unsaved_merge: bool = False
    """Whether an account was merged since the last commit: nothing is applied until that is saved."""
    commit_soon: bool = False
    """Whether to commit as soon as nothing lags: catching up is over, and a crash now would repeat much of it."""
    changed: bool = False
    """Whether something happened since the last commit."""
    ends: list[int | None] = field(default_factory=list)
    """Where each input ended when records were released last; None where that was not known."""

    def __post_init__(self) -> None:
        """Begin without records."""
        self.merge = Merge(self.sources)

    @property
    def engine(self) -> Engine:
        """The engine of the live policy."""
        return self.pair.live

    # -- states -------------------------------------------------------------------------------------------------------

    def collect(self, records: Sequence[Any], start: int, end: int) -> None:
        """Keep the newest record of each key of the changelog from offset `start` up to before `end`.

        Raises `ValueError` when records before `start` are missing, `TaskStateError` unless the task is CREATED. After
        a standby, a fetch of before the assignment may come late: then nothing is added, and the rest is read again.
        """
        self.require(TaskState.CREATED)
        if self.is_opening:
            return
        if self.taken_up_to is not None and self.collected_up_to is not None:
            up_to = self.collected_up_to
            if start > up_to or end <= up_to:
                return
            start, records = up_to, since(records, up_to)
        if self.collected_up_to is not None and start > self.collected_up_to:
            message = f"changelog partition {self.partition}: records {self.collected_up_to} to {start} did not come"
            raise ValueError(message)
        if self.collected_from is None:
            self.collected_from = start
        self.collected_up_to = end
        self.collected.add(*keys_and_values(records))

    def has_collected(self, first: int, end: int) -> bool:
        """Whether the changelog was collected whole, given the first offset that it still has and its end."""
        begin, up_to = self.collected_from, self.collected_up_to
        if self.taken_up_to is not None:
            return self._goes_on(first, end) and up_to == end
        if first >= end:
            return True
        return begin is not None and begin <= first and up_to is not None and up_to >= end

    def begin_with(self, standby: Standby) -> None:
        """Take over what a standby has collected. Raises `TaskStateError` unless the task is CREATED."""
        self.require(TaskState.CREATED)
        self.collected, self.collected_from = standby.collected, standby.read_from
        self.collected_up_to = self.taken_up_to = standby.read_up_to

    def collect_rest(self, first: int, end: int) -> int | None:
        """The offset from which to read what is missing; None for the beginning, where all is forgotten.

        `first` and `end` are the offsets that the changelog has. Raises `TaskStateError` unless the task is CREATED.
        """
        self.require(TaskState.CREATED)
        if self._goes_on(first, end):
            return self.collected_up_to
        self.collected, self.collected_from, self.collected_up_to = Collected(), None, None
        self.taken_up_to = None
        return None

    def _goes_on(self, first: int, end: int) -> bool:
        """Whether the changelog, with these first offset and end, goes on where a standby has stopped to read it."""
        begin, up_to, taken = self.collected_from, self.collected_up_to, self.taken_up_to
        return begin is not None and up_to is not None and taken is not None and begin <= first <= taken <= up_to <= end

    def restore(self, opened: Opened) -> None:
        """Take the engines made from the changelog: CREATED to RESTORING."""
        self.state = transition(self.state, TaskState.RESTORING)
        self.pair, self.namespaces = opened.pair, opened.namespaces
        self.collected = Collected()

    def run(self, reconciler: Reconciler) -> None:
        """Begin to run, given what was published after the last commit: RESTORING to RUNNING."""
        self.require(TaskState.RESTORING)
        self.reconciler = reconciler
        reconciler.load(self.engine)
        self.namespaces.published_up_to = dict(reconciler.starts)
        self.changed = bool(self.engine.accounts.score_pending.any())  # another policy scores all accounts anew
        if self.pair.catching_up:
            self.mode = Mode.CONFLATED
        self.applied_at = time.monotonic()
        self.state = transition(self.state, TaskState.RUNNING)

    def suspend(self) -> None:
        """Stop applying and publishing: RUNNING to SUSPENDED."""
        self.state = transition(self.state, TaskState.SUSPENDED)

    def resume(self) -> None:
        """Go on after a rebalance that gave the partition back: SUSPENDED to RUNNING."""
        self.state = transition(self.state, TaskState.RUNNING)

    def close(self) -> None:
        """Leave the worker, from any state."""
        self.state = transition(self.state, TaskState.CLOSED)

    def require(self, state: TaskState) -> None:
        """Raise `TaskStateError` unless the task is in this state."""
        if self.state is not state:
            message = f"task {self.partition} is {self.state.value}, not {state.value}"
            raise TaskStateError(message)

    @property
    def waits(self) -> bool:
        """Whether records wait to be applied, or the merge for a source; else no step can follow."""
        return bool(self.arrived or self.merge or self.after_merge or self.blocked_since)

    @property
    def behind(self) -> int:
        """How many records on the broker were not applied when records were released last."""
        position, ends = self.engine.position, zip(self.sources.inputs, self.ends, strict=True)
        return sum(max(0, (end or 0) - position[name]) for name, end in ends)

    # -- progress -----------------------------------------------------------------------------------------------------

    def reached(self, source_index: int) -> int:
        """Offset up to which a source has been taken."""
        return self.fetched.get(source_index, self.engine.position[self.sources.inputs[source_index]])

    def unread(self, source_index: int) -> int:
        """Offset from which a source is still to be read.

        Before anything was taken it can lie before what is settled: after a crash in the middle of a commit, records
        are read once more for their ids, and their offsets are committed then.
        """
        if source_index in self.fetched:
            return self.fetched[source_index]
        return min(self.reached(source_index), self.begins.get(source_index, self.reached(source_index)))

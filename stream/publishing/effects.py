"""Effects of one call of the engine: messages to publish, records to dead-letter or forward, counts. Data only.

Returned by `stream.engine.engine`, carried out by `agents.worker.tasks.processor`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

B_co = TypeVar("B_co", bound=bytes | None, covariant=True)


class Message(NamedTuple, Generic[B_co]):
    """One record to write; `B_co` says whether key and value may be None, `timestamp_ms` None is now."""

    key: B_co
    value: B_co
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp_ms: int | None = None


class DeadLetter(NamedTuple):
    """A record to dead-letter: number of its batch in the step, offset, one of `schemas.codecs.REASONS`, a message."""

    batch: int
    offset: int
    reason: str
    message: str


class Forward(NamedTuple):
    """A record of another partition: number of its batch in the step, its offset, its account.

    `merged` is the account whose record it is, where it counts for another one because of a merge.
    """

    batch: int
    offset: int
    account: str
    merged: str | None = None


class Erased(NamedTuple):
    """An erased account by its record key, and whether a worker before has written its tombstone to the changes."""

    account: bytes
    in_changes: bool


@dataclass(slots=True)
class Effects:
    """Everything one call of the engine causes, in order."""

    scores: list[Message[bytes]] = field(default_factory=list)
    changes: list[Message[bytes]] = field(default_factory=list)
    alerts: list[Message[bytes]] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    forwards: list[Forward] = field(default_factory=list)
    claims: list[Message[bytes]] = field(default_factory=list)
    """Records of the repartition topic: merges that follow from aliases of profiles (see `stream.ingest.aliases`)."""
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Records by (source, outcome), every one that the call was given, `replayed` ones too."""
    causes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Score changes by (score, cause)."""
    alerted: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Alerts by (rule, status)."""
    flaps: Counter[str] = field(default_factory=Counter)
    """Alerts that fired less than a day after they were resolved, by rule."""
    erased: list[Erased] = field(default_factory=list)
    """Accounts that were erased: published before everything else, which is about what came after."""
    shadow: list[Message[bytes]] = field(default_factory=list)
    """Records of `health.shadow`: scores by a candidate policy (see `stream.recovery.shadow`)."""

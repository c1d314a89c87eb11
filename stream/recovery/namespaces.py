"""State namespaces: which changelog records are the live policy's state and which a candidate's, and promotion.

Owns the namespaces of a partition. A namespace is the whole state of one engine; its records have the namespace's name
before their keys: nothing for the first live one, else `x` and 8 bytes. Record `b` names the live namespace; `a` and
`c` are the offsets in `health.alerts` and `health.score-changes` up to which it knows what was published (see
`stream.recovery.reconciler`); `w` says who wrote the partition last (see `stream.recovery.writer`); `u` says that a
command which replaces the state has not finished. A candidate starts with a copy of the live namespace, migrated as for
any new policy. When the candidate is promoted, its namespace becomes the live one and takes from the previous one what
was published, see `stream.recovery.promotion`. Pure; called by `agents.worker.tasks.processor` and
`agents.worker.commit.checkpoint`.

Every prefix of a snapshot can be recovered from: a candidate's records come before the live ones, so its namespace is
never behind. One that is behind (no worker ran it for a while) is detected and started anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import xxhash

from schemas.topics import ALERTS, CHANGES
from stream.columns.row_schema import RowSchemaError
from stream.engine.engine import Engine
from stream.plan.plan import Plan
from stream.publishing.effects import Message
from stream.recovery import changelog
from stream.recovery.collected import Collected, Namespace
from stream.recovery.promotion import take_over
from stream.recovery.record_form import (
    NAMESPACE_TAG,
    STATE_KEY,
    TAGS,
    State,
    live_name_of,
    mark_of,
    read_state,
)
from stream.recovery.shadow import Pair, Shadow
from stream.recovery.writer import WRITER_KEY, Writer, decode_writer, encode_writer

LIVE_KEY = b"b"
UNFINISHED_KEY = b"u"
"""The record that a command writes before it replaces the state of a partition, and deletes when it has."""
PUBLISHED_KEYS = {ALERTS: b"a", CHANGES: b"c"}
Record = tuple[bytes, bytes | None]


@dataclass(slots=True)
class Namespaces:
    """The names of a partition's namespaces, and records to write once beside the engines' own."""

    live: bytes = b""
    shadow: bytes | None = None
    first: list[Record] = field(default_factory=list)
    """To write before the shadow's records: the copy of the live namespace that a new shadow starts with."""
    last: list[Record] = field(default_factory=list)
    """To write after the live records: the name of a promoted namespace, tombstones of those that are not used."""
    published_up_to: dict[str, int] = field(default_factory=dict)
    """Offset in a topic of `PUBLISHED_KEYS` before which the live namespace knows everything that was published."""
    writer: Writer | None = None
    """Who wrote the partition last; from RUNNING on, this worker. None where no worker did, or an earlier version."""
    saved_position: dict[str, int] | None = None
    """Position of the restored live state by source; None where the changelog has no state."""
    removed: list[bytes] = field(default_factory=list)
    """Keys of `health.shadow` to write tombstones for: accounts of a shadow that does not run any more."""

    @property
    def waits(self) -> bool:
        """Whether there is something to write though no event was applied."""
        return bool(self.first or self.last or self.removed)

    def tombstones(self) -> list[Message[bytes | None]]:
        """The tombstones that empty `health.shadow` when no shadow runs any more; returned once."""
        removed, self.removed = self.removed, []
        return [Message(key, None) for key in removed]

    def marks(self, topics: Iterable[str]) -> list[Record]:
        """Records of `published_up_to`, of the topics for which it is known."""
        known = self.published_up_to
        return [(PUBLISHED_KEYS[topic], b"%d" % known[topic]) for topic in topics if topic in known]

    def identity(self) -> list[Record]:
        """The record that names the worker, once it is known that it may take the partition over."""
        return [] if self.writer is None else [(WRITER_KEY, encode_writer(self.writer))]

    def row_schemas(self, pair: Pair) -> list[Record]:
        """The schemas of the rows that are written now, the shadow's first."""
        records: list[Record] = [_named(self.live, changelog.row_schema_record(pair.live))]
        if pair.shadow is not None and self.shadow is not None:
            records.insert(0, _named(self.shadow, changelog.row_schema_record(pair.shadow.engine)))
        return records

    def snapshot(self, pair: Pair) -> list[Record]:
        """The records of both engines in writing order, see `stream.recovery.changelog.snapshot`."""
        records: list[Record] = []
        if pair.shadow is not None and self.shadow is not None:
            engine = pair.shadow.engine
            for source, offset in pair.live.position.items():
                engine.position[source] = max(engine.position[source], offset)
            records += self.first
            records += [_named(self.shadow, record) for record in changelog.snapshot(engine)]
        records += [_named(self.live, record) for record in changelog.snapshot(pair.live)]
        records += self.last
        self.first, self.last = [], []
        return records


@dataclass(frozen=True, slots=True)
class Opened:
    """The engines of a partition, and what restoring them did.

    `missing` and `shadow_missing` say by measure which history was not kept. `promoted` says that a candidate's
    namespace became the live one, `begun` that the shadow's is new.
    """

    pair: Pair
    namespaces: Namespaces
    missing: dict[str, str]
    shadow_missing: dict[str, str]
    promoted: bool
    begun: bool


def open_namespaces(
    records: Mapping[bytes, bytes], plan: Plan, candidate: Plan | None, make: Callable[[Plan], Engine]
) -> Opened:
    """Restore the engines of a partition from the latest value of every changelog key.

    `make` returns an empty engine for a policy. A candidate that is the live policy itself is not run. Raises
    `stream.columns.row_schema.RowSchemaError`.
    """
    if UNFINISHED_KEY in records:
        command = records[UNFINISHED_KEY].decode(errors="replace")
        msg = f"the state is incomplete: `{command}` was interrupted; run it again"
        raise RowSchemaError(msg)
    namespaces = _split(records)
    previous = live_name_of(records[LIVE_KEY], namespaces) if LIVE_KEY in records else b""
    promoted = None if _policy(namespaces, previous) == plan.label else _namespace_of(plan.label, namespaces, previous)
    live = previous if promoted is None else promoted
    engine = make(plan)
    missing = changelog.restore(engine, namespaces.get(live, Namespace()))
    published_up_to = {topic: mark_of(records[key]) for topic, key in PUBLISHED_KEYS.items() if key in records}
    opened = Namespaces(live, published_up_to=published_up_to)
    opened.writer = decode_writer(records[WRITER_KEY]) if WRITER_KEY in records else None
    opened.saved_position = _position(namespaces, live)
    if promoted is not None:
        publisher = make(plan)
        previous_records = namespaces.get(previous, Namespace()).items()
        changelog.restore(publisher, {key: value for key, value in previous_records if key[:1] in _PUBLISHED_TAGS})
        take_over(engine, publisher)
        opened.last.append((LIVE_KEY, live))
    pair, shadow_missing, begun = Pair(engine), dict[str, str](), False
    if candidate is not None and candidate.label != plan.label:
        name = _namespace_of(candidate.label, namespaces, live)
        begun = name is None
        source = namespaces.get(live if name is None else name, Namespace())
        if name is None:
            name = _new_name(candidate, source)
            opened.first = [(name + key, value) for key, value in source.items() if key != STATE_KEY]
        opened.shadow = name
        pair.shadow = Shadow(make(candidate))
        shadow_missing = changelog.restore(pair.shadow.engine, source)
    for name, namespace in namespaces.items():
        if name not in (opened.live, opened.shadow):
            opened.last += [(name + key, None) for key in namespace]
        if name != previous and pair.shadow is None:
            opened.removed += [key[1:] for key in namespace if key[:1] == b"r"]
    return Opened(pair, opened, missing, shadow_missing, promoted is not None, begun)


_PUBLISHED_TAGS = (b"l", b"r", b"t", STATE_KEY)
"""Tags of the records that say what was published: row schemas, rows, peer tables, state."""


OF_THE_PARTITION = (LIVE_KEY, WRITER_KEY, UNFINISHED_KEY, *PUBLISHED_KEYS.values())
"""Keys of records that belong to no namespace."""
_KNOWN_TAGS = frozenset(TAGS)


def _named(name: bytes, record: Record) -> Record:
    return name + record[0], record[1]


def _split(records: Mapping[bytes, bytes]) -> dict[bytes, Namespace]:
    """The namespaces by name; their records have keys without the name.

    Raises `RowSchemaError` for a kind of record that this version does not know.
    """
    collected = records if isinstance(records, Collected) else Collected.of(records)
    namespaces = collected.namespaces(OF_THE_PARTITION)
    if not {tag for namespace in namespaces.values() for tag in namespace.tags()} <= _KNOWN_TAGS:
        msg = "this version does not know its kind: a later version may have written it"
        raise RowSchemaError(msg)
    return namespaces


def _state(namespaces: Mapping[bytes, Namespace], name: bytes) -> State | None:
    state = namespaces.get(name, Namespace()).get(STATE_KEY)
    return None if state is None else read_state(state)


def _position(namespaces: Mapping[bytes, Namespace], name: bytes) -> dict[str, int] | None:
    state = _state(namespaces, name)
    return None if state is None else state.position


def _policy(namespaces: Mapping[bytes, Namespace], name: bytes) -> str | None:
    state = _state(namespaces, name)
    return None if state is None else state.policy


def _namespace_of(label: str, namespaces: Mapping[bytes, Namespace], live: bytes) -> bytes | None:
    """The name of a policy's namespace that is not the live one and has settled as much of every source, or None."""
    settled = _position(namespaces, live) or {}
    for name in sorted(namespaces):
        position = _position(namespaces, name)
        if name == live or position is None or _policy(namespaces, name) != label:
            continue
        if all(position.get(source, 0) >= offset for source, offset in settled.items()):
            return name
    return None


def _new_name(candidate: Plan, source: Namespace) -> bytes:
    """A name that differs for each candidate and each position it starts from."""
    position = read_state(source[STATE_KEY]).position if STATE_KEY in source else {}
    return NAMESPACE_TAG + xxhash.xxh3_64_digest(json.dumps([candidate.label, position]).encode())

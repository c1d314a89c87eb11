"""Whose state a changelog record is: the live policy's or a candidate's, and how the one becomes the other.

Owns the books of a partition. A book is one engine's whole state; its records carry the book's name before their key:
nothing for the first live one, else `x` and 8 bytes. The record `b` names the live book, `a` and `c` say up to which
offset of `health.alerts` and `health.score-changes` it is known what was told (see `stream.recovery.alert_reconciler`,
`stream.publishing.baseline`). A candidate begins with a copy of the live book, migrated as for any new policy. When
the candidate is the live policy one day, its book becomes the live one, and only what had been told to the world comes
from the book before. Pure; called by `agents.worker.processor` and `agents.worker.checkpoint`.

Every prefix of a snapshot is safe to recover from: a candidate's records come before the live ones, so that its book is
never behind, and one that is behind (no worker ran it for a while) is known as such and begun anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash

from schemas.topics import ALERTS, CHANGES
from stream.accounts.accounts import NO_BAND
from stream.accounts.alert_state import TOLD
from stream.engine.engine import Engine
from stream.plan.plan import Plan
from stream.publishing.effects import Message
from stream.recovery import changelog
from stream.recovery.changelog import NAMESPACE_TAG, STATE_KEY, namespace_of
from stream.recovery.shadow import Pair, Shadow

LIVE_KEY = b"b"
TOLD_KEYS = {ALERTS: b"a", CHANGES: b"c"}
Record = tuple[bytes, bytes | None]
Namespace = dict[bytes, bytes]
_PUBLISHED = {
    "last_published_score": 0,
    "last_published_band": NO_BAND,
    "last_published_parts": 0,
    "override_published": 0,
}
"""What accounts remember of what was published, and its value where nothing was."""


@dataclass(slots=True)
class Namespaces:
    """Where the engines of a partition write, and what is still to be written before and after they do."""

    live: bytes = b""
    shadow: bytes | None = None
    first: list[Record] = field(default_factory=list)
    last: list[Record] = field(default_factory=list)
    told: dict[str, int] = field(default_factory=dict)
    """Offset in a topic of `TOLD_KEYS` before which nothing was told that the live book does not know."""
    gone: list[bytes] = field(default_factory=list)
    """Keys of accounts that a shadow knew and none does any more."""

    @property
    def waits(self) -> bool:
        """Whether something is to be written though nothing has happened."""
        return bool(self.first or self.last or self.gone)

    def tombstones(self) -> list[Message[bytes | None]]:
        """Once, what empties `health.shadow` when there is no shadow any more."""
        gone, self.gone = self.gone, []
        return [Message(key, None) for key in gone]

    def marks(self, topics: Iterable[str]) -> list[Record]:
        """Up to where of topics the live book knows what was told, of those of which that is known."""
        return [(TOLD_KEYS[topic], b"%d" % self.told[topic]) for topic in topics if topic in self.told]

    def row_schemas(self, pair: Pair) -> list[Record]:
        """The layouts of rows as they are written now."""
        found: list[Record] = [_named(self.live, changelog.row_schema_record(pair.live))]
        if pair.shadow is not None and self.shadow is not None:
            found.insert(0, _named(self.shadow, changelog.row_schema_record(pair.shadow.engine)))
        return found

    def snapshot(self, pair: Pair) -> list[Record]:
        """The records of both engines in writing order, see `stream.recovery.changelog.snapshot`."""
        records: list[Record] = []
        if pair.shadow is not None and self.shadow is not None:
            engine = pair.shadow.engine
            for name, at in pair.live.position.items():
                engine.position[name] = max(engine.position[name], at)
            records += self.first
            records += [_named(self.shadow, record) for record in changelog.snapshot(engine)]
        records += [_named(self.live, record) for record in changelog.snapshot(pair.live)]
        records += self.last
        self.first, self.last = [], []
        return records


@dataclass(frozen=True, slots=True)
class Opened:
    """What a partition's changelog has become.

    `lacks` and `shadow_lacks` name measures whose history was not kept, and what lacks; `promoted` tells that a
    candidate's book has become the live one, `begun` that the shadow's is new.
    """

    pair: Pair
    namespaces: Namespaces
    lacks: dict[str, str]
    shadow_lacks: dict[str, str]
    promoted: bool
    begun: bool


def open_namespaces(
    records: Mapping[bytes, bytes], plan: Plan, candidate: Plan | None, make: Callable[[Plan], Engine]
) -> Opened:
    """The engines of a partition from the latest value of every changelog key.

    `make` gives an empty engine for a policy. A candidate that is the live policy itself is not run. Raises
    `stream.columns.row_schema.LayoutError`.
    """
    namespaces = _split(records)
    before = records.get(LIVE_KEY, b"")
    found = None if _policy(namespaces, before) == plan.label else _namespace_of(plan.label, namespaces, before)
    live = before if found is None else found
    engine = make(plan)
    lacks = changelog.restore(engine, namespaces.get(live, {}))
    kept = Namespaces(live, told={topic: int(records[key]) for topic, key in TOLD_KEYS.items() if key in records})
    if found is not None:
        told = make(plan)
        changelog.restore(
            told, {key: value for key, value in namespaces.get(before, {}).items() if key[:1] in _TELLING}
        )
        take_over(engine, told)
        kept.last.append((LIVE_KEY, live))
    pair, shadow_lacks, begun = Pair(engine), dict[str, str](), False
    if candidate is not None and candidate.label != plan.label:
        name = _namespace_of(candidate.label, namespaces, live)
        begun = name is None
        source = namespaces.get(live if name is None else name, {})
        if name is None:
            name = _new_name(candidate, source)
            kept.first = [(name + key, value) for key, value in source.items() if key != STATE_KEY]
        kept.shadow = name
        pair.shadow = Shadow(make(candidate))
        shadow_lacks = changelog.restore(pair.shadow.engine, source)
    for name, namespace in namespaces.items():
        if name not in (kept.live, kept.shadow):
            kept.last += [(name + key, None) for key in namespace]
        if name != before and pair.shadow is None:
            kept.gone += [key[1:] for key in namespace if key[:1] == b"r"]
    return Opened(pair, kept, lacks, shadow_lacks, found is not None, begun)


_TELLING = (b"l", b"r", b"t", STATE_KEY)
"""Tags of the records in which it stands what was told: layouts, rows, tables of peers, state."""


def _named(name: bytes, record: Record) -> Record:
    return name + record[0], record[1]


def _split(records: Mapping[bytes, bytes]) -> dict[bytes, Namespace]:
    """The books by name, with the keys that records have in them."""
    namespaces: dict[bytes, Namespace] = {}
    for key, value in records.items():
        if key not in (LIVE_KEY, *TOLD_KEYS.values()):
            name = namespace_of(key)
            namespaces.setdefault(name, {})[key[len(name) :]] = value
    return namespaces


def _state(namespaces: Mapping[bytes, Namespace], name: bytes) -> dict[str, Any]:
    state = namespaces.get(name, {}).get(STATE_KEY)
    return {} if state is None else json.loads(state)


def _policy(namespaces: Mapping[bytes, Namespace], name: bytes) -> str | None:
    return _state(namespaces, name).get("policy")


def _namespace_of(label: str, namespaces: Mapping[bytes, Namespace], live: bytes) -> bytes | None:
    """The book of a policy, beside the live one, that has come at least as far in every source; None without one."""
    reached = _state(namespaces, live).get("position", {})
    for name in sorted(namespaces):
        position = _state(namespaces, name).get("position")
        if name == live or position is None or _policy(namespaces, name) != label:
            continue
        if all(position.get(source, 0) >= at for source, at in reached.items()):
            return name
    return None


def _new_name(candidate: Plan, source: Namespace) -> bytes:
    """Another name for each candidate and each moment at which it begins."""
    position = json.loads(source[STATE_KEY])["position"] if STATE_KEY in source else {}
    return NAMESPACE_TAG + xxhash.xxh3_64_digest(json.dumps([candidate.label, position]).encode())


def take_over(engine: Engine, told: Engine) -> None:
    """Let a promoted engine go on from what the world was told, which `told` (of the same plan) remembers.

    What accounts look like is the engine's own; what was said last of them, which alerts are open and what people said
    of these is `told`'s. What differs is published with the next scores, each change with the cause `policy`.
    """
    mine, theirs = engine.accounts, told.accounts
    some = np.arange(len(theirs), dtype=np.int64)
    rows = mine.index.adopt(theirs.index.keys_of(some))
    mine.reserve()
    for name, nothing in _PUBLISHED.items():
        getattr(mine, name)[:] = nothing
        getattr(mine, name)[rows] = getattr(theirs, name)[some]
    for name in TOLD:
        getattr(mine.alerts, name)[:] = 0
        getattr(mine.alerts, name)[rows] = getattr(theirs.alerts, name)[some]
    # Revisions never go back, and who has a record is an account, also where the candidate found all its events late.
    mine.applied[rows] = np.maximum(mine.applied[rows], theirs.applied[some])
    mine.last_ms[rows] = np.maximum(mine.last_ms[rows], theirs.last_ms[some])
    places = rows.tolist()
    mine.alerts.orphans = {places[row]: found for row, found in theirs.alerts.orphans.items()}
    for row, acknowledgements in theirs.acknowledgements.items():
        mine.acknowledgements[places[row]] = {**mine.acknowledgements.get(places[row], {}), **acknowledgements}
    engine.peers.taken = max(engine.peers.taken, told.peers.taken)
    engine.alert_emitter.storm.load(told.alert_emitter.storm.saved())
    engine.idle_source_alerts.open.clear()
    engine.idle_source_alerts.open.update(told.idle_source_alerts.open)
    engine.rescore_without_publishing()
    alive = mine.alive()
    for flags in (mine.policy_changed, mine.changed, mine.score_pending, mine.dirty):
        flags[alive] = True

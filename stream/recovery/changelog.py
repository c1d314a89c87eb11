"""The engine's state as changelog records, and back.

Owns keys and the order of records. A snapshot is written in this order: layout, member pages, rows, state, ids. Every
prefix of it is safe to recover from: members are idempotent, a row carries its own fence, the state says how far
records are settled, and ids come last because an id without its row would lose the event. Pure; called by
`agents.worker.store` and `agents.worker.checkpoint`.

Keys begin with a tag byte: l layout (hash), p page (column hash, page number, account), r row (account), t tables of
peers (id), s state, i ids (source, generation, segment). Before it may stand the name of a book (see
`stream.recovery.namespaces`): x and 8 bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xxhash

from schemas.codecs import encode
from schemas.peers import read_message
from stream.columns.columns import FactColumn, PaneColumn
from stream.columns.members import Members
from stream.columns.row_schema import RowSchema, RowSchemaError, header_of, row_age, row_schema_of
from stream.engine.engine import Engine
from stream.ingest.event_ids import Segment

STATE_KEY = b"s"
NAMESPACE_TAG = b"x"
_NAMESPACE_BYTES = 9
_PAGE_KEY = struct.Struct(">8sI")
_PAGE_HEAD = np.dtype([("tag", "S9"), ("number", ">u4")])
_SEGMENT_KEY = struct.Struct(">II")
_AGE = struct.Struct("<q")
"""Events applied to the account when a page was written."""


def row_schema_record(engine: Engine) -> tuple[bytes, bytes]:
    """What rows written now look like; the same record as long as no column widens."""
    row_schema = engine.accounts.row_schema()
    return b"l" + row_schema.digest, row_schema.describe()


def snapshot(engine: Engine) -> list[tuple[bytes, bytes | None]]:
    """Records to write, in order (a None value deletes), for all that changed since the last snapshot.

    The engine counts them as written from now on: who takes them must write them or drop the engine.
    """
    accounts = engine.accounts
    names = accounts.index.names
    rows = np.flatnonzero(accounts.dirty)
    accounts.dirty[rows] = False
    row_schema = accounts.row_schema()
    records: list[tuple[bytes, bytes | None]] = [row_schema_record(engine)]
    for column in engine.members():
        tag = _column_tag(column)
        records += [
            (
                b"p" + _PAGE_KEY.pack(tag, page.number) + names[page.row].encode(),
                None if page.value is None else _AGE.pack(accounts.applied[page.row]) + page.value,
            )
            for page in column.save()
        ]
    values = accounts.save(rows, engine.as_of or 0, row_schema, engine.time.source_clocks)
    records += [(b"r" + key, value) for key, value in zip(accounts.index.keys_of(rows), values, strict=True)]
    tables, gone = engine.peers.to_save()
    records += [(_table_key(table.id), encode(table)) for table in tables]
    records.append((STATE_KEY, _describe_state(engine)))
    records += [(_table_key(name), None) for name in gone]
    for source, seen in engine.seen.items():
        head = b"i" + source.encode() + b"\0"
        records += [(head + _SEGMENT_KEY.pack(part.generation, part.number), part.value) for part in seen.save()]
    return records


def keep_newer(kept: dict[bytes, bytes], key: bytes, value: bytes | None) -> None:
    """Take one changelog record, in the order of the log, into the newest value of each key.

    The last record is not always the newest: a worker that was frozen past its session may still have written once
    before it learned that its partitions had gone. Rows and pages carry how many events they hold, ids only grow, the
    state says how far it has settled; the one that holds more stays.
    """
    if value is None:
        kept.pop(key, None)
        return
    known = kept.get(key)
    if known is None or _age(key, value) >= _age(key, known):
        kept[key] = value


def namespace_of(key: bytes) -> bytes:
    """The name of the book that a record belongs to; empty for the first."""
    return key[:_NAMESPACE_BYTES] if key[:1] == NAMESPACE_TAG else b""


def _age(key: bytes, value: bytes) -> int:
    tag = key[len(namespace_of(key)) :][:1]
    if tag == b"r":
        return row_age(value)
    if tag == b"p":
        return int(_AGE.unpack_from(value)[0])
    if tag == b"s":
        return sum(json.loads(value)["position"].values())
    return len(value) if tag == b"i" else 0


def restore(engine: Engine, records: Mapping[bytes, bytes]) -> dict[str, str]:
    """Fill an empty engine from the latest value of every changelog key.

    Returns, where rows were written under another policy, the measures whose history they do not hold, and what lacks.
    Raises `RowSchemaError`, naming the key, when a record can not be read: an account must never come back silently
    empty.
    """
    state = json.loads(records[STATE_KEY]) if STATE_KEY in records else {}
    keys: dict[int, list[bytes]] = {}
    for key in records:
        keys.setdefault(key[0], []).append(key)
    row_schemas = {key[1:]: RowSchema.read(records[key]) for key in keys.get(ord("l"), ())}
    rows = _read_rows(records, keys.get(ord("r"), []), row_schemas)
    moments = [int(record["as_of"].max()) for _, record, _ in rows.values() if len(record)]
    as_of = max([*moments, state.get("as_of") or 0])
    saved_rows = [record for _, record, _ in rows.values() if len(record)]
    engine.time.load(
        lateness_ms=state.get("judged"),
        watermarks=state.get("watermarks", {}),
        source_clocks=_clocks(engine, saved_rows),
    )
    engine.idle_source_alerts.open.update(state.get("stalls", {}))
    engine.alert_emitter.storm.load(state.get("storm"))
    if as_of:
        engine.restart(as_of)
        passed = [int(record["passed"].max()) for record in saved_rows if "passed" in (record.dtype.names or ())]
        if max(passed, default=-1) >= 0:
            engine.accounts.alerts.restart(max(passed))
    accounts = engine.accounts
    for digest, (owners, record, profiles) in rows.items():
        places = accounts.index.adopt(owners)
        accounts.reserve()
        accounts.load(places, record, row_schemas[digest])
        for at, profile in profiles.items():
            accounts.load_texts(int(places[at]), profile)
    _load_pages(engine, records, keys.get(ord("p"), []))
    _load_ids(engine, records, keys.get(ord("i"), []))
    engine.position.update({name: at for name, at in state.get("position", {}).items() if name in engine.position})
    engine.settled.update({(source, outcome): count for source, outcome, count in state.get("settled", [])})
    engine.peers.taken = state.get("tables", 0)
    if engine.plan.peers and "peers" in state:
        name = state["peers"]
        if _table_key(name) not in records:
            msg = f"the tables of peers {name!r} that the state names are not in the changelog"
            raise RowSchemaError(msg)
        saved = [key[1:].decode() for key in keys.get(ord("t"), ())]
        engine.peers.load(read_message(records[_table_key(name)]), saved)
    engine.rescore_without_publishing()
    if rows and state.get("policy", engine.plan.label) != engine.plan.label:
        alive = accounts.alive()
        for flags in (accounts.policy_changed, accounts.changed, accounts.score_pending, accounts.dirty):
            flags[alive] = True
        accounts.forecast_day[alive] = 0
        return _lacking(engine, row_schemas.values(), keys.get(ord("p"), []))
    return {}


def _clocks(engine: Engine, records: Iterable[np.ndarray[tuple[int], np.dtype[np.void]]]) -> dict[str, int]:
    """How far the clocks of sources that can stall have come in any row (ms)."""
    found: dict[str, int] = {}
    for record in records:
        for source in set(engine.plan.held_columns.values()):
            if f"clock/{source}" in (record.dtype.names or ()):
                found[source] = max(found.get(source, 0), int(record[f"clock/{source}"].max()))
    return found


def _table_key(name: str) -> bytes:
    return b"t" + name.encode()


def _lacking(engine: Engine, row_schemas: Iterable[RowSchema], pages: list[bytes]) -> dict[str, str]:
    """Measures that need events from before the policy changed which no row has kept."""
    kept: dict[str, int] = {}
    for row_schema in row_schemas:
        for field in row_schema.dtype.names or ():
            shape = row_schema.dtype[field].shape
            name = field.rpartition("#")[0] if shape else field.removesuffix("/time")
            kept[name] = max(kept.get(name, 0), *shape, 1)
    tags = {key[1:9] for key in pages}
    found = {}
    for part in engine.plan.measures:
        for place in part.columns:
            column = engine.columns[place]
            if isinstance(column, FactColumn):
                continue
            if isinstance(column, Members):
                empty, panes = _column_tag(column) not in tags, column.panes
            else:
                empty, panes = column.name not in kept, kept.get(column.name, 0)
            if empty:
                found[part.measure.name] = "starts empty: nothing of what it reads was kept"
            elif isinstance(column, PaneColumn) and panes < part.measure.reach:
                found[part.measure.name] = (
                    f"has {panes} of the {part.measure.reach} {column.unit}s it looks back: older events were not kept"
                )
    return found


def _describe_state(engine: Engine) -> bytes:
    settled = [[source, outcome, count] for (source, outcome), count in sorted(engine.settled.items())]
    state: dict[str, Any] = {
        "as_of": engine.as_of,
        "judged": engine.time.lateness_ms,
        "policy": engine.plan.label,
        "position": engine.position,
        "settled": settled,
        "watermarks": dict(engine.time.watermarks),
    }
    if engine.peers.taken:
        state["tables"] = engine.peers.taken
    if engine.peers.message is not None:
        state["peers"] = engine.peers.message.id
    if engine.idle_source_alerts.open:
        state["stalls"] = engine.idle_source_alerts.open
    if engine.alert_emitter.storm.since:
        state["storm"] = engine.alert_emitter.storm.saved()
    return json.dumps(state).encode()


Rows = dict[bytes, tuple[list[bytes], "np.ndarray[tuple[int], np.dtype[np.void]]", dict[int, bytes]]]


def _read_rows(records: Mapping[bytes, bytes], keys: list[bytes], row_schemas: dict[bytes, RowSchema]) -> Rows:
    """Rows by layout digest: account keys, fixed parts as one structured array, profile parts by place in it."""
    by_header: dict[bytes, list[bytes]] = {}
    for key in keys:
        by_header.setdefault(header_of(records[key]), []).append(key)
    rows: Rows = {}
    for header, some in by_header.items():
        try:
            row_schema = row_schema_of(header, row_schemas)
        except RowSchemaError as error:
            msg = f"changelog row of account {some[0][1:].decode()!r}: {error}"
            raise RowSchemaError(msg) from error
        values = list(map(records.__getitem__, some))
        width = row_schema.dtype.itemsize
        profiles = {at: value[width:] for at, value in enumerate(values) if len(value) > width}
        if profiles:
            values = [value[:width] for value in values]
        rows[row_schema.digest] = (
            [key[1:] for key in some],
            np.frombuffer(b"".join(values), row_schema.dtype),
            profiles,
        )
    return rows


def _column_tag(column: Members) -> bytes:
    return xxhash.xxh3_64_digest(column.name.encode())


def _load_pages(engine: Engine, records: Mapping[bytes, bytes], keys: list[bytes]) -> None:
    for column in engine.members():
        tag = b"p" + _column_tag(column)
        some = [key for key in keys if key.startswith(tag)]
        if some:
            heads = np.frombuffer(b"".join([key[: 1 + _PAGE_KEY.size] for key in some]), dtype=_PAGE_HEAD)
            rows = engine.accounts.index.adopt([key[1 + _PAGE_KEY.size :] for key in some])
            engine.accounts.reserve()
            column.load(rows, heads["number"].astype(np.int64), [records[key][_AGE.size :] for key in some])


def _load_ids(engine: Engine, records: Mapping[bytes, bytes], keys: list[bytes]) -> None:
    found: dict[str, list[Segment]] = {}
    for key in keys:
        source, _, rest = key[1:].partition(b"\0")
        generation, number = _SEGMENT_KEY.unpack(rest)
        found.setdefault(source.decode(), []).append(Segment(generation, number, records[key]))
    for name, segments in found.items():
        if name in engine.seen:
            engine.seen[name].load(segments)

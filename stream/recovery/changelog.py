"""The engine's state as changelog records: `snapshot` writes them, `restore` reads them.

Owns the keys and the order of records. A snapshot is written in this order: row schema, history, member pages, rows,
state, ids. Every prefix of it can be recovered from: members are idempotent, a row has its own applied offsets, the
state says which records are settled, and ids come last because an id without its row would lose the event. Rows and
pages of erased accounts are deleted after a state that names them, so that a replay before it finds them as they were;
the same state without the names follows (decision 42). Pure; called
by `agents.worker.tasks.task`, `agents.worker.commit.checkpoint` and `stream.recovery.namespaces`.

Keys begin with a tag byte: l row schema (hash), h history, p page (column hash, page number, account), r row (account),
t peer tables (id), s state, i ids (source and `/account`, generation, segment). Before it may stand the name of a
namespace (see `stream.recovery.namespaces`): x and 8 bytes. A key with another tag is refused: a later version wrote
it, and state that is not understood must not be dropped.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xxhash

from schemas.codecs import encode
from schemas.peers import PeersMessage
from schemas.records import read_message
from stream.accounts.accounts import Accounts
from stream.accounts.overrides import prune_ended, settle_ended
from stream.accounts.row_codec import before_of, decode_rows, decode_texts, encode_rows, row_schema_of_accounts
from stream.columns.members import Members
from stream.columns.row_schema import RowSchema, RowSchemaError
from stream.columns.things import Things
from stream.engine.engine import Engine
from stream.ingest.aggregation import too_late
from stream.ingest.event_ids import Segment
from stream.recovery.collected import Namespace
from stream.recovery.history import HISTORY_KEY, history_record, incomplete_texts, restore_history
from stream.recovery.listing import Listing
from stream.recovery.record_form import (
    AGE,
    PAGE_HEAD,
    PAGE_KEY,
    PAGE_KEY_BYTES,
    SEGMENT_KEY,
    STATE_KEY,
    State,
    account_of,
    is_newer,
    read_state,
    require_whole_pages,
    segment_of,
)
from stream.recovery.saved_rows import SavedRows, rows_by_schema

Record = tuple[bytes, bytes | None]
OF_ACCOUNTS = "/account"
"""After the source in the key of event ids: they are hashed with their account. 0.1.0 saved ids alone, without it."""


def row_schema_record(engine: Engine) -> tuple[bytes, bytes]:
    """What rows written now look like; the same record as long as no column widens."""
    row_schema = row_schema_of_accounts(engine.accounts)
    return b"l" + row_schema.digest, row_schema.describe()


def snapshot(engine: Engine) -> list[Record]:
    """Records to write, in order (a None value deletes), for all that changed since the last snapshot.

    The engine counts them as written from now on: who takes them must write them or drop the engine.
    """
    accounts = engine.accounts
    _prune_overrides(engine)
    row_schema = row_schema_of_accounts(accounts)
    records: list[Record] = [*((key, None) for key in engine.leftovers), row_schema_record(engine)]
    engine.leftovers = []
    changed_history = history_record(engine)
    if changed_history is not None:
        records.append(changed_history)
    gone = {row for row in accounts.erased if accounts.is_empty(row)}
    pages, deletions = _pages(engine, gone)
    records += pages
    accounts.dirty[list(gone)] = False
    rows = np.flatnonzero(accounts.dirty)
    accounts.dirty[rows] = False
    values = encode_rows(accounts, rows, engine.as_of or 0, row_schema, engine.time.source_clocks)
    records += [(b"r" + key, value) for key, value in zip(accounts.index.keys_of(rows), values, strict=True)]
    tables, unused = engine.peers.to_save()
    records += [(_table_key(table.id), encode(table)) for table in tables]
    if gone:
        erasing = [accounts.index.names[row] for row in sorted(gone)]
        deletions += [(b"r" + name.encode(), None) for name in erasing]
        records += [(STATE_KEY, _describe_state(engine, erasing)), *deletions]
    records.append((STATE_KEY, _describe_state(engine)))
    records += [(_table_key(name), None) for name in unused]
    for source, seen in engine.seen.items():
        for name, segments in ((source + OF_ACCOUNTS, seen.save()), (source, seen.save_ids_alone())):
            head = b"i" + name.encode() + b"\0"
            records += [(head + SEGMENT_KEY.pack(saved.generation, saved.number), saved.value) for saved in segments]
    accounts.erased.clear()
    for row in gone:
        accounts.release(row)
    engine.saved_lateness_ms = engine.time.lateness_ms
    return records


def _pages(engine: Engine, gone: Collection[int]) -> tuple[list[Record], list[Record]]:
    """The member pages that changed, and the deletions of those of the rows `gone`."""
    accounts = engine.accounts
    pages: list[Record] = []
    deletions: list[Record] = []
    for column in engine.members():
        tag, saved = _column_tag(column), column.save()
        rows = np.array([page.row for page in saved], dtype=np.int64)
        ages = accounts.applied[rows] + before_of(accounts, rows)
        for page, age in zip(saved, ages.tolist(), strict=True):
            key = b"p" + PAGE_KEY.pack(tag, page.number) + accounts.index.names[page.row].encode()
            record = key, None if page.value is None else AGE.pack(age) + page.value
            (deletions if page.row in gone else pages).append(record)
    return pages, deletions


def _prune_overrides(engine: Engine) -> None:
    lateness_ms = engine.time.lateness_ms
    if lateness_ms is not None:
        plan = engine.plan
        prune_ended(engine.accounts, lambda times: too_late(plan, times, np.full(len(times), lateness_ms)))


def keep_newer(newest: dict[bytes, bytes], key: bytes, value: bytes | None) -> None:
    """Add one changelog record, in the order of the log, to the newest value of each key.

    It is the rule of `stream.recovery.collected`, record by record.
    """
    known = newest.get(key)
    if value is None:
        newest.pop(key, None)
    elif known is None or is_newer(key, value, known):
        newest[key] = value


def restore(engine: Engine, records: Mapping[bytes, bytes]) -> dict[str, str]:
    """Fill an empty engine from the latest value of every changelog key.

    Returns what is missing of measures whose window is not full since a policy change, by measure.
    Raises `RowSchemaError`, naming the key, when a record can not be read: an account must never come back empty.
    """
    state = read_state(records[STATE_KEY]) if STATE_KEY in records else State({})
    if state.erasing:
        records = _without_leftovers(engine, records, frozenset(state.erasing))
    saved_records = records if isinstance(records, Namespace) else Namespace.of(records)
    keys = _keys_by_tag(saved_records.others)
    row_schemas = {key[1:]: RowSchema.read(records[key], key[1:]) for key in keys.get(ord("l"), ())}
    rows = rows_by_schema(saved_records.rows.listing(), row_schemas)
    as_of = max([*(saved.latest["as_of"] for saved in rows), state.as_of or 0])
    engine.time.load(
        lateness_ms=state.judged,
        watermarks=state.watermarks,
        source_clocks=_clocks(engine, rows),
    )
    engine.saved_lateness_ms = state.judged
    engine.idle_source_alerts.open.update(state.stalls)
    engine.alert_emitter.storm.load(state.storm)
    if as_of:
        engine.restart(as_of)
        passed = max((saved.latest.get("passed", -1) for saved in rows), default=-1)
        if passed >= 0:
            engine.accounts.alerts.advance_rings(passed)
    _load_rows(engine.accounts, rows)
    _load_pages(engine, saved_records.pages.listing(), keys.get(ord("p"), []))
    _load_ids(engine, records, keys.get(ord("i"), []))
    _load_progress(engine, state)
    engine.accounts.revision_base = state.erased
    engine.erasure.load()
    engine.peers.applied_count = state.tables
    if engine.plan.peers and state.peers is not None:
        _load_peers(engine, records, state.peers, keys.get(ord("t"), []))
    settle_ended(engine.accounts, as_of)
    added = frozenset(engine.sources.of_events) - state.position.keys()
    with_events = [saved for saved in rows if saved.has_events]
    restore_history(engine, records.get(HISTORY_KEY), state.policy, with_events, added=added)
    engine.rescore_without_publishing()
    if rows and state.policy is not None and state.policy != engine.plan.label:
        _mark_policy_changed(engine.accounts)
    return incomplete_texts(engine)


def _load_rows(accounts: Accounts, rows: Sequence[SavedRows]) -> None:
    """Fill an empty engine's accounts, whose arrays are made once, as large as it takes."""
    numbers_of = [accounts.index.rows_of_saved(saved.accounts) for saved in rows]
    accounts.reserve()
    for saved, numbers in zip(rows, numbers_of, strict=True):
        for begin, record, texts in saved.read():
            decode_rows(accounts, numbers[begin : begin + len(record)], record, saved.row_schema)
            for index, text in texts:
                decode_texts(accounts, int(numbers[index]), text)


def _load_progress(engine: Engine, state: State) -> None:
    """Restore outcomes and positions of inputs; positions of sources that this policy does not read are kept."""
    engine.catching_up = state.catching_up
    engine.settled.update({(source, outcome): count for source, outcome, count in state.settled})
    for name, offset in state.position.items():
        (engine.position if name in engine.position else engine.other_positions)[name] = offset


def _without_leftovers(engine: Engine, records: Mapping[bytes, bytes], erasing: Collection[str]) -> dict[bytes, bytes]:
    """The records without those of accounts whose deletion a crash has cut short; the next snapshot deletes these."""
    engine.leftovers = [key for key in records if account_of(key) in erasing]
    return {key: value for key, value in records.items() if account_of(key) not in erasing}


def _keys_by_tag(records: Mapping[bytes, bytes]) -> dict[int, list[bytes]]:
    keys = defaultdict[int, list[bytes]](list)
    for key in records:
        keys[key[0]].append(key)
    return keys


def _mark_policy_changed(accounts: Accounts) -> None:
    """Make every account be scored, published and saved under the new policy."""
    alive = accounts.alive()
    for flags in (accounts.policy_changed, accounts.changed, accounts.score_pending, accounts.dirty):
        flags[alive] = True
    accounts.forecast_day[alive] = 0


def _load_peers(engine: Engine, records: Mapping[bytes, bytes], name: str, keys: list[bytes]) -> None:
    """Load the peer tables that the state names; `keys` are those of all saved tables."""
    if _table_key(name) not in records:
        msg = f"the peer tables {name!r} that the state names are not in the changelog"
        raise RowSchemaError(msg)
    engine.peers.load(read_message(PeersMessage, records[_table_key(name)]), [key[1:].decode() for key in keys])


def _clocks(engine: Engine, rows: Iterable[SavedRows]) -> dict[str, int]:
    """The largest clock (ms) of each source that can go idle in any row."""
    clocks: dict[str, int] = {}
    for saved in rows:
        for source, clock_ms in saved.clocks(sorted(set(engine.plan.idle_source_columns.values()))).items():
            clocks[source] = max(clocks.get(source, 0), clock_ms)
    return clocks


def _table_key(name: str) -> bytes:
    return b"t" + name.encode()


def _describe_state(engine: Engine, erasing: Sequence[str] = ()) -> bytes:
    """The state record; `erasing` are the accounts whose records are deleted after it."""
    settled = [[source, outcome, count] for (source, outcome), count in sorted(engine.settled.items())]
    state: dict[str, Any] = {
        "as_of": engine.as_of,
        "judged": engine.time.lateness_ms,
        "policy": engine.plan.label,
        "position": {**engine.other_positions, **engine.position},
        "settled": settled,
        "watermarks": dict(engine.time.watermarks),
    }
    if engine.peers.applied_count:
        state["tables"] = engine.peers.applied_count
    if engine.peers.message is not None:
        state["peers"] = engine.peers.message.id
    if engine.idle_source_alerts.open:
        state["stalls"] = engine.idle_source_alerts.open
    if engine.alert_emitter.storm.since:
        state["storm"] = engine.alert_emitter.storm.saved()
    if engine.accounts.revision_base:
        state["erased"] = engine.accounts.revision_base
    if engine.catching_up:
        state["catching_up"] = True
    if erasing:
        state["erasing"] = list(erasing)
    return json.dumps(state).encode()


def _column_tag(column: Members | Things) -> bytes:
    return xxhash.xxh3_64_digest(column.name.encode())


def _load_pages(engine: Engine, pages: Listing, without_number: list[bytes]) -> None:
    """Load all pages. Raises `RowSchemaError` when one is cut, or has a key `without_number`."""
    if without_number:
        msg = f"its key is cut: {len(without_number[0])} bytes are no key of a page"
        raise RowSchemaError(msg)
    require_whole_pages(pages.lengths)
    heads = pages.key_heads(PAGE_KEY_BYTES).view(PAGE_HEAD)
    for column in engine.members():
        mine = heads["tag"] == b"p" + _column_tag(column)
        if mine.any():
            of_column = pages.select(mine)
            require_whole_pages(of_column.lengths, (column.entry,))
            rows = engine.accounts.index.rows_of_saved(of_column.names(PAGE_KEY_BYTES))
            engine.accounts.reserve()
            column.load(rows, heads["number"][mine].astype(np.int64), of_column.tails(AGE.size))


def _load_ids(engine: Engine, records: Mapping[bytes, bytes], keys: list[bytes]) -> None:
    by_source: dict[str, list[Segment]] = {}
    for key in keys:
        head, _, rest = key[1:].partition(b"\0")
        generation, number = SEGMENT_KEY.unpack(rest)
        by_source.setdefault(head.decode(), []).append(Segment(generation, number, segment_of(records[key])))
    with_events = engine.accounts.applied[: len(engine.accounts)] > 0
    for name, segments in by_source.items():
        source = name.removesuffix(OF_ACCOUNTS)
        if source not in engine.seen:
            continue
        if name == source:
            engine.seen[source].load_ids_alone(segments, with_events)
        else:
            engine.seen[source].load(segments)

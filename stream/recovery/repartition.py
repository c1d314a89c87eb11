"""Move saved state to another partition count: every account, its pages and the event ids go to a new partition.

Owns which changelog records the new partitions get, and what is changed in them. Rows and pages keep their content; a
row that moves loses its applied offsets, since these are of its old partition. Decision 33 says why no event is lost or
counted twice. Pure; called by `agents.state`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from schemas.topics import ALERTS, CHANGES
from stream.accounts.row_codec import without_merged_offsets
from stream.columns.row_schema import RowSchema, RowSchemaError, header_of, row_schema_of
from stream.ingest.event_ids import SEGMENT_IDS
from stream.recovery.history import HISTORY_KEY, SavedHistory, united_history
from stream.recovery.namespaces import LIVE_KEY, OF_THE_PARTITION, PUBLISHED_KEYS
from stream.recovery.record_form import PAGE_KEY_BYTES, SEGMENT_KEY, STATE_KEY, namespace_of

_APPLIED = "fence/"
"""Before the name of an input: the field of a row that is its applied offset."""

Records = Mapping[bytes, bytes]
"""The newest value of each changelog key of one partition."""


class RepartitionError(ValueError):
    """State that cannot be moved; the message says why and what to do."""


class Start(NamedTuple):
    """Where a new partition begins: its position by source, and its marks by output topic (see `PUBLISHED_KEYS`)."""

    position: Mapping[str, int]
    published: Mapping[str, int]


class Moved(NamedTuple):
    """The records of each new partition, in an order that can be written, and how many accounts changed partition."""

    partitions: dict[int, list[tuple[bytes, bytes]]]
    accounts: int


def live_records(records: Records) -> dict[bytes, bytes]:
    """The records of the live namespace, with keys without its name."""
    live = records.get(LIVE_KEY, b"")
    return {
        key[len(live) :]: value
        for key, value in records.items()
        if key not in OF_THE_PARTITION and namespace_of(key) == live
    }


def has_other_namespaces(records: Records) -> bool:
    """Whether there is state that is not live: that of a shadow, which moving the state drops."""
    return len(live_records(records)) < sum(key not in OF_THE_PARTITION for key in records)


def state_of(records: Records) -> dict[str, Any]:
    """The state of the partition in the live namespace; empty where nothing was committed."""
    state: dict[str, Any] = json.loads(live_records(records).get(STATE_KEY, b"{}"))
    return state


def published_of(records: Records) -> dict[str, int]:
    """The offsets in the output topics up to which the state knows what was published."""
    return {topic: int(records[key]) for topic, key in PUBLISHED_KEYS.items() if key in records}


def accounts_of(records: Records) -> list[bytes]:
    """The accounts that have a row or a page in the live namespace, each once."""
    return list(dict.fromkeys(account for key in live_records(records) if (account := account_of(key)) is not None))


def account_of(key: bytes) -> bytes | None:
    """The account that a record is about, by its key without a namespace; None for records of the whole partition."""
    if key[:1] == b"r":
        return key[1:]
    return key[PAGE_KEY_BYTES:] if key[:1] == b"p" else None


def unfinished(records: Records) -> str | None:
    """The account whose row contains records that the state of the partition does not have as settled, if there is one.

    A worker that ends between the rows and the state of a commit leaves such rows. One that ends before the records of
    an erased account are deleted leaves these.
    """
    live = live_records(records)
    state = json.loads(live.get(STATE_KEY, b"{}"))
    if state.get("erasing"):
        return str(state["erasing"][0])
    position = state.get("position", {})
    rows, row_schemas = _rows(live)
    for header, keys in rows.items():
        fixed = _fixed(row_schema_of(header, row_schemas), [live[key] for key in keys])
        for field in _applied_offsets(fixed.dtype):
            ahead = np.flatnonzero(fixed[field] >= position.get(field.removeprefix(_APPLIED), 0))
            if ahead.size:
                return keys[int(ahead[0])][1:].decode()
    return None


def repartition(
    partitions: Mapping[int, Records],
    *,
    home: Callable[[bytes], int],
    starts: Mapping[int, Start],
    new_topics: Collection[str] | None = (),
) -> Moved:
    """Move the live namespace of every partition to where `home` says that its accounts belong.

    `starts` has every new partition. `new_topics` are the inputs whose topic is another one, None all of them; every
    other topic has at most got more partitions: a row that stays keeps its applied offsets in it. Raises
    `RepartitionError`, `RowSchemaError`.
    """
    live = {number: live_records(records) for number, records in partitions.items()}
    states = {number: json.loads(records[STATE_KEY]) for number, records in live.items() if STATE_KEY in records}
    policies = sorted({state["policy"] for state in states.values() if "policy" in state})
    if len(policies) > 1:
        msg = f"partitions have state of different policies: {', '.join(policies)}; start the workers with one of them"
        raise RepartitionError(msg)
    ways, moved = _ways(live, home)
    result: dict[int, list[tuple[bytes, bytes]]] = {}
    for number, start in starts.items():
        origins = {origin for origin, target in ways if target == number}
        if new_topics is not None and number in live:
            origins.add(number)
        records: dict[bytes, bytes] = {}
        history = united_history([_history(live[origin]) for origin in sorted(origins)])
        if history is not None:
            records[HISTORY_KEY] = history
        for origin in sorted(origins):
            own, forget = ways.get((origin, number), {}), new_topics if origin == number else None
            records.update(_accounts(own, live[origin], forget, new_topics))
        if origins or any(start.position.values()):
            settled = [state for origin, state in states.items() if origin % len(starts) == number]
            contributing = {origin: states.get(origin, {}) for origin in sorted(origins)}
            records.update(_state(number, contributing, start, settled, live))
        records.update(_ids([live[origin] for origin in sorted(origins)]))
        records.update((PUBLISHED_KEYS[topic], b"%d" % offset) for topic, offset in start.published.items())
        result[number] = list(records.items())
    return Moved(result, moved)


def _ways(
    live: Mapping[int, Records], home: Callable[[bytes], int]
) -> tuple[dict[tuple[int, int], dict[bytes, bytes]], int]:
    """The records of accounts by the partition they are in and the one they go to, and how many accounts move.

    Raises `RepartitionError` where an account is in two partitions.
    """
    ways: dict[tuple[int, int], dict[bytes, bytes]] = {}
    origins: dict[bytes, int] = {}
    for number, records in live.items():
        for key, value in records.items():
            account = account_of(key)
            if account is None:
                continue
            if origins.setdefault(account, number) != number:
                msg = (
                    f"account {account.decode(errors='replace')!r} has state in partitions {origins[account]} and "
                    f"{number}: a worker ran with another partition count. Rebuild the state: `vitals state rebuild`"
                )
                raise RepartitionError(msg)
            ways.setdefault((number, home(account)), {})[key] = value
    return ways, sum(home(account) != origin for account, origin in origins.items())


def _history(records: Records) -> SavedHistory:
    state = json.loads(records.get(STATE_KEY, b"{}"))
    return SavedHistory(records.get(HISTORY_KEY), state.get("policy"), any(key[:1] == b"r" for key in records))


def _accounts(
    own: Records, records: Records, forget: Collection[str] | None, new_topics: Collection[str] | None
) -> list[tuple[bytes, bytes]]:
    """The records of accounts in the order of a commit: row schemas, pages, rows.

    Rows lose their applied offsets in the inputs `forget`, and the offsets of records that merged accounts forwarded
    in `new_topics`; None: in all.
    """
    rows, row_schemas = _rows({**own, **{key: value for key, value in records.items() if key[:1] == b"l"}})
    moved = [(b"l" + header[1:], records[b"l" + header[1:]]) for header in rows if b"l" + header[1:] in records]
    moved += [(key, value) for key, value in own.items() if key[:1] == b"p"]
    for header, keys in rows.items():
        values = [own[key] for key in keys]
        if forget is None or forget:
            values = _without_offsets(row_schema_of(header, row_schemas), values, forget, new_topics)
        moved += list(zip(keys, values, strict=True))
    return moved


def _rows(records: Records) -> tuple[dict[bytes, list[bytes]], dict[bytes, RowSchema]]:
    """The keys of rows by the header of the row, and the row schemas by hash."""
    rows: dict[bytes, list[bytes]] = {}
    for key, value in records.items():
        if key[:1] == b"r":
            rows.setdefault(header_of(value), []).append(key)
    row_schemas = {key[1:]: RowSchema.read(value, key[1:]) for key, value in records.items() if key[:1] == b"l"}
    return rows, row_schemas


def _fixed(row_schema: RowSchema, values: list[bytes]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """The fixed-width fields of rows, (k,). Raises `RowSchemaError` when a row is cut off."""
    width = row_schema.dtype.itemsize
    if any(len(value) < width for value in values):
        msg = f"a row of schema {row_schema.digest.hex()} is shorter than {width} bytes"
        raise RowSchemaError(msg)
    return np.frombuffer(bytearray(b"".join(value[:width] for value in values)), row_schema.dtype)


def _applied_offsets(dtype: np.dtype[np.void]) -> list[str]:
    """The fields of a row that are applied offsets, whichever policy wrote it."""
    return [name for name in dtype.names or () if name.startswith(_APPLIED)]


def _without_offsets(
    row_schema: RowSchema, values: list[bytes], forget: Collection[str] | None, new_topics: Collection[str] | None
) -> list[bytes]:
    fixed, width = _fixed(row_schema, values), row_schema.dtype.itemsize
    for field in _applied_offsets(fixed.dtype):
        if forget is None or field.removeprefix(_APPLIED) in forget:
            fixed[field] = -1
    blob = fixed.tobytes()
    texts = [without_merged_offsets(value[width:], new_topics) for value in values]
    return [blob[index * width : (index + 1) * width] + text for index, text in enumerate(texts)]


def _state(
    number: int,
    contributing: Mapping[int, Mapping[str, Any]],
    start: Start,
    settled: list[Mapping[str, Any]],
    live: Mapping[int, Records],
) -> list[tuple[bytes, bytes]]:
    """The state of a new partition, after the peer tables that it names.

    Times, the count of peer tables and what erased accounts had are the largest of all partitions that accounts come
    from: revisions never go back. The storm and the alerts of idle sources are those of the partition of the same
    number.
    """
    own = contributing.get(number, {})
    state: dict[str, Any] = {name: own[name] for name in ("stalls", "storm") if name in own}
    states = [contribution for contribution in contributing.values() if contribution]
    for name in ("as_of", "judged"):
        state[name] = max((value for each in states if (value := each.get(name)) is not None), default=None)
    watermarks: dict[str, int] = {}
    counts: dict[tuple[str, str], int] = {}
    for each in states:
        for source, time_ms in each.get("watermarks", {}).items():
            watermarks[source] = max(time_ms, watermarks.get(source, time_ms))
    for each in settled:
        for source, outcome, count in each.get("settled", []):
            counts[source, outcome] = counts.get((source, outcome), 0) + count
    state |= {
        "position": dict(start.position),
        "watermarks": watermarks,
        "catching_up": any(each.get("catching_up", False) for each in states),
        "settled": [[source, outcome, count] for (source, outcome), count in sorted(counts.items())],
        "tables": max((each.get("tables", 0) for each in states), default=0),
    }
    if any("erased" in each for each in states):
        state["erased"] = max(each.get("erased", 0) for each in states)
    policies = [each["policy"] for each in states if "policy" in each]
    if policies:
        state["policy"] = policies[0]
    tables = []
    named = {origin: each for origin, each in contributing.items() if "peers" in each}
    if named:
        newest = max(named, key=lambda origin: (named[origin].get("tables", 0), origin == number))
        state["peers"] = named[newest]["peers"]
        key = b"t" + state["peers"].encode()
        if key not in live[newest]:
            msg = f"the peer tables {state['peers']!r} that the state of partition {newest} names are missing"
            raise RepartitionError(msg)
        tables = [(key, live[newest][key])]
    return [*tables, (STATE_KEY, json.dumps(state).encode())]


def _ids(sources: list[Records]) -> list[tuple[bytes, bytes]]:
    """The known event ids: as they are where they come from one partition, else united in one generation a source."""
    saved = [{key: value for key, value in records.items() if key[:1] == b"i"} for records in sources]
    saved = [segments for segments in saved if segments]
    if not saved:
        return []
    if len(saved) == 1:
        return list(saved[0].items())
    by_source: dict[bytes, list[bytes]] = {}
    for segments in saved:
        for key, value in segments.items():
            by_source.setdefault(key[: -SEGMENT_KEY.size], []).append(value)
    united = []
    for head, values in by_source.items():
        since = min(int(np.frombuffer(value[:8], dtype=np.int64)[0]) for value in values)
        ids = np.unique(np.frombuffer(b"".join(value[8:] for value in values), dtype=np.uint64))
        for number, first in enumerate(range(0, len(ids), SEGMENT_IDS)):
            segment = np.int64(since).tobytes() + ids[first : first + SEGMENT_IDS].tobytes()
            united.append((head + SEGMENT_KEY.pack(0, number), segment))
    return united


def starts_after_growth(
    partitions: Mapping[int, Records], count: int, output_ends: Mapping[str, Mapping[int, int]]
) -> dict[int, Start]:
    """Where each of `count` partitions begins when the topics have only got more partitions.

    An old partition goes on where it was. A new one begins at its first record, and at the end of its output topics.
    """
    starts = {}
    for number in range(count):
        records = partitions.get(number, {})
        position = state_of(records).get("position", {})
        published = published_of(records) or {topic: output_ends[topic].get(number, 0) for topic in (ALERTS, CHANGES)}
        starts[number] = Start(position, published)
    return starts

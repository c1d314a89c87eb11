"""A partition opened from changelog records the way a worker opens it, driven by steps that are lines of JSON.

Owns how a fixture's files are read, what a step does, and how what is published and saved is written down so that it
can be compared. A step is one of `{"take": [[topic, offset, timestamp, key, value, headers], ...]}`, `{"tick": ms}`,
`{"mode": "head" | "exact" | "conflated"}` and `{"commit": true}`. Must not know any expected value. Called by
`make_fixture.py` and by the test that restores what that has written.
"""

from __future__ import annotations

import gzip
import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from agents.kafka.source_records import read
from schemas.sources import BUILT_IN
from stream.engine.engine import Engine, Mode
from stream.ingest.merge import Merge
from stream.plan.plan import Plan, compile_plan
from stream.policy.policy import parse_policy
from stream.publishing.effects import Effects
from stream.recovery.changelog import keep_newer
from stream.recovery.namespaces import PUBLISHED_KEYS, Opened, open_namespaces

FOLDER = Path(__file__).parent
DEDUP_IDS = 400
"""Small, so that two generations of event ids are in the changelog and older ones were removed from it."""
PARTITION = 3
STRANGERS = "elsewhere"
"""Accounts whose names begin so belong to another partition."""

Json = dict[str, Any]
Records = list[tuple[bytes, bytes | None]]


def policy(name: str, *, as_it_meant: bool = True, as_of_now: bool = True) -> Plan:
    """The live policy or the candidate, compiled, scored as it was in 0.1.0.

    `as_it_meant`: with the meaning that it had in 0.1.0, where rates and comparisons counted the unfinished pane. They
    do so today with `complete = false`. `as_of_now`: silent accounts are scored as of now until every window is empty.
    The digest stays that of the text.
    """
    file = FOLDER / f"{name}.toml"
    parsed = parse_policy(file.read_text(encoding="utf-8"), file.name)
    if as_it_meant:
        measures = tuple(
            replace(measure, complete="off") if measure.current_pane is not None else measure
            for measure in parsed.measures
        )
        parsed = replace(parsed, measures=measures)
    if as_of_now:
        longest = max(compile_plan(parsed).longest_windows["day"], 1)
        parsed = replace(parsed, status=replace(parsed.status, while_silent="now", dormant_days=longest))
    return compile_plan(parsed)


def read_lines(name: str) -> list[Any]:
    """The lines of a JSON Lines file."""
    return [json.loads(line) for line in gzip.decompress((FOLDER / name).read_bytes()).splitlines()]


def write_lines(name: str, lines: Iterable[Any]) -> None:
    """Write a JSON Lines file whose bytes depend on the lines alone."""
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    (FOLDER / name).write_bytes(gzip.compress(text.encode(), mtime=0))


def read_changelog() -> Records:
    """All records of the changelog in the order of the log; a value of None deletes its key."""
    return [(b64decode(key), None if value is None else b64decode(value)) for key, value in read_lines(CHANGELOG)]


def write_changelog(records: Records) -> None:
    """Write all records of the changelog."""
    lines = [(b64encode(key).decode(), None if value is None else b64encode(value).decode()) for key, value in records]
    write_lines(CHANGELOG, lines)


CHANGELOG = "changelog.jsonl.gz"
STEPS_BEFORE = "before.jsonl.gz"
STEPS_AFTER = "after.jsonl.gz"
EXPECTED = "expected.jsonl.gz"
PROMOTED = "promoted.jsonl.gz"
PROMOTED_STEPS = 4
"""Steps that are taken after a promotion."""


class Partition:
    """The engines of one partition, restored from a changelog."""

    def __init__(
        self,
        changelog: Iterable[tuple[bytes, bytes | None]],
        now_ms: int,
        *,
        promoted: bool = False,
        as_it_meant: bool = True,
        as_of_now: bool = True,
    ) -> None:
        """`now_ms` is the clock that refuses events of the future; `promoted` makes the candidate the live policy.

        `as_it_meant` and `as_of_now` are for `policy`.
        """
        newest: dict[bytes, bytes] = {}
        for key, value in changelog:
            keep_newer(newest, key, value)
        candidate, live = (policy(name, as_it_meant=as_it_meant, as_of_now=as_of_now) for name in ("candidate", "live"))
        live, shadow = (candidate, None) if promoted else (live, candidate)
        self.opened: Opened = open_namespaces(newest, live, shadow, _engine)
        self.opened.pair.on_failure = _raise
        self.log: Records = []
        self._now_ms = now_ms
        self._merge = Merge(BUILT_IN)
        self._mode = Mode.HEAD
        self._published = {topic: self.opened.namespaces.published_up_to.get(topic, 0) for topic in PUBLISHED_KEYS}

    def step(self, step: Json) -> Json:
        """Do what a step says; what is published by it."""
        pair = self.opened.pair
        if "take" in step:
            for topic, records in _by_topic(step["take"]).items():
                self._merge.add(read(BUILT_IN, topic, records, records[-1].offset + 1))
            batches = self._merge.release(lambda _source: False)
            return self._publish(pair.step(batches, self._mode, self._now_ms))
        if "tick" in step:
            return self._publish(pair.tick(step["tick"]))
        if "commit" in step:
            return self.commit()
        before, self._mode = self._mode, Mode(step["mode"])
        if self._mode is not Mode.HEAD or before is Mode.HEAD:
            return {}
        if before is Mode.EXACT:
            return self._publish(pair.flush(Mode.HEAD))
        return self._publish(pair.caught_up())

    def commit(self) -> Json:
        """Publish what is held back, then append the state and what readers know of it to the log."""
        namespaces, pair = self.opened.namespaces, self.opened.pair
        published = self._publish(pair.flush(self._mode))
        while pair.is_rescoring:
            published = _joined(published, self._publish(pair.rescore_next(self._mode, 1_000_000)))
        self.log += namespaces.snapshot(pair)
        namespaces.published_up_to.update(self._published)
        self.log += namespaces.marks(PUBLISHED_KEYS)
        return published

    def row_schemas(self) -> None:
        """Append what rows look like, which a worker writes before its first event."""
        self.log += self.opened.namespaces.row_schemas(self.opened.pair)

    def current(self) -> Json:
        """Every account's scores now by the live policy and by the candidate; engines must not be driven after it."""
        shadow = self.opened.pair.shadow
        engines = {"live": self.opened.pair.live, **({"shadow": shadow.engine} if shadow else {})}
        return {name: [json.loads(sent.value) for sent in engine.current().scores] for name, engine in engines.items()}

    def standing(self) -> Json:
        """What restoring says of itself."""
        opened = self.opened
        namespaces = opened.namespaces
        return {
            "lacks": [opened.missing, opened.shadow_missing],
            "promoted": opened.promoted,
            "begun": opened.begun,
            "shadow": opened.pair.shadow is not None,
            "names": [namespaces.live.hex(), None if namespaces.shadow is None else namespaces.shadow.hex()],
            "told": dict(namespaces.published_up_to),
            "waits": namespaces.waits,
        }

    def _publish(self, effects: Effects) -> Json:
        topics = ("scores", "changes", "alerts", "shadow")
        published: Json = {topic: _messages(getattr(effects, topic)) for topic in topics}
        for topic, count in zip(PUBLISHED_KEYS, (len(effects.alerts), len(effects.changes)), strict=True):
            self._published[topic] += count
        published["dead"] = [[letter.offset, letter.reason] for letter in effects.dead_letters]
        published["forwards"] = [[forward.offset, forward.account] for forward in effects.forwards]
        published["outcomes"] = sorted([*what, count] for what, count in effects.outcomes.items() if count)
        return {name: value for name, value in published.items() if value}


def fields_of(records: Records) -> Json:
    """Changelog records by what they mean, so that they compare by name: rows by field, states as JSON."""
    last = dict(records)
    fields: dict[bytes, np.dtype[Any]] = {}
    for key, value in last.items():
        name, tag, rest = _split(key)
        if tag == b"l" and value is not None:
            described = json.loads(value)["fields"]
            fields[name + rest] = np.dtype([(field[0], field[1], *map(tuple, field[2:])) for field in described])
    meanings: Json = {}
    for key, value in last.items():
        name, tag, rest = _split(key)
        shown = f"{name.hex()} {tag.decode()} {rest.decode('ascii', 'backslashreplace')}"
        if tag in (b"s", b"t") and value is not None:
            meanings[shown] = json.loads(value)
        elif tag == b"r" and value is not None:
            meanings[shown] = _row(value, fields[name + value[1:9]])
        elif tag != b"l":
            meanings[shown] = None if value is None else b64encode(value).decode()
    return meanings


def _row(value: bytes, dtype: np.dtype[Any]) -> Json:
    (row,) = np.frombuffer(value[: dtype.itemsize], dtype)
    named: Json = {name: row[name].tolist() for name in dtype.names or () if name not in ("version", "layout")}
    return {**named, "texts": value[dtype.itemsize :].decode()}


def _split(key: bytes) -> tuple[bytes, bytes, bytes]:
    name = key[:9] if key[:1] == b"x" else b""
    return name, key[len(name) :][:1], key[len(name) + 1 :]


def _engine(plan: Plan) -> Engine:
    return Engine(
        plan, owns=lambda account: not account.startswith(STRANGERS), dedup_ids=DEDUP_IDS, partition=PARTITION
    )


def _raise(error: Exception) -> None:
    raise error


def _by_topic(records: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    topics: dict[str, list[Any]] = {}
    for topic, offset, timestamp, key, value, headers in records:
        record = SimpleNamespace(
            offset=offset,
            timestamp=timestamp,
            key=key.encode(),
            value=None if value is None else value.encode(),
            headers=[(name, text.encode()) for name, text in headers],
        )
        topics.setdefault(topic, []).append(record)
    return topics


def _messages(messages: Sequence[Any]) -> list[Any]:
    return [[sent.key.decode(), json.loads(sent.value)] for sent in messages]


def comparable(value: Any) -> Any:
    """A value as JSON has it, with NaN and infinities as texts, which equal themselves."""
    return json.loads(json.dumps(value), parse_constant=str)


def _joined(first: Json, second: Json) -> Json:
    return {name: first.get(name, []) + second.get(name, []) for name in {**first, **second}}

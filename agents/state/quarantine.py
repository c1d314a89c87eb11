"""Sets the saved state of one account aside and rebuilds it from its events: `vitals state quarantine`.

Owns which records are set aside, what takes their place, and what is published of it. All records of the account's
partition are applied again, up to the saved position, because time, lateness and peer tables are those of the whole
partition; then only this account is written. Called by `agents.cli.state`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agents.kafka.client import BrokerError
from agents.kafka.partitions import partition_of
from agents.process.progress import Progress
from agents.settings.settings import Settings
from agents.state.cluster import Cluster, Written, changelog_of
from agents.state.rebuild import Missing, missing_records
from agents.state.replay import replay
from agents.state.saved import OUTPUTS, read_saved, replacing, require_readable, require_same_topics
from schemas.records import UnreadableError, read_message
from schemas.topics import ALERTS, CHANGES, POSITION_HEADER, SCORES
from stream.engine.engine import Engine, Mode
from stream.plan.plan import Plan
from stream.publishing.effects import Effects, Message
from stream.recovery import changelog
from stream.recovery.history import HISTORY_KEY, restore_history
from stream.recovery.namespaces import LIVE_KEY
from stream.recovery.published_alerts import position_of
from stream.recovery.reconciler import Reconciler, Tail
from stream.recovery.record_form import STATE_KEY, namespace_of
from stream.recovery.repartition import account_of, published_of


class SetAside(msgspec.Struct, frozen=True):
    """A line of the file: a changelog record that was set aside, key and value in base64."""

    topic: str
    partition: int
    offset: int
    account: str
    key: str
    value: str


class Quarantined(msgspec.Struct):
    """What was done: the records set aside, the events of the account that its new row has, what is missing.

    `shadow_dropped` says that a shadow's state was deleted too: it starts again from the live state. `published`
    counts the records of output topics that were written.
    """

    account: str
    partition: int
    file: str
    set_aside: int
    events: int
    missing: list[Missing]
    shadow_dropped: bool
    published: int


def quarantine(
    cluster: Cluster, settings: Settings, plan: Plan, account: str, path: Path, *, progress: Progress, dry_run: bool
) -> Quarantined:
    """Append the account's records to a file, delete them, and write the account as its events make it.

    Raises `BrokerError`, OSError, `stream.columns.row_schema.RowSchemaError`.
    """
    topic, key = changelog_of(cluster, settings), account.encode()
    number = partition_of(key, settings.partitions)
    cluster.require_stopped()
    command = f"vitals state quarantine {account}"
    aside = _records_of(cluster, topic, number, key)
    records, _, resumed = read_saved(cluster, topic, number, progress, resume=command, skip=key)
    if not aside and not resumed:
        msg = f"{topic} partition {number} has no record of account {account}: check the id and VITALS_PARTITIONS"
        raise BrokerError(msg)
    require_readable(number, records)
    require_same_topics(cluster, number, records)
    live = records.get(LIVE_KEY, b"")
    if live + STATE_KEY not in records:
        msg = f"{topic} partition {number} has no state: rebuild it with `vitals state rebuild`"
        raise BrokerError(msg)
    state = msgspec.json.decode(records[live + STATE_KEY])
    if state.get("policy", plan.label) != plan.label:
        msg = (
            f"the state has policy {state['policy']}, not {plan.label}: give the policy that the workers ran (--policy)"
        )
        raise BrokerError(msg)
    rebuilt = _Rebuilt(cluster, settings, plan, key, published_of(records))
    rebuilt.run(state, records.get(live + HISTORY_KEY), progress)
    shadow = [name for name in records if namespace_of(name) not in (b"", live)]
    missing = missing_records(cluster, [number], cluster.sources.topics)
    outputs = rebuilt.outputs()
    published = sum(map(len, outputs.values()))
    result = Quarantined(account, number, str(path), len(aside), rebuilt.events, missing, bool(shadow), published)
    if dry_run:
        return result
    _append(path, aside)
    with replacing(cluster, topic, [number], command, progress) as write:
        for output, messages in outputs.items():
            cluster.write(output, messages)
        new = [(live + name, value) for name, value in rebuilt.records()]
        write(number, [*_keys(aside), *shadow], new)
    return result


def _records_of(cluster: Cluster, topic: str, number: int, account: bytes) -> list[tuple[bytes, SetAside]]:
    """The last record of each key of an account in the changelog, in all namespaces; not those that are deleted."""
    newest: dict[bytes, SetAside] = {}
    for record in cluster.read(topic, number, cluster.begins(topic)[number], cluster.ends(topic)[number]):
        if account_of(record.key[len(namespace_of(record.key)) :]) != account:
            continue
        newest.pop(record.key, None)
        if record.value is not None:
            key, value = b64encode(record.key).decode(), b64encode(record.value).decode()
            newest[record.key] = SetAside(topic, number, record.offset, account.decode(), key, value)
    return list(newest.items())


def _keys(aside: list[tuple[bytes, SetAside]]) -> list[bytes]:
    return [key for key, _ in aside]


def _append(path: Path, aside: list[tuple[bytes, SetAside]]) -> None:
    with path.open("ab") as file:
        file.writelines(msgspec.json.encode(line) + b"\n" for _, line in aside)


class _Rebuilt:
    """One account, rebuilt by an engine of the whole partition."""

    def __init__(
        self, cluster: Cluster, settings: Settings, plan: Plan, account: bytes, published_up_to: Mapping[str, int]
    ) -> None:
        number = partition_of(account, settings.partitions)
        self._cluster, self._number, self._account = cluster, number, account
        self._published_up_to = published_up_to
        self.engine = Engine(
            plan,
            owns=lambda name: partition_of(name.encode(), settings.partitions) == number,
            dedup_ids=settings.dedup_ids if settings.dedup else None,
            partition=number,
            earliest_ms=settings.earliest_ms,
        )
        self.published: list[tuple[str, Message[bytes]]] = []
        """What the account's state publishes beyond what readers have, with its topic."""

    @property
    def _row(self) -> int | None:
        row = self.engine.accounts.index.get(self._account.decode())
        return row if row is not None and (self.events or row in self.engine.accounts.profiles) else None

    @property
    def events(self) -> int:
        """The number of events that the account has."""
        row = self.engine.accounts.index.get(self._account.decode())
        return 0 if row is None else int(self.engine.accounts.applied[row])

    def run(self, state: Mapping[str, Any], history: bytes | None, progress: Progress) -> None:
        """Apply all events, and find out what is to be published; `history` is the partition's record `h`."""
        engine = self.engine
        reconciler = Reconciler({topic: self._tail(topic) for topic in OUTPUTS})
        reconciler.load(engine)

        def take(effects: Effects) -> None:
            reconciler.hold_back(effects)
            self._take(effects)

        replay(self._cluster, engine, self._number, state, take=take, progress=progress)
        engine.peers.applied_count = max(engine.peers.applied_count, state.get("tables", 0))
        if engine.as_of is None:
            return
        restore_history(engine, history, state.get("policy"), ())
        self._raise_revision()
        take(engine.flush(Mode.HEAD))
        take(engine.tick(state["as_of"] or engine.as_of))
        ends = [0] * len(engine.sources.inputs)
        last = reconciler.reconcile(engine, Mode.HEAD, ends_of_sources=ends, now_ms=engine.as_of, idle=True)
        self._take(Effects() if last is None else last)
        if self._row is not None and self.events:
            self._take(engine.current(np.array([self._row], dtype=np.int64)))

    def _tail(self, topic: str) -> Tail:
        """What the state knew to be published of the account, as if it had been published after a crash."""
        own = self._cluster.sources.own(topic)
        begin, end = self._cluster.begins(own).get(self._number, 0), self._published_up_to.get(topic, 0)
        return Tail(begin, end, self._values(own, begin, end))

    def _values(self, topic: str, begin: int, end: int) -> Iterator[tuple[bytes | None, bytes | None]]:
        for record in self._cluster.read(topic, self._number, begin, end):
            if record.key == self._account:
                yield record.value, dict(record.headers).get(POSITION_HEADER)

    def _raise_revision(self) -> None:
        """Let the account's revision be larger than the one that was published last."""
        row = self._row
        if row is None or not self.events:
            return
        rows = np.array([row], dtype=np.int64)
        revision = int(self.engine.scored_batch(rows).revisions[0])
        shortfall = self._latest_revision() + 1 - revision
        if shortfall > 0:
            self.engine.accounts.profile_version[row] += shortfall

    def _latest_revision(self) -> int:
        topic, revision = self._cluster.sources.own(SCORES), 0
        begins, ends = self._cluster.begins(topic), self._cluster.ends(topic)
        for record in self._cluster.read(topic, self._number, begins[self._number], ends[self._number]):
            if record.key == self._account:
                try:
                    revision = read_message(dict, record.value)["revision"]
                except (UnreadableError, KeyError):
                    continue
        return revision

    def _take(self, effects: Effects) -> None:
        if any(erased.account == self._account for erased in effects.erased):
            self.published.clear()
        named = ((CHANGES, effects.changes), (ALERTS, effects.alerts), (SCORES, effects.scores))
        for topic, messages in named:
            self.published += [(topic, message) for message in messages if message.key == self._account]

    def outputs(self) -> dict[str, list[Written]]:
        """The records to publish, by topic; of scores only the last."""
        head = [(POSITION_HEADER, position_of(self.engine))]
        written: dict[str, list[Written]] = {}
        for topic, message in self.published:
            record = Written(self._number, message.key, message.value, head if topic == ALERTS else [])
            written.setdefault(topic, []).append(record)
        if SCORES in written:
            written[SCORES] = written[SCORES][-1:]
        return {self._cluster.sources.own(topic): records for topic, records in written.items()}

    def records(self) -> list[tuple[bytes, bytes]]:
        """The account's changelog records, after the row schema."""
        row = self._row
        if row is None:
            return []
        accounts = self.engine.accounts
        accounts.dirty[:] = False
        accounts.dirty[row] = True
        return [
            (key, value)
            for key, value in changelog.snapshot(self.engine)
            if value is not None and (key[:1] == b"l" or account_of(key) == self._account)
        ]

"""Replays or discards dead letters.

Owns the order of steps: letters are written to their input topic in the order of their partition, byte for byte and
with the time of their record, and marked as handled once the broker has acknowledged them. A crash in between writes
some of them again at the next run; events are then duplicates by their ids. Letters of one record (a worker that
crashes can write a dead letter twice) are replayed once. Run one process. Called by `agents.cli.dlq`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError as ProducerError
from kafka import KafkaConsumer
from kafka.errors import KafkaError

from agents.dlq.letters import REPLAYED_HEADER, Letter, Selection, is_replayable, read_letters, topics_of
from agents.dlq.progress import Action, Progress, mark
from agents.kafka.client import BrokerError, consumer_of
from agents.kafka.letters import Position
from agents.kafka.topics import ensure_topic
from agents.process.errors import error_text
from agents.settings.settings import Settings
from schemas.sources import Sources
from schemas.topics import ALERTS, DLQ_PROGRESS, LARGEST_RECORD

CHUNK = 200
CHUNK_BYTES = 32 * 1024 * 1024
_REQUEST_BYTES = LARGEST_RECORD + 1024 * 1024

Counts = Counter[tuple[str, str, str]]
"""Letters by topic, reason and what was done: `replayed`, `repeated` (the same record, once more) or `discarded`."""


def handle(settings: Settings, sources: Sources, selection: Selection, action: Action, *, dry_run: bool) -> Counts:
    """Replay or discard the selected letters that are open; with `dry_run` only count them.

    Without a selection of topics, those of sinks are not replayed. Raises `BrokerError`.
    """
    consumer = consumer_of(settings)
    try:
        progress = Progress.read(consumer, settings.topic(DLQ_PROGRESS.name))
        topics = topics_of(consumer, settings.group, sources, selection.topics)
        if action == "replayed":
            topics = _replayable(topics, settings.topic(ALERTS), is_chosen=bool(selection.topics))
        if not dry_run:
            ensure_topic(settings, DLQ_PROGRESS, partitions=1)
        letters = _open(consumer, topics, selection, progress)
        return asyncio.run(_handle(settings, sources, letters, action, dry_run=dry_run))
    except (KafkaError, ProducerError, msgspec.DecodeError, OSError) as error:
        raise BrokerError(
            f"dead letters could not be {action}: {error_text(error)}; run it again for the rest"
        ) from error
    finally:
        consumer.close()


def _replayable(topics: list[str], alerts: str, *, is_chosen: bool) -> list[str]:
    others = [topic for topic in topics if not is_replayable(topic)]
    if is_chosen and others:
        raise BrokerError(
            f"{', '.join(others)}: only input records can be replayed. Workers and all sinks read {alerts}, so an "
            "old alert that is written there again would mislead them. `vitals dlq show` prints the alert; deliver it "
            "yourself, then `vitals dlq discard` it"
        )
    return [topic for topic in topics if topic not in others]


def _open(consumer: KafkaConsumer, topics: list[str], selection: Selection, progress: Progress) -> Iterator[Letter]:
    for letter in read_letters(consumer, topics):
        if selection.has(letter) and progress.state_of(letter) == "open":
            yield letter


async def _handle(
    settings: Settings, sources: Sources, letters: Iterator[Letter], action: Action, *, dry_run: bool
) -> Counts:
    counts: Counts = Counter()
    records: set[tuple[Any, ...]] = set()
    producer: AIOKafkaProducer | None = None
    try:
        while chunk := list(_chunk(letters)):
            outcomes = {letter.position: _outcome(letter, action, records) for letter in chunk}
            if not dry_run:
                producer = producer or await _started(settings)
                to_write = [letter for letter in chunk if outcomes[letter.position] == "replayed"]
                failed = await _replay(producer, sources, to_write)
                done = (letter for letter in chunk if letter.position not in failed)
                await _mark(producer, settings.topic(DLQ_PROGRESS.name), done, action)
                if failed:
                    raise next(iter(failed.values()))
            counts.update((letter.position.topic, letter.reason, outcomes[letter.position]) for letter in chunk)
    finally:
        if producer is not None:
            await producer.stop()
    return counts


def _chunk(letters: Iterator[Letter]) -> Iterator[Letter]:
    """The next letters, as many as fit into memory."""
    size = 0
    for letter in islice(letters, CHUNK):
        yield letter
        size += len(letter.value or b"")
        if size > CHUNK_BYTES:
            return


def _outcome(letter: Letter, action: Action, replayed: set[tuple[Any, ...]]) -> str:
    if action == "discarded":
        return "discarded"
    if letter.origin is None:
        return "replayed"
    record = (letter.origin, letter.key, hash(letter.value))
    if record in replayed:
        return "repeated"
    replayed.add(record)
    return "replayed"


async def _started(settings: Settings) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(
        **settings.kafka_python(),
        acks="all",
        enable_idempotence=True,
        max_batch_size=_REQUEST_BYTES,
        max_request_size=_REQUEST_BYTES,
    )
    await producer.start()
    return producer


async def _replay(
    producer: AIOKafkaProducer, sources: Sources, letters: Iterable[Letter]
) -> dict[Position, BaseException]:
    """Write letters, and wait until the broker has answered for all; returns those that it has not acknowledged.

    Each letter is a batch of its own, because aiokafka writes a record without key and value only in batches.
    """
    writes: dict[Position, Any] = {}
    for letter in letters:
        batch = producer.create_batch()
        headers = [*letter.headers, (REPLAYED_HEADER, str(letter.position).encode())]
        if batch.append(key=letter.key, value=letter.value, timestamp=letter.record_ms, headers=headers) is None:
            raise BrokerError(f"{letter.position}: larger than {_REQUEST_BYTES:,} bytes")
        partition = letter.position.partition if letter.origin is None else letter.origin.partition
        writes[letter.position] = await producer.send_batch(batch, letter.target(sources), partition=partition)
    results = await asyncio.gather(*writes.values(), return_exceptions=True)
    outcomes = zip(writes, results, strict=True)
    return {position: result for position, result in outcomes if isinstance(result, BaseException)}


async def _mark(producer: AIOKafkaProducer, topic: str, letters: Iterable[Letter], action: Action) -> None:
    now_ms = round(time.time() * 1000)
    writes = []
    for letter in letters:
        key, value = mark(letter, action, now_ms)
        writes.append(await producer.send(topic, key=key, value=value))
    await asyncio.gather(*writes)

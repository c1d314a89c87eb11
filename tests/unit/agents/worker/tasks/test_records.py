"""Records that a task writes about records that it has read, where the source has another name than its topic."""

from __future__ import annotations

import json

from agents.kafka.letters import Position, taken_apart
from agents.worker.tasks.records import dead_letter, forwarded, outputs_of
from schemas.sources import BUILT_IN, source_of_fields
from schemas.topics import ORIGIN_HEADER
from stream.ingest.batch import Batch
from stream.ingest.merge import Merge
from stream.publishing.effects import DeadLetter, Forward
from tests.driving.engine import fetch_of
from tests.oracle.events import Record

VISITS = source_of_fields("visits", "field.visits", [("minutes", "number")], ["minutes"])
SOURCES = BUILT_IN.renamed({"billing": "erp.billing"}).extended([VISITS])
TIME_MS = 1_772_000_000_000


def batch_of(source: str) -> Batch:
    value = json.dumps({"id": "1", "account_id": "acme", "time": TIME_MS, "kind": "renewed", "minutes": 7})
    merge = Merge(SOURCES)
    merge.add(fetch_of([Record(source, 2, 9, TIME_MS, b"birch", value.encode())], SOURCES))
    (batch,) = merge.release(lambda _source: False)
    return batch


def test_a_forwarded_record_has_the_name_of_its_source() -> None:
    for source in ("visits", "billing"):
        message = forwarded(batch_of(source), 2, Forward(0, 9, "acme"))
        assert (message.key, message.headers) == (b"acme", [(ORIGIN_HEADER, source.encode())])


def test_a_dead_letter_goes_to_the_topic_of_the_source_with_an_ending_and_names_that_topic() -> None:
    assert {"field.visits.dlq", "erp.billing.dlq", "surveys.dlq"} <= set(outputs_of(SOURCES))
    for source, topic in (("visits", "field.visits"), ("billing", "erp.billing")):
        message = dead_letter(SOURCES, batch_of(source), 2, DeadLetter(0, 9, "invalid_field", "minutes: ..."))
        refusal, _ = taken_apart(message.headers)
        assert refusal.origin == Position(topic, 2, 9)

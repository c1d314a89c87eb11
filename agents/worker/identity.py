"""Who a worker is: its configuration, and the client id by which the other members of its group know it.

Owns what counts as a configuration: the policy, and the settings that decide what is computed. A shadow may come and go
with a rolling restart: no live output depends on it. The client id is
`vitals_<version>_<configuration>_<token>_<host>`; the token differs for each process. Kafka shows it with each member
of a group. Called by `agents.worker.wiring`, `agents.worker.membership` and `agents.worker.tasks.broker_facts`.
"""

from __future__ import annotations

import json
import os
import re
import socket
from typing import NamedTuple

import xxhash

from agents.process.version import package_version
from agents.settings.settings import Settings
from schemas.plausible_times import EARLIEST_MS
from stream.plan.plan import Plan
from stream.recovery.writer import Setting, Writer

_PREFIX = "vitals"
_FIELDS = 5


class Client(NamedTuple):
    """The fields of a worker's client id."""

    version: str
    configuration: str
    token: str
    host: str

    def client_id(self) -> str:
        """The client id, in the characters that every broker takes."""
        return "_".join((_PREFIX, *(re.sub(r"[^A-Za-z0-9.-]", "-", field) for field in self)))


def client_of(client_id: str) -> Client | None:
    """The fields of a client id; None where it is not of a worker, or of an earlier version's."""
    prefix, *fields = client_id.split("_")
    return Client(*fields) if prefix == _PREFIX and len(fields) + 1 == _FIELDS else None


def writer_of(settings: Settings, plan: Plan) -> Writer:
    """What this worker writes about itself into the changelogs that it takes over."""
    decisive: dict[str, Setting] = {
        "partitions": settings.partitions,
        "dedup": settings.dedup,
        "dedup_ids": settings.dedup_ids,
        "time": settings.time,
    }
    if settings.earliest_ms != EARLIEST_MS:  # at its default it is left out, as by versions that did not know it
        decisive["allow_before"] = settings.allow_before.isoformat()
    if plan.sources.renamed_topics:
        decisive["topics"] = ", ".join(f"{name} = {topic}" for name, topic in plan.sources.renamed_topics.items())
    configuration = xxhash.xxh3_64_hexdigest(json.dumps([plan.label, decisive], sort_keys=True).encode())
    return Writer(
        worker=worker_name(settings.instance, socket.gethostname()),
        version=package_version(),
        policy=plan.label,
        settings=decisive,
        configuration=configuration,
        inputs=dict(plan.sources.topic_of),
    )


def client_here(writer: Writer) -> Client:
    """The client id's fields for this process."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())
    return Client(writer.version, writer.configuration, f"{os.getpid()}-{os.urandom(4).hex()}", host)


def worker_name(instance: str | None, host: str) -> str:
    """A worker as messages name it."""
    return f"worker {instance!r} on {host}" if instance else f"a worker on {host}"

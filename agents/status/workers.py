"""What a worker says of itself at `/readyz` and `/metrics`.

Owns these requests and which metrics are shown. Called by `agents.status.report`.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

import msgspec
from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_S = 5.0
UNAVAILABLE = 503


class WorkerStatus(msgspec.Struct):
    """One worker. `watermarks`: the largest event time applied, by topic, epoch ms; None fields: no answer."""

    url: str
    problems: list[str]
    version: str | None = None
    policy: str | None = None
    accounts: int | None = None
    restore_left: int | None = None
    watermarks: dict[str, int] = {}
    idle_sources: list[str] = []


class _Health(msgspec.Struct):
    problems: list[str]


def ask(url: str) -> WorkerStatus:
    """Ask a worker at `http://HOST:PORT`; a problem if it does not answer."""
    base = url.rstrip("/")
    try:
        problems = msgspec.json.decode(_body(f"{base}/readyz"), type=_Health).problems
        status = WorkerStatus(base, problems)
        _read_metrics(_body(f"{base}/metrics").decode(), status)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        return WorkerStatus(base, [f"no answer from a worker: {error}"])
    return status


def _body(url: str) -> bytes:
    """The body of an answer with 200 or 503. Raises `OSError`, `ValueError`."""
    if not url.startswith(("http://", "https://")):
        raise ValueError("expected http://HOST:PORT")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310  the scheme is checked above
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        if error.code != UNAVAILABLE:
            raise
        return bytes(error.read())


def _read_metrics(text: str, status: WorkerStatus) -> None:
    values: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values.setdefault(sample.name, []).append((dict(sample.labels), sample.value))

    def only(name: str) -> Any:
        return int(values[name][0][1]) if name in values else None

    build = values.get("vitals_build_info", [({}, 1.0)])[0][0]
    status.version, status.policy = build.get("version"), build.get("policy")
    status.accounts, status.restore_left = only("vitals_state_rows"), only("vitals_restore_records_remaining")
    watermarks = values.get("vitals_watermark_timestamp_seconds", [])
    status.watermarks = {labels["topic"]: round(value * 1000) for labels, value in watermarks if value > 0}
    idle = {labels["topic"] for labels, value in values.get("vitals_source_stalled", []) if value > 0}
    status.idle_sources = sorted(idle)

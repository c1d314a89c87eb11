"""What the public functions take: events of several kinds, moments, mappings.

Owns how they become what `agents.files` reads, which is the way of `vitals score FILES`: the numbers are the same.
Must not score. Called by `account_vitals.scoring` and `account_vitals.engine`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from account_vitals.frames import is_frame, rows_of
from agents.files.formats import Input, Record, Rows
from agents.files.mappings import mapping_file
from agents.files.moments import moment_ms
from agents.files.replay import Reading, reading_of
from schemas.plausible_times import EARLIEST_MS
from schemas.sources import Sources
from stream.columns.calendar import Calendar
from stream.mapping.apply import merged
from stream.mapping.reading import parse_mapping

Moment: TypeAlias = "str | int | date | datetime"
"""RFC 3339 with an offset, a `datetime` with a zone, a date (its end; its start for `since`), or epoch milliseconds."""
Named: TypeAlias = "str | Path | Sequence[str | Path]"

_EXPECTED = (
    "events are a frame with a column `topic`, a mapping from topics to frames, a list of dicts, or paths of files"
)


def inputs_of(events: Any, label: str = "events") -> list[Input]:
    """What `agents.files` reads events from. Raises TypeError for what holds no events.

    `label` is in messages and in the ids of rows that have none, so it must be new for each batch of an engine.
    """
    if isinstance(events, Mapping):
        return [Rows(f"{label}[{topic!r}]", str(topic), _records(rows)) for topic, rows in events.items()]
    if isinstance(events, str | Path):
        return [Path(events)]
    if isinstance(events, Sequence) and events and all(isinstance(path, str | Path) for path in events):
        return [Path(path) for path in events]
    return [Rows(label, "", _records(events))]


def first_frame(events: Any) -> object:
    """The frame whose kind an answer has; None where there is none."""
    if isinstance(events, Mapping):
        events = next(iter(events.values()), None)
    return events if is_frame(events) else None


def reading_for(
    sources: Sources, as_of_ms: int | None, mapping: Named | None = None, allow_before: Moment | None = None
) -> Reading:
    """How events are read, by the clock of this machine. Raises ValueError, OSError, `PolicyError` of a mapping."""
    earliest_ms = moment_of(allow_before, "allow_before", day_end=False)
    if earliest_ms is not None and not 0 <= earliest_ms <= EARLIEST_MS:
        raise ValueError(f"allow_before={allow_before!r}: expected a date from 1970-01-01 to 2000-01-01")
    names = [mapping] if isinstance(mapping, str | Path) else list(mapping or [])
    paths = [mapping_file(str(name)) for name in names]
    mappings = [parse_mapping(path.read_text(encoding="utf-8"), str(path), sources) for path in paths]
    return reading_of(time.time_ns() // 1_000_000, as_of_ms, earliest_ms, merged(mappings) if mappings else None)


def moment_of(
    moment: Moment | None, name: str, *, day_end: bool = True, calendar: Calendar | None = None
) -> int | None:
    """A moment in epoch ms, as the options of `vitals` mean it. Raises ValueError that names the argument."""
    if moment is None:
        return None
    text = moment.isoformat() if isinstance(moment, date) else str(moment)
    try:
        return moment_ms(text, day_end=day_end, calendar=calendar)
    except ValueError as error:
        raise ValueError(f"{name}={moment!r}: {error}") from error


def texts_of(rows: Any) -> Iterator[Record]:
    """Rows whose values are texts, as a CSV file has them; dates and times as RFC 3339."""
    for number, row in _records(rows)():
        assert isinstance(row, dict)
        yield Record(number, {name: _text(value) for name, value in row.items()})


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _records(rows: Any) -> partial[Iterator[Record]]:
    if is_frame(rows):
        return partial(rows_of, rows)
    if (
        isinstance(rows, Sequence)
        and not isinstance(rows, str | bytes)
        and all(isinstance(row, Mapping) for row in rows)
    ):
        return partial(_of_dicts, rows)
    raise TypeError(f"{_EXPECTED}; not {type(rows).__name__}")


def _of_dicts(rows: Sequence[Mapping[str, Any]]) -> Iterator[Record]:
    for number, row in enumerate(rows, 1):
        yield Record(number, {name: value for name, value in row.items() if value is not None})

"""The row codec: how the state of an account becomes the value of a changelog record, and back.

Owns the fields of a row and their names, which never change: they are wire names. A value is a version byte, the hash
of the row schema (8 bytes), the other fixed-width fields, and then up to six JSON texts with newlines between:
profile, override, acknowledgements, reasons of open alerts, `Accounts.before` of an account that was erased and came
back, and merges. The field `applied` includes `before`: so the newer of two rows has the larger one. Rows of another
policy or version are read by field name; a field that the record does not have keeps its empty value. Called by
`stream.recovery.changelog` and `stream.engine.merging`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.codecs import encode
from schemas.events import ControlEvent, ProfileEvent
from stream.accounts.accounts import NO_BAND, Accounts
from stream.accounts.merges import without_offsets
from stream.columns.columns import LatestColumn, PaneColumn, Rows
from stream.columns.row_schema import VERSION, Bands, RowSchema

_SEPARATOR = b"\n"  # JSON without spaces has none
_TEXTS = 6
_NO_TEXTS = (b"",) * _TEXTS
_ONLY_REASONS = _SEPARATOR * 3
"""What begins the texts of a row that has nothing else than open alerts, as most rows have."""

# Fields of a changelog row, and the arrays of `Accounts` that they are saved from.
_BY_ACCOUNT = {
    "applied": "applied",
    "last_ms": "last_ms",
    "override_told": "override_published",
    "learned": "profile_version",
    "passed": "boundary_passed",
    "first_ms": "first_ms",
    "life_ms": "life_ms",
}
_BY_SCORE = {"base_score": ("last_published_score", "<f8"), "base_band": ("last_published_band", "|i1")}
_BY_SCORE |= {"base_state": ("last_published_state", "|i1")}
_OF_ALERTS = {
    "fine_ms": ("fine_ms", "<i8"),
    "fine_score": ("fine_score", "<f8"),
    "later_ms": ("later_ms", "<i8"),
    "later_score": ("later_score", "<f8"),
}
_PARTS = {"base_parts": ("last_published_parts", "<f8")}
_PARTS_OF_ALERTS = {"fine_parts": ("fine_parts", "<f4"), "later_parts": ("later_parts", "<f4")}
_OF_STICKY_BANDS = {"held_band": ("sticky_band", "|i1"), "due_ms": ("due_since", "<i8")}
_OF_FORECASTS = {
    "turn_day": ("next_band_day", "<i4"),
    "turn_band": ("next_band", "|i1"),
    "turn_score": ("next_band_score", "<f8"),
    "looked": ("forecast_day", "<i4"),
}


class _ScoreField(NamedTuple):
    """A field of a row that belongs to one score: the array of `Accounts` it is saved from, and the column of that."""

    name: str
    array: str
    column: int
    dtype: str


def row_schema_of_accounts(accounts: Accounts) -> RowSchema:
    """The schema of a row written now; it changes when a pane column is widened."""
    fields: list[tuple[object, ...]] = [("version", "|u1"), ("layout", "|V8"), ("as_of", "<i8"), ("applied", "<i8")]
    fields += [("last_ms", "<i8"), ("override_told", "<u8"), ("learned", "<i8"), ("passed", "<i8")]
    fields += [("first_ms", "<i8"), ("life_ms", "<i8")]
    fields += [(f"fence/{source}", "<i8") for source in accounts.sources.of_rows]
    fields += [(f"clock/{source}", "<i8") for source in sorted(set(accounts.plan.idle_source_columns.values()))]
    fields += [(field.name, field.dtype) for field in _score_fields(accounts)]
    fields += accounts.alerts.fields()
    for column in accounts.columns:
        if isinstance(column, PaneColumn | LatestColumn):
            fields += [(name, dtype.str, shape) for name, dtype, shape in column.fields()]
    return RowSchema.of(fields, _bands(accounts))


_ROWS_AT_ONCE = 4096
"""They stay in the caches of a processor; new memory for all rows would cost as much as filling it."""


def encode_rows(
    accounts: Accounts, rows: Rows, as_of_ms: int, row_schema: RowSchema, clocks: Mapping[str, int]
) -> list[bytes]:
    """Changelog values of rows, in order.

    `row_schema` is `row_schema_of_accounts` now, `clocks` (epoch ms) are those of sources that can go idle;
    0 is written for a source without one.
    """
    values: list[bytes] = []
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        values += _encode_some(accounts, rows[begin : begin + _ROWS_AT_ONCE], as_of_ms, row_schema, clocks)
    return values


def _encode_some(
    accounts: Accounts, rows: Rows, as_of_ms: int, row_schema: RowSchema, clocks: Mapping[str, int]
) -> list[bytes]:
    record = np.zeros(len(rows), dtype=row_schema.dtype)
    record["version"] = VERSION
    record["layout"] = np.void(row_schema.digest)
    record["as_of"] = as_of_ms
    for name, array in _BY_ACCOUNT.items():
        record[name] = getattr(accounts, array)[rows]
    record["applied"] += before_of(accounts, rows)
    for column, source in enumerate(accounts.sources.of_rows):
        record[f"fence/{source}"] = accounts.applied_offsets[rows, column]
    for source in set(accounts.plan.idle_source_columns.values()):
        record[f"clock/{source}"] = clocks.get(source, 0)
    for field in _score_fields(accounts):
        record[field.name] = getattr(accounts, field.array)[rows, field.column]
    accounts.alerts.save(rows, record)
    for pane_column in accounts.columns:
        if isinstance(pane_column, PaneColumn | LatestColumn):
            pane_column.save(rows, record)
    blob, width = record.tobytes(), row_schema.dtype.itemsize
    values = [blob[start : start + width] for start in range(0, len(rows) * width, width)]
    texts = (accounts.profiles, accounts.overrides, accounts.ended_overrides, accounts.acknowledgements)
    if any(texts) or accounts.alert_reasons or accounts.before or accounts.merges:
        for index, row in enumerate(rows.tolist()):
            values[index] += _encode_texts(accounts, row)
    return values


def before_of(accounts: Accounts, rows: Rows) -> NDArray[np.int64]:
    """`Accounts.before` of each row, 0 where the account was not erased, int64 (k,)."""
    if not accounts.before:
        return np.zeros(len(rows), dtype=np.int64)
    return np.array([accounts.before.get(row, 0) for row in rows.tolist()], dtype=np.int64)


def decode_rows(accounts: Accounts, rows: Rows, record: NDArray[np.void], row_schema: RowSchema) -> None:
    """Fill rows from the fixed-width fields of changelog values, `record` (k,), of any schema, field by field."""
    names = set(row_schema.dtype.names or ())
    for name, array in _BY_ACCOUNT.items():
        if name in names:
            getattr(accounts, array)[rows] = record[name]
    _fill_times(accounts, rows, record, names)
    for column, source in enumerate(accounts.sources.of_rows):
        if f"fence/{source}" in names:
            accounts.applied_offsets[rows, column] = record[f"fence/{source}"]
    for field in _score_fields(accounts):
        if field.name in names:
            getattr(accounts, field.array)[rows, field.column] = record[field.name]
    accounts.follow_first_events(rows)
    for index, pane_column in enumerate(accounts.columns):
        if isinstance(pane_column, PaneColumn | LatestColumn):
            # Whatever this policy says of idle sources: it is the time that the panes were saved at.
            clock = f"clock/{accounts.plan.columns[index].source}"
            pane_column.load(rows, record, record[clock if clock in names else "as_of"])
    accounts.alerts.load(rows, record, accounts.boundary_passed[rows], row_schema.bands)
    _renumber_bands(accounts, rows, row_schema.bands)


def _fill_times(accounts: Accounts, rows: Rows, record: NDArray[np.void], names: AbstractSet[str]) -> None:
    """The first event is not known of rows that a version before these fields saved; of the last, controls count."""
    if "first_ms" not in names:
        accounts.first_ms[rows[record["applied"] > 0]] = 0
    if "life_ms" not in names:
        accounts.life_ms[rows] = accounts.last_ms[rows]


def decode_texts(accounts: Accounts, row: int, texts: bytes) -> None:
    """Fill a row from what follows the fixed-width fields, in the order of `_encode_texts`."""
    if texts.startswith(_ONLY_REASONS) and texts.rfind(_SEPARATOR) == len(_ONLY_REASONS) - 1:
        if reasons := texts[len(_ONLY_REASONS) :]:
            accounts.alert_reasons.load(row, reasons)
        return
    profile, control, acknowledgements, reasons, before, merges, *_ = (*texts.split(_SEPARATOR), *_NO_TEXTS)
    if profile:
        accounts.set_profile(row, msgspec.json.decode(profile, type=ProfileEvent))
    if control:
        accounts.overrides[row] = msgspec.json.decode(control, type=ControlEvent)
    if acknowledgements:
        accounts.acknowledgements.load(row, acknowledgements)
    if reasons:
        accounts.alert_reasons.load(row, reasons)
    if before:
        accounts.before[row] = msgspec.json.decode(before, type=int)
        accounts.applied[row] -= accounts.before[row]
    if merges:
        accounts.merges.load(row, merges)


def without_merged_offsets(texts: bytes, inputs: Collection[str] | None) -> bytes:
    """What follows the fixed-width fields, without the offsets of records that merged accounts forwarded.

    Only those of these `inputs` are left out (None: of all), because their topics are others now.
    """
    saved = texts.split(_SEPARATOR)
    if len(saved) < _TEXTS or not saved[_TEXTS - 1]:
        return texts
    return _SEPARATOR.join((*saved[: _TEXTS - 1], without_offsets(saved[_TEXTS - 1], inputs)))


def _encode_texts(accounts: Accounts, row: int) -> bytes:
    """Profile, override, acknowledgements, reasons, before and merges as JSON; empty ones at the end are left out."""
    profile = encode(accounts.profiles[row]) if row in accounts.profiles else b""
    control = accounts.overrides.get(row) or accounts.ended_overrides.get(row)
    override = b"" if control is None else encode(control)
    acknowledgements = accounts.acknowledgements.save(row) if row in accounts.acknowledgements else b""
    reasons = accounts.alert_reasons.get(row, b"")
    before = b"%d" % accounts.before[row] if row in accounts.before else b""
    merges = accounts.merges.save(row) if row in accounts.merges else b""
    return _SEPARATOR.join((profile, override, acknowledgements, reasons, before, merges)).rstrip(_SEPARATOR)


def _score_fields(accounts: Accounts) -> list[_ScoreField]:
    fields = []
    with_alerts = {rule_plan.score for rule_plan in accounts.plan.rules}
    for column, score_plan in enumerate(accounts.scores):
        score = score_plan.score.name
        saved = dict(_BY_SCORE) | (_OF_ALERTS if column in with_alerts else {})
        if score_plan.has_sticky_bands:
            saved |= _OF_STICKY_BANDS
        if score_plan.score.forecast_days:
            saved |= _OF_FORECASTS
        fields += [_ScoreField(f"{name}/{score}", array, column, dtype) for name, (array, dtype) in saved.items()]
        first = accounts.parts_of[column].start
        parts = _PARTS | (_PARTS_OF_ALERTS if column in with_alerts else {})
        fields += [
            _ScoreField(f"{name}/{score}/{factor}", array, first + offset, dtype)
            for name, (array, dtype) in parts.items()
            for offset, factor in enumerate(score_plan.parts)
        ]
    return fields


def _bands(accounts: Accounts) -> Bands:
    return {score_plan.score.name: [band.name for band in score_plan.score.bands] for score_plan in accounts.scores}


def _renumber_bands(accounts: Accounts, rows: Rows, saved_bands: Bands) -> None:
    """Turn the band numbers of rows that another policy wrote into the numbers that these bands have now."""
    for column, (score, bands) in enumerate(_bands(accounts).items()):
        saved = saved_bands.get(score, [])
        if saved == bands:
            continue
        numbers = {name: number for number, name in enumerate(bands)}
        table = np.array([*(numbers.get(name, NO_BAND) for name in saved), NO_BAND], dtype=np.int8)
        for array in (accounts.last_published_band, accounts.sticky_band, accounts.next_band):
            array[rows, column] = table[array[rows, column]]

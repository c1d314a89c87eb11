"""Frames in and out: any frame that speaks the Arrow PyCapsule protocol, and what narwhals knows beside that.

Owns the conversion in both directions. Rows are those that a Parquet file with the same columns would have. Must not
know events. Called by `account_vitals.inputs` and `account_vitals.scoring`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agents.files.formats import Record, table_rows

_INDEX_COLUMNS = "__index_level_"
"""What pandas calls an index without a name: the numbers of rows, and no data."""
_NEEDED = "frames need pyarrow and narwhals: pip install 'account-vitals[frames]'"


def is_frame(value: object) -> bool:
    """Whether rows can be read from a value as columns."""
    if hasattr(value, "__arrow_c_stream__"):
        return True
    if isinstance(value, str | bytes | Mapping | Sequence):
        return False
    return _native(value) is not None


def rows_of(frame: Any) -> Iterator[Record]:
    """The rows of a frame as dicts; null, and NaN of pandas, is no value. Raises TypeError for a column without a type.

    A row without an id is numbered from 1.
    """
    pa = _pyarrow()
    try:
        if hasattr(frame, "__arrow_c_stream__"):
            table = pa.table(frame)
        else:
            frame = _native(frame)
            table = (frame.collect() if hasattr(frame, "collect") else frame).to_arrow()
        table = table.select([name for name in table.column_names if not name.startswith(_INDEX_COLUMNS)])
        return table_rows(table)
    except pa.ArrowException as error:
        message = f"the frame cannot be read as columns, each of a type: {error}; convert the column that it names"
        raise TypeError(message) from error


def frame_of(columns: Mapping[str, Sequence[Any]], types: Mapping[str, Any], like: object) -> Any:
    """A frame with these columns, of the kind that `like` is; a `pyarrow.Table` where `like` is no frame.

    `types` has the type of each column as a function of the module pyarrow.
    """
    pa = _pyarrow()
    table = pa.table({name: pa.array(columns[name], kind(pa)) for name, kind in types.items()})
    native = _native(like)
    if native is None:
        return table
    import narwhals as nw  # noqa: PLC0415 -- an optional package

    implementation = native.implementation
    if implementation in {nw.Implementation.PANDAS, nw.Implementation.MODIN, nw.Implementation.POLARS}:
        return nw.from_arrow(table, backend=implementation).to_native()
    if implementation is nw.Implementation.DUCKDB:
        return nw.from_arrow(table, backend="pyarrow").lazy(backend="duckdb").to_native()
    return table


def _native(value: object) -> Any:
    """The value as narwhals wraps it; None where it is no frame that narwhals knows."""
    if value is None or isinstance(value, str | bytes | Mapping | Sequence):
        return None
    try:
        import narwhals as nw  # noqa: PLC0415 -- an optional package
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(_NEEDED, name=error.name) from error
    value = nw.to_native(value, pass_through=True)
    wrapped = nw.from_native(value, pass_through=True)
    return None if wrapped is value else wrapped


def _pyarrow() -> Any:
    try:
        import pyarrow as pa  # noqa: PLC0415 -- an optional and large package
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(_NEEDED, name=error.name) from error
    return pa

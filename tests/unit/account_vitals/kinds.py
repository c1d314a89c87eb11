"""Frames of every kind that the tests give to the package, and back to rows."""

from __future__ import annotations

from typing import Any

import duckdb
import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa

Rows = list[dict[str, Any]]
KINDS = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "polars lazy": pl.LazyFrame,
    "pyarrow": pa.Table.from_pylist,
    "duckdb": lambda rows: duckdb.from_arrow(pa.Table.from_pylist(rows)),
    "narwhals": lambda rows: nw.from_native(pl.DataFrame(rows)),
}
ANSWERS = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "polars lazy": pl.DataFrame,
    "pyarrow": pa.Table,
    "duckdb": duckdb.DuckDBPyRelation,
    "narwhals": pl.DataFrame,
}
"""The kind of frame that answers each of `KINDS`."""


def rows_of(frame: Any) -> Rows:
    """The rows of a frame as dicts."""
    rows: Rows = pa.table(frame).to_pylist()
    return rows

"""These tests read fetches of any size as columns (`schemas.event_columns`), which a worker does with large ones.

What Python decodes is compared with it in `test_event_columns.py`, and used by the tests of engines in `tests/unit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from schemas import event_columns

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", autouse=True)
def _fetches_of_any_size() -> Iterator[None]:
    before, event_columns.FEW = event_columns.FEW, 0
    yield
    event_columns.FEW = before

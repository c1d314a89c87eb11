"""The files and results of docs/how-to/read-scores-with-sql.md, for the tests that run its statements.

Owns how a statement and its result are found on the page. Must not know which engine runs them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.pages.steps import File, steps

PAGE: Final = Path(__file__).parents[2] / "docs" / "how-to" / "read-scores-with-sql.md"
_RESULT: Final = "Result of "


def page_files() -> dict[str, str]:
    """The files of the page by name, without results."""
    files = (step for step in steps(PAGE) if isinstance(step, File))
    return {file.name: file.text for file in files if not file.name.startswith(_RESULT)}


def result_of(name: str) -> list[str]:
    """The lines that the page shows as the result of a file, without spaces at their ends."""
    files = (step for step in steps(PAGE) if isinstance(step, File))
    (text,) = (file.text for file in files if file.name == _RESULT + name)
    return lines_of(text)


def lines_of(text: str) -> list[str]:
    """The lines of a result that are not empty, without spaces at their ends."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]

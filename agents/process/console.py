"""A rich console for tables and live screens whose text cannot act on the terminal.

Owns nothing else, so that commands without tables start without rich. Called by commands that print tables, and by the
demo.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from agents.process.terminal import printable_lines


class SafeConsole(Console):
    """A rich console that escapes control characters in all text and does not interpret markup; styles remain."""

    def __init__(self, **options: Any) -> None:
        """`options` as of rich's console."""
        super().__init__(markup=False, highlight=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does, with safe text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable_lines(segment.text), segment.style)

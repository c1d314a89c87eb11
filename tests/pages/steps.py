"""Lists the steps of a documentation page: files to save, commands to type and the output to expect.

Owns what the blocks of `tests.pages.blocks` ask a reader to do. Must not know which page it is or how commands are run.
Called by the tests of README and of the tutorial.

A block with `title="NAME.EXT"` is a file. A `console` block has commands after `$ `, each followed by what it prints;
its title names the terminal, and a block without a title is for the first one. In output, `…` stands for any text
within the line; a line that is only `…` stands for any number of lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.pages.blocks import all_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIRST_TERMINAL = "First terminal"
ELLIPSIS = "…"
_PROMPT = "$ "


@dataclass(frozen=True)
class File:
    """A file that the reader saves."""

    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command that the reader types, and the lines that the page shows below it."""

    text: str
    output: tuple[str, ...]
    terminal: str = FIRST_TERMINAL

    @property
    def pattern(self) -> re.Pattern[str]:
        """Matches exactly the outputs that the page describes."""
        return re.compile("".join(_line_pattern(line) for line in self.output))

    def prints(self, output: str) -> bool:
        """Whether the output is what the page shows, apart from spaces at the end of lines."""
        lines = "".join(f"{line.rstrip()}\n" for line in output.splitlines())
        return self.pattern.fullmatch(lines) is not None


def steps(page: Path) -> Iterator[File | Command]:
    """Give the files and commands of a page in the order of the page."""
    for block in all_blocks(page):
        if block.language == "console":
            yield from _commands(block.body, block.title or FIRST_TERMINAL)
        elif block.title is not None:
            yield File(block.title, block.body)


def _commands(body: str, terminal: str) -> Iterator[Command]:
    for command in body.removeprefix(_PROMPT).split(f"\n{_PROMPT}"):
        text, *output = command.splitlines()
        yield Command(text, tuple(output), terminal)


def _line_pattern(line: str) -> str:
    if line == ELLIPSIS:
        return r"(?:.*\n)*?"
    return ".*".join(re.escape(text) for text in line.split(ELLIPSIS)) + r"\n"

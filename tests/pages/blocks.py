"""Reads the fenced code blocks of documentation pages, for the tests that run what the pages show.

Owns the syntax of a fence, and where the policies and the pages of the policy language are. Must not know what the
blocks mean. Called by tests of the policy language and by `tests.pages.steps`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
POLICY_PAGES = sorted((DOCS / "reference/policy").glob("*.md"))
"""The reference of the policy language, one topic a page."""
_FENCED = re.compile(
    r"^```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    """One fenced code block; `title` is None when the fence has none."""

    language: str
    title: str | None
    body: str


def text_of(*pages: Path) -> str:
    """The text of pages, one after another."""
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)


def all_blocks(*pages: Path) -> list[Block]:
    """Every code block of pages, in order."""
    return [Block(match["language"], match["title"], match["body"]) for match in _FENCED.finditer(text_of(*pages))]


def blocks(language: str, *pages: Path) -> list[str]:
    """The bodies of the code blocks in one language, in order."""
    return [block.body for block in all_blocks(*pages) if block.language == language]


def policy_files(folder: Path) -> list[Path]:
    """The policies of a folder, without the files of cases beside them."""
    return [file for file in sorted(folder.glob("*.toml")) if not file.name.endswith(".test.toml")]

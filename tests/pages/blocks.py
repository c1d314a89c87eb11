"""Reads the code blocks of documentation pages by language, for the tests that run what the pages show.

Owns where the pages of the policy language are. Must not know what the blocks mean.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
POLICY_PAGES = sorted((DOCS / "reference/policy").glob("*.md"))
"""The reference of the policy language, one topic a page."""
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text_of(*pages: Path) -> str:
    """The text of pages, one after another."""
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)


def blocks(language: str, *pages: Path) -> list[str]:
    """The code blocks of one language in pages, in order."""
    return [body for kind, body in _FENCED.findall(text_of(*pages)) if kind == language]

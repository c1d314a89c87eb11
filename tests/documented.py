"""The pages that document the policy language and other commands, for the tests that run what these pages show.

Owns where the pages are and how code blocks are found in them. Must not know what the blocks mean.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
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

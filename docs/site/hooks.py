"""What the documentation site takes from outside docs/: README, CHANGELOG and the script that draws diagrams.

Called by MkDocs at the events that its functions are named after (`hooks` in mkdocs.yml).
"""

from __future__ import annotations

import re
from importlib.resources import files as files_of
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "project"
MERMAID = "site/mermaid.js"
_LINK = re.compile(r"(\[[^\]]*\])\(((?!https?:|#)[^)]+)\)")


def for_the_site(text: str) -> str:
    """Return a page of the repository's root with its links as they are in `FOLDER` of the site.

    A link to a page or picture under docs/ leads to the site's copy. A link to a folder or to any other file becomes
    plain text, because the site has no such page.
    """

    def link(match: re.Match[str]) -> str:
        label, target = match.groups()
        if target.startswith("docs/") and not target.endswith("/"):
            return f"{label}(../{target.removeprefix('docs/')})"
        return label[1:-1]

    return _LINK.sub(link, text)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add README, CHANGELOG and Mermaid to the site's files."""
    for name in ("README.md", "CHANGELOG.md"):
        text = for_the_site((ROOT / name).read_text(encoding="utf-8"))
        files.append(File.generated(config, f"{FOLDER}/{name.lower()}", content=text))
    # The package is a Mermaid for Python; its copy of the browser's script is what the theme would fetch from a CDN.
    script = (files_of("mermaidx") / "assets" / "mermaid.js").read_text(encoding="utf-8")
    files.append(File.generated(config, MERMAID, content=script))
    return files


def on_page_content(html: str, *, page: Page, **_: object) -> str:
    """Load Mermaid on a page that has a diagram, before the theme looks whether somebody has."""
    if 'class="mermaid"' not in html:
        return html
    up = "../" * page.file.src_uri.count("/")
    return f'{html}\n<script src="{up}{MERMAID}"></script>'

"""The documentation site builds without a warning, contains every page, and loads nothing from another host."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.pages.site import ROOT, build, built_once

SOURCES = ("mkdocs.yml", "README.md", "CHANGELOG.md", "docs")
LOADING = {
    ("script", "src"),
    ("link", "href"),
    ("img", "src"),
    ("img", "srcset"),
    ("source", "src"),
    ("source", "srcset"),
    ("iframe", "src"),
    ("object", "data"),
    ("use", "href"),
}
"""Attributes that make a browser load something by itself; `a href` does not."""
ELSEWHERE = re.compile(r"(?i)\s*(?:https?:)?//")
CSS_LOADS = re.compile(r"(?i)(?:url\(\s*['\"]?|@import\s+['\"])((?:https?:)?//[^'\")\s]+)")


class Loads(HTMLParser):
    """Collects what a page makes a browser load from another host."""

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        # A canonical address is read by search engines, and loaded by nobody.
        if tag == "link" and values.get("rel") == "canonical":
            return
        for name, value in attrs:
            if (tag, name) in LOADING and value and ELSEWHERE.match(value):
                self.elsewhere.append(value)
        self.elsewhere += CSS_LOADS.findall(values.get("style") or "")


def loads_from_elsewhere(html: str) -> list[str]:
    """What a page of HTML makes a browser load from another host."""
    page = Loads()
    page.feed(html)
    return page.elsewhere + CSS_LOADS.findall(" ".join(re.findall(r"(?s)<style[^>]*>(.*?)</style>", html)))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_once(tmp_path_factory)


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    loads = {
        page.relative_to(site).as_posix(): loads_from_elsewhere(page.read_text(encoding="utf-8")) for page in pages
    }
    assert {page: addresses for page, addresses in loads.items() if addresses} == {}


def test_no_style_sheet_or_picture_loads_anything_from_another_host(site: Path) -> None:
    assert [str(sheet) for sheet in site.rglob("*.css") if CSS_LOADS.search(sheet.read_text(encoding="utf-8"))] == []
    pictures = [picture for picture in site.rglob("*.svg") if loads_from_elsewhere(picture.read_text(encoding="utf-8"))]
    assert pictures == []


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        '<img src="http://example.com/x.png">',
        "<style>@import 'https://fonts.example/css';</style>",
        "<style>p { background: url(https://example.com/x.png) }</style>",
        "<p style=\"background: url('https://example.com/x.png')\">",
    ],
)
def test_a_page_that_loads_from_another_host_is_noticed(html: str) -> None:
    assert loads_from_elsewhere(html)


def test_a_link_that_a_reader_may_follow_is_no_load() -> None:
    assert (
        loads_from_elsewhere(
            '<a href="https://example.com">x</a><img src="x.png"><link rel="canonical" href="https://x">'
        )
        == []
    )


def test_every_page_of_docs_is_in_the_site_and_can_be_searched(site: Path) -> None:
    sources = [page.relative_to(ROOT / "docs").with_suffix(".html") for page in (ROOT / "docs").rglob("*.md")]
    expected = {page.as_posix() for page in sources} | {"project/readme.html", "project/changelog.html"}
    assert {page for page in expected if not (site / page).exists()} == set()
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    assert expected - {entry["location"].partition("#")[0] for entry in index["docs"]} == set()


def test_a_page_with_a_diagram_loads_the_sites_own_mermaid(site: Path) -> None:
    pages = [page for page in site.rglob("*.html") if '<pre class="mermaid">' in page.read_text(encoding="utf-8")]
    assert {"index.html", "ARCHITECTURE.html"} <= {page.name for page in pages}
    for page in pages:
        text = page.read_text(encoding="utf-8")
        (script,) = re.findall(r'<script src="([^"]*mermaid\.js)"', text)
        assert (page.parent / script).resolve() == site / "site" / "mermaid.js"
        # The theme's script fetches Mermaid from a CDN unless it is there already.
        assert text.index("mermaid.js") < text.index("assets/javascripts/bundle")


def test_make_check_builds_the_site_as_these_tests_do() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^check:( \w+)* docs\b", makefile, re.MULTILINE)
    recipe = re.search(r"^docs:.*\n\t(.*)\n", makefile, re.MULTILINE)
    assert recipe is not None
    assert recipe[1] == "NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what the site is made of, free to be broken."""
    for name in SOURCES:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    return tmp_path


BROKEN = [
    ("docs/index.md", "[a page](tutorial/nowhere.md)", "'tutorial/nowhere.md'"),
    ("docs/index.md", "[a heading](tutorial/score-a-file.md#no-heading)", "'#no-heading'"),
    ("README.md", "[a page](docs/nobody.md)", "nobody.md'"),
    ("docs/left-out.md", "# A page that the navigation does not name", "left-out.md"),
]
"""Mistakes by page, text, and what the warning has to name."""


def test_each_broken_link_and_page_left_out_is_a_warning_and_warnings_fail_the_build(copy: Path) -> None:
    for page, text, _ in BROKEN:
        with (copy / page).open("a", encoding="utf-8") as file:
            file.write(f"\n{text}\n")
    done = build(copy / "built", source=copy)
    assert [shown for _, _, shown in BROKEN if shown not in done.stderr] == []
    assert len(re.findall(r"(?m)^WARNING ", done.stderr)) == len(BROKEN)
    assert done.returncode != 0

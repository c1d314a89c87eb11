"""The files of the page: no script parses text as markup, every named file exists, licences are included.

Owns checks without a browser; `tests/browser` tests what the page does.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[5] / "agents" / "board" / "web" / "static"
VENDOR = STATIC / "vendor"
MODULES = sorted(STATIC.glob("*.js"))
SHEETS = sorted(STATIC.glob("*.css"))
PAGES = sorted(STATIC.glob("*.html"))
MAX_LINES = 400

# Everything that parses a string as HTML or as code, which names of accounts must never reach.
PARSES = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc|setHTML\w*"
    r"|\beval\(|new Function|setAttribute\(\s*[\"']on|javascript:"
)
IMPORT = re.compile(r"^import [^;]*? from \"\./([\w-]+\.js)\";", re.MULTILINE | re.DOTALL)
ELSEWHERE = re.compile(r"https?://|//[a-z]+\.[a-z]")


class Markup(HTMLParser):
    """The files that a page names, and what its content security policy would refuse."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.named: list[str] = []
        self.refused: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "style" or name.startswith("on"):
                self.refused.append(f"<{tag} {name}>")
            if name in {"src", "href"} and value and value.startswith("/static/"):
                self.named.append(value.removeprefix("/static/"))
        if tag == "style":
            self.refused.append("<style>")
        self._in_script = tag == "script"

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.refused.append("<script> with text")

    def handle_endtag(self, _tag: str) -> None:
        self._in_script = False


def test_there_is_a_page() -> None:
    assert {page.name for page in PAGES} == {"index.html", "missing.html", "sign-in.html"}
    assert len(MODULES) > 5


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_no_module_turns_text_into_markup(module: Path) -> None:
    assert PARSES.findall(module.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "line",
    ["row.innerHTML = name", "x.insertAdjacentHTML('beforeend', name)", "eval(name)", 'a.setAttribute("onclick", x)'],
)
def test_the_check_finds_what_parses_text(line: str) -> None:
    assert PARSES.search(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_page_has_nothing_inline_and_names_files_that_exist(page: Path) -> None:
    markup = Markup(page.read_text("utf-8"))
    assert markup.refused == []
    assert markup.named
    assert [name for name in markup.named if not (STATIC / name).is_file()] == []


def test_the_check_finds_what_a_page_must_not_have() -> None:
    markup = Markup("<p style='color:red' onclick='x()'></p><style>p{}</style><script>x()</script>")
    assert markup.refused == ["<p style>", "<p onclick>", "<style>", "<script> with text"]


def test_every_module_is_imported_and_every_import_exists() -> None:
    imports = {module.name: set(IMPORT.findall(module.read_text("utf-8"))) for module in MODULES}
    assert {name for names in imports.values() for name in names} <= imports.keys()
    reached, wanted = set(), {"app.js", "sign-in.js"}
    while wanted:
        name = wanted.pop()
        reached.add(name)
        wanted |= imports[name] - reached
    assert reached == imports.keys()


@pytest.mark.parametrize("file", [*MODULES, *SHEETS, *PAGES], ids=lambda path: path.name)
def test_a_file_is_short_has_a_comment_and_needs_no_other_host(file: Path) -> None:
    text = file.read_text("utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    assert text.startswith({".js": "// ", ".css": "/* ", ".html": "<!doctype html>"}[file.suffix])
    assert ELSEWHERE.search(text.replace("http://www.w3.org/", "")) is None


def test_vendored_files_are_listed_with_their_licence() -> None:
    readme = (VENDOR / "README.md").read_text("utf-8")
    assert all(f"`{file.name}`" in readme for file in VENDOR.iterdir() if file.name != "README.md")
    assert "MIT License" in (VENDOR / "uPlot.LICENSE").read_text("utf-8")
    assert (VENDOR / "uPlot.iife.min.js").read_text("utf-8").startswith("/*! https://github.com/leeoniya/uPlot")

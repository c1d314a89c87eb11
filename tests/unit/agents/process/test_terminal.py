"""Text of foreign records cannot act on a terminal, whichever command prints it."""

from __future__ import annotations

import io
import json
import logging
import re
import unicodedata
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from agents.process.console import SafeConsole
from agents.process.logs import configure_logging
from agents.process.terminal import printable, printable_json, printable_json_lines, printable_lines

ROOT = Path(__file__).parents[4]
PRINTING = re.compile(r"typer\.echo\(|\bConsole\(|\bprint\(|stdout\.write\(")
HOSTILE = "\x1b]0;owned\x07\x9b31m\u202egnp.exe\r\n"
ANYTHING = st.one_of(st.text(), st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))


def acts(text: str) -> bool:
    """Whether a terminal does something else with a text than to show it."""
    joiners = {"\u200c", "\u200d"}  # parts of words and of emoji
    return any(
        unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
        or (unicodedata.bidirectional(character) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
        for character in text
        if character not in joiners
    )


@given(ANYTHING)
def test_a_printable_text_does_nothing_and_others_stay(text: str) -> None:
    assert not acts(printable(text))
    assert printable(printable(text)) == printable(text)
    if not acts(text) and text.isprintable():
        assert printable(text) == text


def test_characters_are_shown_as_escapes() -> None:
    assert printable("a\x1b[2Jb\n\u202e\x9b") == r"a\x1b[2Jb\n\u202e\x9b"
    assert printable("Zoë & 株式会社, شركة 👩‍🚀") == "Zoë & 株式会社, شركة 👩‍🚀"
    assert printable_lines("one\ntwo\tthree") == "one\ntwo\\tthree"


@given(st.dictionaries(st.text(), st.text()))
def test_json_has_the_same_meaning(content: dict[str, str]) -> None:
    text = printable_json(content)
    assert not acts(text)
    assert json.loads(text) == content


def test_a_table_keeps_its_styles_and_shows_escapes() -> None:
    console = SafeConsole(file=io.StringIO(), force_terminal=True, width=80)
    table = Table("account")
    table.add_row(f"[red]{HOSTILE}[/nonsense]")
    console.print(table)
    console.print(HOSTILE, style="red", soft_wrap=True)
    assert isinstance(console.file, io.StringIO)
    output = console.file.getvalue()
    assert "\x1b[31m" in output  # our own red
    assert not acts(re.sub(r"\x1b\[[0-9;]*m|\n", "", output))
    assert r"\x1b]0;owned" in output  # rich itself drops the bell
    assert r"\x9b31m\u202egnp.exe" in output


def test_a_log_line_does_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure_logging("info")
        structlog.get_logger().error("alert_unreadable", error=HOSTILE + "\x7f")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()
    assert not acts(capfd.readouterr().err.rstrip("\n"))


def test_commands_print_in_no_other_way() -> None:
    own = {"agents/cli/base.py", "agents/process/console.py"}
    allowed = {
        "agents/backtest/command.py": "typer.echo(printable_json(result.report))",
        "agents/demo/run.py": 'sys.stdout.write(json.dumps(result) + "\\n")',  # figures only, in ASCII
    }
    others = [
        f"{name}:{number}: {line.strip()}"
        for folder in ("cli", "demo", "backtest", "shadow", "files")
        for path in sorted((ROOT / "agents" / folder).rglob("*.py"))
        if (name := path.relative_to(ROOT).as_posix()) not in own
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if PRINTING.search(re.sub(r"SafeConsole\(\)\.print\(|SafeConsole\(|console\.print\(", "", line))
        and line.strip() != allowed.get(name)
    ]
    assert others == []


@given(st.lists(st.dictionaries(st.text(), st.text(), max_size=2), max_size=4))
def test_lines_of_json_are_those_of_one_at_a_time(contents: list[dict[str, str]]) -> None:
    assert printable_json_lines(contents) == "".join(printable_json(content) + "\n" for content in contents)


@pytest.mark.parametrize("text", ["\x7f", "\u202e", "\n", "plain"])
def test_no_line_of_json_acts_on_a_terminal(text: str) -> None:
    lines = printable_json_lines([{"name": text}, {"name": "plain"}])
    assert not any(acts(line) for line in lines.split("\n"))
    assert [json.loads(line) for line in lines.splitlines()] == [{"name": text}, {"name": "plain"}]

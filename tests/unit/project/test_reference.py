"""The generated tables of docs/reference are those of the code, and every hand-written cell that is due is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agents.settings.settings import Settings
from schemas.sources import BUILT_IN, DLQ_SUFFIX
from schemas.topics import DLQ_PROGRESS, MAPPER_DLQ, SCORE_ROWS, WEBHOOK_DLQ, all_topics
from tests.unit.project.reference_pages import (
    BLOCK,
    PAGES,
    SCHEMAS,
    block_names,
    cells_by_key,
    command_text,
    schema_files,
    with_tables,
)

WRITE = "python -m tests.unit.project.reference_pages"
BLOCKS = {
    "settings.md": [f"settings-{group}" for group in ("worker", "security", "board", "redis", "registry", "sinks")],
    "metrics.md": [
        "metrics-worker",
        "metrics-sinks",
        "metrics-redis",
        "metrics-derived",
        "metrics-mapper",
        "metrics-board",
    ],
    "topics.md": ["topics", "topic-settings", "input-fields", "output-fields"],
    "commands.md": ["commands"],
    "rights.md": ["rights"],
    "schemas.md": ["schema-rules"],
    "http-api.md": ["http-api"],
    "python.md": ["python"],
}
COMMANDS = {
    *(
        "backtest",
        "board",
        "check",
        "demo",
        "explain",
        "import",
        "init",
        "map",
        "mapper",
        "peers",
        "rollup",
        "rows",
        "schemas",
        "score",
        "shadow",
        "status",
        "test",
        "topics",
        "worker",
    ),
    *(f"dlq {name}" for name in ("discard", "list", "replay", "show")),
    *(f"state {name}" for name in ("export", "import", "quarantine", "rebuild", "repartition")),
    *(f"sink {name}" for name in ("alertmanager", "notify", "plugin", "redis", "webhook")),
}


def text_of(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")


def block(page: str, name: str) -> str:
    return next(match[3] for match in BLOCK.finditer(text_of(page)) if match[2] == name)


@pytest.mark.parametrize("page", BLOCKS)
def test_the_tables_of_a_page_are_those_of_the_code(page: str) -> None:
    text = text_of(page)
    assert block_names(text) == BLOCKS[page]
    assert with_tables(text) == text, f"run `{WRITE}`"


@pytest.mark.parametrize(
    ("page", "old", "new"),
    [
        ("settings.md", "| `VITALS_GROUP` | `account-vitals` |", "| `VITALS_GROUP` | `vitals` |"),
        ("settings.md", "≤ 1,024", "≤ 1,023"),
        (
            "metrics.md",
            "| `vitals_lag_records` | gauge | `topic`, `partition` |",
            "| `vitals_lag_records` | gauge | none |",
        ),
        ("metrics.md", "Input records on the broker that are not applied yet.", "Records that wait."),
        (
            "topics.md",
            "| `health.alerts` | at least N | delete | 90 days |",
            "| `health.alerts` | at least N | delete | 9 days |",
        ),
        ("rights.md", "`health.alerts` | READ", "`health.alerts` | WRITE"),
        ("commands.md", "| `--create` | off | Create the missing topics. |\n", ""),
        ("http-api.md", "| `GET /api/shadow` |", "| `GET /api/shadows` |"),
        ("python.md", "`feed(events: Any)", "`feed(event: Any)"),
    ],
)
def test_a_table_that_differs_from_the_code_is_found(page: str, old: str, new: str) -> None:
    stale = text_of(page).replace(old, new)
    assert stale != text_of(page)
    assert with_tables(stale) != stale


def test_the_schemas_are_those_of_the_code() -> None:
    written = {file.name: file.read_text(encoding="utf-8") for file in SCHEMAS.iterdir()}
    texts = schema_files()
    assert sorted(written) == sorted(texts), f"run `{WRITE}`"
    for name, text in texts.items():
        assert written[name] == text, f"{name} has changed: run `{WRITE}`"


def test_every_schema_has_a_link() -> None:
    linked = set(re.findall(r"\(schemas/([\w.-]+)\)", text_of("schemas.md")))
    assert linked == set(schema_files())


@pytest.mark.parametrize("name", BLOCKS["settings.md"])
def test_every_setting_has_a_meaning(name: str) -> None:
    assert [key for key, meaning in cells_by_key(block("settings.md", name)).items() if not meaning] == []


def test_every_setting_is_in_one_table() -> None:
    listed = re.findall(r"^\| `VITALS_(\w+)`", text_of("settings.md"), re.MULTILINE)
    assert sorted(listed) == sorted(name.upper() for name in Settings.model_fields)


def test_every_topic_and_path_says_what_it_is() -> None:
    for page, name in (("topics.md", "topics"), ("http-api.md", "http-api")):
        assert [key for key, value in cells_by_key(block(page, name)).items() if not value] == []


def test_every_topic_has_a_row() -> None:
    names = {topic.name for topic in all_topics("<group>", BUILT_IN)} | {
        SCORE_ROWS.name,
        MAPPER_DLQ.name,
        DLQ_PROGRESS.name,
    }
    letters = {name for name in names if name.endswith(DLQ_SUFFIX) and name not in {WEBHOOK_DLQ, MAPPER_DLQ.name}}
    rows = set(cells_by_key(block("topics.md", "topics"))) - {"Topic"}
    assert rows == {f"`{name}`" for name in names - letters | {f"<input>{DLQ_SUFFIX}"}}


def test_every_command_has_a_section_and_every_option_a_description() -> None:
    text = command_text()
    assert set(re.findall(r"^#+ vitals (.+)$", text, re.MULTILINE)) == COMMANDS | {"dlq", "sink", "state"}
    assert re.findall(r"^\|.*\| (?:None)? *\|$", text, re.MULTILINE) == []


def test_pages_are_where_the_writer_looks() -> None:
    assert Path(PAGES).is_dir()
    assert {page.name for page in PAGES.glob("*.md") if BLOCK.search(page.read_text(encoding="utf-8"))} == set(BLOCKS)

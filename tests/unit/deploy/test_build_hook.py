"""The build hook of the wheel changes imports and nothing else, and refuses what it cannot change."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
PRODUCT = ("account_vitals", "agents", "schemas", "stream")
MODULE_TEXT = re.compile(r"(agents|schemas|stream)(\.[a-z_]+)*(:[a-z_]+)?")


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_hook", ROOT / "deploy" / "wheel" / "build_hook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_imports_are_changed_and_nothing_else(hook: ModuleType) -> None:
    text = '''"""From stream.engine import nothing: `from agents.x import y`."""
from agents.cli import (  # a comment
    main,
)
from streamlit import agents
import schematics
from . import stream
def f():
    "from schemas.events import Event"
    é = "é"; from schemas.events import Event
    return é
'''
    expected = text.replace("\nfrom agents.cli", "\nfrom account_vitals.agents.cli").replace(
        '"é"; from schemas.', '"é"; from account_vitals.schemas.'
    )
    assert hook.moved_imports(text, "a.py") == expected


@pytest.mark.parametrize("text", ["import stream", "import os, agents.cli", "from  agents import cli"])
def test_an_import_that_cannot_be_changed_is_refused(hook: ModuleType, text: str) -> None:
    with pytest.raises(hook.UnmovableImportError, match=r"^a\.py:2: write `from"):
        hook.moved_imports(f"x = 1\n{text}\n", "a.py")


def test_a_folder_that_is_missing_is_refused(hook: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="copy the whole checkout"):
        hook.write_moved(tmp_path, tmp_path / "target")


def test_no_text_in_the_product_names_a_module_that_moves() -> None:
    """Such as `"agents.cli.main:app"` or `-m agents`: in a wheel the module has another name."""
    import ast  # noqa: PLC0415 -- one test reads code

    named = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        for package in PRODUCT
        for path in sorted((ROOT / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and MODULE_TEXT.fullmatch(node.value)
    ]
    assert [text for text in named if not text.endswith(": schemas")] == []  # a member of OpenAPI

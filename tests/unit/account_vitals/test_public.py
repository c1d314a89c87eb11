"""The public names can be imported, have documentation, run their examples, and cost nothing until they are used."""

from __future__ import annotations

import doctest
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import account_vitals as av

ROOT = Path(__file__).parents[3]
SLOW = ("duckdb", "faust", "matplotlib", "narwhals", "numpy", "pandas", "polars", "pyarrow")


@pytest.mark.parametrize("name", av.__all__)
def test_a_public_name_can_be_imported_and_says_what_it_is(name: str) -> None:
    value = getattr(av, name)
    assert name in dir(av)
    assert name == "Moment" or (value.__doc__ or "").strip()


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'nothing'"):
        av.nothing  # noqa: B018 -- that it fails is the test


@pytest.mark.parametrize("module", ["", ".engine", ".policies", ".testing"])
def test_the_examples_give_what_they_say(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    results = doctest.testmod(importlib.import_module(f"account_vitals{module}"))
    assert results.failed == 0
    assert results.attempted > 0


@pytest.mark.parametrize("statement", ["import account_vitals", "from agents.cli.main import app"])
def test_nothing_slow_is_imported_before_it_is_used(statement: str) -> None:
    code = f"import json, sys\n{statement}\nprint(json.dumps([name for name in {SLOW!r} if name in sys.modules]))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert json.loads(done.stdout) == []

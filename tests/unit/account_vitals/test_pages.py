"""The pages about the package and the notebook show what happens when their code runs."""

from __future__ import annotations

import doctest
import gzip
import json
import re
import runpy
import sys
import tomllib
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt

import account_vitals as av
from tests.pages.steps import File, steps
from tests.unit.account_vitals.extension import write_entry_points
from tests.unit.agents.cli.invoke import vitals

ROOT = Path(__file__).parents[3]
TUTORIAL = ROOT / "docs" / "tutorial" / "score-a-file.md"
USE, EXTEND = ROOT / "docs/how-to/use-from-python.md", ROOT / "docs/how-to/extend.md"
NOTEBOOK = ROOT / "examples" / "health-of-accounts.ipynb"
TEMPLATE = ROOT / "deploy" / "policies" / "template.toml"


def test_the_examples_of_the_page_give_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    policy = next(step for step in steps(TUTORIAL) if isinstance(step, File) and step.name == "first.toml")
    Path("first.toml").write_text(policy.text, "utf-8")
    blocks = re.findall(r"^```pycon\n(.*?)^```$", USE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, USE.name, str(USE), 0)
    printed: list[str] = []
    results = doctest.DocTestRunner().run(test, out=printed.append)
    assert results.failed == 0, "".join(printed)
    assert results.attempted > 10


def test_the_package_of_the_page_is_used_and_its_tests_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in steps(EXTEND):
        if isinstance(step, File):
            (tmp_path / step.name).write_text(step.text, "utf-8")
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in points.items()))
    ]
    write_entry_points(tmp_path, project["name"], "\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for module in ("ledger", "pager", "our_measures"):
        monkeypatch.delitem(sys.modules, module, raising=False)

    events = tmp_path / "billing.ledger.gz"
    events.write_bytes(gzip.compress(b"i1|acme|2026-03-02T09:00:00Z|3\n"))
    assert av.score(events, TEMPLATE)["account_id"].to_pylist() == ["acme"]
    assert "(installed: pager)" in vitals("sink", "plugin", "nothing").stderr
    tests = runpy.run_path(str(tmp_path / "test_extensions.py"))
    names = [name for name in tests if name.startswith("test_")]
    assert len(names) == 4
    for name in names:
        tests[name]()
    (shown,) = re.findall(
        r"^```console\n\$ vitals (.*?)\n(.*?)^```$", EXTEND.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    done = vitals(*shown[0].split())
    assert (done.exit_code, re.sub("@[0-9a-f]{16}", "@DIGEST", done.stdout)) == (0, shown[1]), done.stderr


def cells(kind: str) -> list[str]:
    document = json.loads(NOTEBOOK.read_text("utf-8"))
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    return ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == kind]


def test_the_notebook_runs_and_ends_with_a_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(NOTEBOOK.parent)
    mpl.use("Agg")
    names: dict[str, Any] = {}
    try:
        for number, code in enumerate(cells("code"), 1):
            assert plt.get_fignums() == []
            exec(compile(code, f"cell {number}", "exec"), names)  # noqa: S102 -- the notebook is the test
        (axes,) = plt.gcf().axes
        assert {line.get_label() for line in axes.get_lines()} >= {"acme", "birch", "cedar", "dune"}
    finally:
        plt.close("all")
    assert cells("markdown")[0].startswith("# ")

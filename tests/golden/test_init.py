"""`vitals init` on the example events: every file that it writes, to the letter.

After a change that is meant, `python -m tests.golden.test_init` writes the expected text anew.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from typer.testing import CliRunner

from agents.cli.main import app

ROOT = Path(__file__).parents[2]
EVENTS, HOOKS = ROOT / "deploy/examples/events.jsonl", ROOT / "deploy/examples/exports/stripe.jsonl"
EXPECTED = Path(__file__).parent / "data" / "init.txt"
VERBATIM = {"compose.yml", "mappings/stripe.toml"}
"""Files that are texts of the project; other tests compare them."""


def written(folder: Path, patch: pytest.MonkeyPatch) -> str:
    """What the command prints, then the text of each file."""
    patch.chdir(folder)
    patch.setattr(secrets, "token_hex", lambda size: "f" * 2 * size)
    for path in (EVENTS, HOOKS):
        Path(path.name).write_bytes(path.read_bytes())
    done = CliRunner().invoke(app, ["init", "--from", EVENTS.name, HOOKS.name, "--name", "acme-health"])
    assert done.exit_code == 0, done.stderr
    shown = [f"$ vitals init --from {EVENTS.name} {HOOKS.name} --name acme-health\n{done.stdout}"]
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    for path in files:
        if path.name not in {EVENTS.name, HOOKS.name}:
            text = "(…)\n" if path.as_posix() in VERBATIM else path.read_text(encoding="utf-8")
            shown.append(f"=== {path.as_posix()}\n{text}")
    return "\n".join(shown)


def test_every_file_is_as_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert written(tmp_path, monkeypatch) == EXPECTED.read_text(encoding="utf-8")


if __name__ == "__main__":
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        EXPECTED.write_text(written(Path(folder), patch), encoding="utf-8")

"""Build the wheel: `agents`, `schemas` and `stream` of the checkout become subpackages of `account_vitals`.

The native decoder of events is built first, if cargo is installed (`native.py`).

Owns the change of import statements that this needs, so that the wheel installs one top-level package. Other packages
of the world are called `agents` and `stream`, too. Lines keep their numbers. An editable install keeps the folders
of the checkout as they are. Called by hatchling (`pyproject.toml`); decision 63 says why.
"""

from __future__ import annotations

import ast
import runpy
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "account_vitals"
MOVED = ("agents", "schemas", "stream")
DATA = {"deploy/mappings": "agents/mappings", "deploy/policies": "agents/policies"}
"""Folders that are beside the modules in a wheel only: in a checkout they stay where people edit them."""
_SKIPPED = (
    "__pycache__",
    "native/src",
    "native/target",
    "native/Cargo.toml",
    "native/Cargo.lock",
    "native/rustfmt.toml",
)
"""What no installed package needs."""


class UnmovableImportError(ValueError):
    """An import statement that cannot be changed in its line; the message names the file and the line."""


def moved_imports(text: str, file: str) -> str:
    """The text of a module whose imports name `account_vitals.agents` instead of `agents`, and so on.

    Raises UnmovableImportError for `import agents.x`, which binds a name that the wheel does not have.
    """
    lines = text.encode().split(b"\n")
    for node in ast.walk(ast.parse(text, file)):
        if isinstance(node, ast.Import):
            if any(_moves(alias.name) for alias in node.names):
                raise UnmovableImportError(f"{file}:{node.lineno}: write `from ... import`, not `{ast.unparse(node)}`")
        elif isinstance(node, ast.ImportFrom) and not node.level and _moves(node.module or ""):
            number, start = node.lineno - 1, node.col_offset
            old = f"from {node.module} import".encode()
            if not lines[number].startswith(old, start):
                raise UnmovableImportError(f"{file}:{node.lineno}: write `{old.decode()}` with single spaces")
            new = f"from {PACKAGE}.{node.module} import".encode()
            lines[number] = lines[number][:start] + new + lines[number][start + len(old) :]
    return b"\n".join(lines).decode()


def _moves(module: str) -> bool:
    return module.partition(".")[0] in MOVED


def write_moved(root: Path, target: Path) -> None:
    """Write all files of the wheel's package into `target`, from the checkout `root`."""
    folders = {PACKAGE: "", **{name: name for name in MOVED}, **DATA}
    for folder, moved_to in folders.items():
        files = [path for path in (root / folder).rglob("*") if path.is_file() and not _skipped(path)]
        if not files:
            raise FileNotFoundError(f"{root / folder}: there is nothing to build from; copy the whole checkout")
        for path in files:
            written = target / moved_to / path.relative_to(root / folder)
            written.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes()
            if path.suffix == ".py":
                content = moved_imports(content.decode(), path.relative_to(root).as_posix()).encode()
            written.write_bytes(content)


def _skipped(path: Path) -> bool:
    return any(f"/{name}/" in f"{path.as_posix()}/" for name in _SKIPPED)


class MovingBuildHook(BuildHookInterface[Any]):
    """Lets hatchling take the package from a folder with changed imports."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the package and name its folder; an editable install needs neither."""
        if version == "editable":
            return
        # The wheel is for any platform where cargo is missing, and else for this one; for any Python in both cases.
        if runpy.run_path(str(Path(__file__).with_name("native.py")))["build"](Path(self.root)) is not None:
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"], build_data["tag"] = False, f"py3-none-{platform}"
        self._folder = tempfile.TemporaryDirectory(prefix="account-vitals-wheel-")
        write_moved(Path(self.root), Path(self._folder.name))
        build_data["force_include"][self._folder.name] = PACKAGE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the folder."""
        del build_data, artifact_path
        if version != "editable":
            self._folder.cleanup()

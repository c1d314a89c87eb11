"""A distribution with entry points, as another package installs it, and its module."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

MODULE = """
import json
from pathlib import Path

DELIVERED = Path(__file__).with_name("delivered.jsonl")


def read(content):
    for line in content.decode().splitlines():
        number, account, time = line.split("|")
        yield {"id": number, "account_id": account, "time": time, "kind": "webinar", "note": None}


class Pager:
    def deliver(self, kind, alert):
        with DELIVERED.open("a") as file:
            file.write(json.dumps([kind, alert.id]) + "\\n")


class NoSink:
    pass


def broken():
    raise RuntimeError("no pager is configured")
"""


def install(folder: Path, name: str, entries: Mapping[str, Mapping[str, str]], module: str = MODULE) -> None:
    """Write a distribution into a folder of `sys.path`; `entries` are its entry points by group and name."""
    module_name = name.replace("-", "_")
    (folder / f"{module_name}.py").write_text(module, "utf-8")
    groups = [
        f"[{group}]\n" + "".join(f"{key} = {module_name}:{value}\n" for key, value in points.items())
        for group, points in entries.items()
    ]
    write_entry_points(folder, name, "\n".join(groups))


def write_entry_points(folder: Path, name: str, text: str) -> None:
    """Write the metadata of a distribution that is in a folder, with its entry points."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "utf-8")
    (info / "entry_points.txt").write_text(text, "utf-8")

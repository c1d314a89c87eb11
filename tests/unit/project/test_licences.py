"""Licences: no package that the product needs at run time is under a copyleft licence."""

from __future__ import annotations

import re
import tomllib
from email.message import Message
from importlib.metadata import metadata, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
COPYLEFT = re.compile(r"\b[AL]?GPL|GNU (Affero |Lesser |Library )?General Public", re.IGNORECASE)


def is_copyleft(package: Message) -> bool:
    """Whether the metadata of a package name a copyleft licence; a licence text is judged by its first line."""
    classifiers = [text for text in package.get_all("Classifier") or [] if text.startswith("License ::")]
    named = [package.get("License-Expression") or "", *(package.get("License") or "").splitlines()[:1], *classifiers]
    return any(COPYLEFT.search(text) for text in named)


def runtime_packages() -> set[str]:
    """All packages that pyproject.toml names, and those that they need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    waiting = [(text, frozenset[str]()) for text in project["dependencies"]]
    seen = set(waiting)
    needed = set()
    while waiting:
        text, extras = waiting.pop()
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in (*extras, "")):
            continue
        needed.add(requirement.name.lower())
        wanted = frozenset(requirement.extras)
        steps = {(text, wanted) for text in requires(requirement.name) or []} - seen
        seen |= steps
        waiting += sorted(steps, key=str)
    return needed


def test_no_runtime_package_is_under_a_copyleft_licence() -> None:
    packages = runtime_packages()
    assert {"aiokafka", "kafka-python", "hiredis", "httpcore", "yarl"} <= packages
    assert not {name for name in packages if is_copyleft(metadata(name))}  # type: ignore[arg-type]  # reads like one


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        ("License-Expression", "LGPL-2.1-or-later", True),
        ("License-Expression", "AGPL-3.0-only", True),
        ("License", "GPL v2\n...", True),
        ("Classifier", "License :: OSI Approved :: GNU Lesser General Public License v2 or later (LGPLv2+)", True),
        ("License-Expression", "Apache-2.0", False),
        ("License", "BSD\nThis is not the GPL", False),
        ("Classifier", "Topic :: GPL", False),
    ],
)
def test_a_copyleft_licence_is_found(field: str, text: str, expected: bool) -> None:
    package = Message()
    package[field] = text
    assert is_copyleft(package) is expected

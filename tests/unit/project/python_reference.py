"""Generates the text of docs/reference/python.md from the docstrings and signatures of the public package.

Owns its form. Called by `tests.unit.project.reference_pages`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from msgspec import Struct

import account_vitals
from account_vitals import testing

_WIDTH = 100


def python_text() -> str:
    """A section for each public name, of the package and of its module for tests."""
    sections = [
        *_sections(account_vitals, "av."),
        "## Contract tests\n",
        f"{_about(testing)}\n",
        *_sections(testing, ""),
    ]
    return "\n" + "\n".join(sections)


def _sections(module: ModuleType, prefix: str) -> Iterator[str]:
    for name in module.__all__:
        value = getattr(module, name)
        yield f"### {name}\n"
        if inspect.isclass(value):
            yield from _class(value, prefix)
        elif inspect.isfunction(value):
            yield f"```python\n{prefix}{_signature(value)}\n```\n"
            yield f"{_about(value)}\n"
        else:
            yield f"`{re.sub(r'collections[.]abc[.]|typing[.]', '', str(value))}`\n"


def _class(value: type[Any], prefix: str) -> Iterator[str]:
    names = value.__struct_fields__ if issubclass(value, Struct) else getattr(value, "__dataclass_fields__", None)
    if names is not None:
        yield f"Fields: {', '.join(f'`{field}`' for field in names)}.\n"
        yield f"{_about(value)}\n"
        return
    made_by_others = issubclass(value, Exception) or hasattr(value, "_is_protocol") or hasattr(value, "load")
    if not made_by_others:
        yield f"```python\n{prefix}{value.__name__}{_parameters(value)}\n```\n"
    yield f"{_about(value)}\n"
    if issubclass(value, Exception):
        return
    rows = [
        (name, member)
        for name, member in vars(value).items()
        if not name.startswith("_") and inspect.getdoc(member) and "not public" not in (inspect.getdoc(member) or "")
    ]
    for name, member in rows:
        if not callable(getattr(member, "__func__", member)) and not isinstance(member, property):
            continue
        function = member.__func__ if isinstance(member, classmethod) else member
        shown = name if isinstance(member, property) else f"{name}{_parameters(function, bound=True)}"
        yield f"- `{shown}`: {_about(member).replace(chr(10), ' ').replace('  ', ' ')}"
    if rows:
        yield ""


def _about(value: object) -> str:
    """A docstring as Markdown: examples are code, and lines for people who change the code are left out."""
    text = inspect.getdoc(value) or ""
    paragraphs = [paragraph for paragraph in text.split("\n\n") if not paragraph.startswith(("Owns ", ">>> import"))]
    return "\n\n".join(
        f"```pycon\n{paragraph}\n```" if paragraph.startswith(">>>") else paragraph for paragraph in paragraphs
    )


def _signature(function: Any) -> str:
    text = f"{function.__name__}{_parameters(function)}"
    if len(text) <= _WIDTH:
        return text
    parameters, returned = re.findall(r"^\w+\((.*)\)( -> .*)$", text)[0]
    lines = "".join(f"    {parameter},\n" for parameter in re.split(r", (?![^\[(]*[\])])", parameters))
    return f"{function.__name__}(\n{lines}){returned}"


def _parameters(function: Any, *, bound: bool = False) -> str:
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    if bound and parameters and parameters[0].name in {"self", "cls"}:
        parameters = parameters[1:]
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(signature.replace(parameters=parameters)))

"""Extensions that other packages install: objects behind entry points of the groups `account_vitals.*`.

Owns how an extension is looked up, and what is said when it is missing, ambiguous or cannot be loaded. Must not know
what an extension does. Called by `agents.files.formats`, `agents.files.policies` and `agents.sinks.run`.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

FORMATS = "account_vitals.formats"
"""Formats of event files: the name is the ending of the file without its dot."""
SINKS = "account_vitals.sinks"
"""Alert sinks: the name is that of `vitals sink plugin NAME`."""

STATISTICS = "account_vitals.statistics"
"""Statistics of measures: the name is that of `stat`."""
NORMALISERS = "account_vitals.normalisers"
"""Normalisers: the name is their `kind`."""


class Plugin(NamedTuple):
    """An extension: its object, and the package that it is of."""

    value: Any
    package: str
    version: str


class PluginError(RuntimeError):
    """An extension that cannot be used; the message says which package to install, remove or report."""


def plugin_names(group: str) -> tuple[str, ...]:
    """The names of all extensions of a group, sorted."""
    return _names(group, tuple(sys.path))


@lru_cache
def _names(group: str, _path: tuple[str, ...]) -> tuple[str, ...]:
    """The names under this `sys.path`; reading them takes some milliseconds."""
    return tuple(sorted({point.name for point in entry_points(group=group)}))


def plugin(group: str, name: str) -> Any:
    """The object of an extension. Raises PluginError."""
    return plugin_of_package(group, name).value


def plugin_of_package(group: str, name: str) -> Plugin:
    """An extension with its package. Raises PluginError."""
    points = list({point.value: point for point in entry_points(group=group) if point.name == name}.values())
    if not points:
        installed = ", ".join(plugin_names(group)) or "none"
        raise PluginError(f"no installed package has {name!r} in the entry points {group} (installed: {installed})")
    if len(points) > 1:
        packages = " and ".join(sorted(_package(point) for point in points))
        raise PluginError(f"{name!r} in the entry points {group} is of {packages}: uninstall all but one of them")
    (point,) = points
    try:
        version = point.dist.version if point.dist is not None else ""
        return Plugin(point.load(), _package(point), version)
    except Exception as error:
        raise PluginError(
            f"{name!r} in the entry points {group} is {point.value} of {_package(point)}, which cannot be loaded: "
            f"{type(error).__name__}: {error}"
        ) from error


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value

"""The committed figures of `figures.toml`, and which ones are worse than allowed.

Owns the file and the margins. Must not know how figures are measured.
"""

from __future__ import annotations

import platform
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.perf_gate.work import Cost

FIGURES = Path(__file__).with_name("figures.toml")
MARGINS = {"calls": 0.03, "output_bytes": 0.01, "changelog_bytes": 0.01, "peak_kib": 0.10}
"""How much larger a figure may be: new versions of libraries call a little more and allocate a little more."""
UNITS = {
    "calls": "function calls an event",
    "output_bytes": "bytes of outputs an event",
    "changelog_bytes": "bytes of changelog an event",
    "peak_kib": "KiB at the peak",
}
_PYTHON = ".".join(platform.python_version_tuple()[:2])
_OF_PYTHON = {"calls", "peak_kib"}
"""Figures that another version of Python changes by itself."""


def read_figures() -> dict[str, dict[str, float]]:
    """Return the committed figures by work and name."""
    figures: dict[str, dict[str, float]] = tomllib.loads(FIGURES.read_text("utf-8"))["works"]
    return figures


def write_figures(costs: Mapping[str, Cost]) -> None:
    """Replace the committed figures."""
    lines = ["# Written by `python -m tests.perf_gate --write`.", f'python = "{_PYTHON}"']
    for name, cost in costs.items():
        lines += ["", f"[works.{name}]", *(f"{figure} = {value:.3f}" for figure, value in asdict(cost).items())]
    FIGURES.write_text("\n".join(lines) + "\n", "utf-8")


def measured_with() -> str:
    """Return the version of Python that the committed figures were measured with, such as `3.11`."""
    return str(tomllib.loads(FIGURES.read_text("utf-8"))["python"])


def compare(name: str, cost: Cost, figures: Mapping[str, float]) -> list[str]:
    """Return a sentence for each figure that is worse than allowed; with another Python only bytes are compared."""
    compared = UNITS.keys() - (set() if measured_with() == _PYTHON else _OF_PYTHON)
    return [
        f"{name}: {value:,.1f} {UNITS[figure]}, {(value / figures[figure] - 1) * 100:.1f} % more than the committed "
        f"{figures[figure]:,.1f} (allowed: {MARGINS[figure] * 100:.0f} %)"
        for figure, value in asdict(cost).items()
        if figure in compared and value > figures[figure] * (1 + MARGINS[figure])
    ]

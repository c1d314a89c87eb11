"""Find mapping files: the presets that ship, and a person's own.

Owns where presets lie. Must not know what a mapping contains. Called by the commands.
"""

from __future__ import annotations

from pathlib import Path

from stream.policy.errors import did_you_mean

PACKAGED = Path(__file__).parents[1] / "mappings"
CHECKOUT = Path(__file__).parents[2] / "deploy" / "mappings"


class UnknownMappingError(ValueError):
    """A name that is neither a file nor a preset; the message lists the presets."""


def presets() -> Path:
    """The folder of the presets, of the installed package or of the checkout."""
    return PACKAGED if PACKAGED.is_dir() else CHECKOUT


def preset_names() -> list[str]:
    """The names of the presets, sorted."""
    return sorted(path.stem for path in presets().glob("*.toml"))


def mapping_file(name: str) -> Path:
    """The file of a mapping: a path, or the name of a preset. Raises UnknownMappingError."""
    path = Path(name)
    if name in preset_names() and not path.is_file():
        return presets() / f"{name}.toml"
    if path.suffix != ".toml" and not path.exists():
        guess = did_you_mean(name, preset_names()) or ";"
        message = f"{name!r} is neither a file nor a preset{guess} presets: {', '.join(preset_names())}"
        raise UnknownMappingError(message)
    return path

"""The installed version of account-vitals, and the command that installs an extra of it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from agents.settings.settings import PACKAGED


def package_version() -> str:
    """The installed version, or "unknown" when run from loose files."""
    try:
        return version("account-vitals")
    except PackageNotFoundError:
        return "unknown"


def install_command(extra: str) -> str:
    """The command that installs an extra; `make setup` installs all of them in a checkout."""
    return f"pip install 'account-vitals[{extra}]'" if PACKAGED.is_dir() else "make setup"

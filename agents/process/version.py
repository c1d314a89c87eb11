"""The installed version of account-vitals."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """The installed version, or "unknown" when run from loose files."""
    try:
        return version("account-vitals")
    except PackageNotFoundError:
        return "unknown"

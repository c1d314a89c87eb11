"""The worker as a Faust app, made from the settings VITALS_* when it is used first: `faust -A account_vitals.app …`.

Owns nothing of what the worker does: `agents.worker.hosted` makes it. Imported by programs that add agents of their own
(docs/how-to/extend.md); nothing of the project imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import faust

    app: faust.App
    """The app. Importing it exits with status 2, after every mistake, where settings or policy have any."""

__all__ = ["app"]


def __getattr__(name: str) -> object:
    """Make the app when it is used first."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = made = _made()
    return made


def _made() -> faust.App:
    from agents.cli.base import candidate_of, plan_of, settings_of  # noqa: PLC0415 -- made when it is used
    from agents.worker.hosted import hosted_app  # noqa: PLC0415

    try:
        settings = settings_of(None)
        plan = plan_of(settings)
        return hosted_app(settings, plan, candidate_of(settings, plan))
    except typer.Exit as error:  # the mistakes were printed
        raise SystemExit(error.exit_code) from error

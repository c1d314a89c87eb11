"""The command `vitals`, also as `python -m account_vitals`.

Owns nothing: the commands are in `agents.cli`. Named in `pyproject.toml`.
"""

from __future__ import annotations

from agents.cli.main import app

__all__ = ["app"]

if __name__ == "__main__":
    app(prog_name="vitals")

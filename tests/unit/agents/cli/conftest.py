"""No setting of the machine reaches the commands."""

from __future__ import annotations

import pytest

from agents.settings.settings import child_environment


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in child_environment():
        if name.startswith("VITALS_"):
            monkeypatch.delenv(name)

"""The app of a worker: its data folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import gettempdir

from agents.worker.client.app import data_folder


def test_the_data_folder_is_private_not_predictable_and_removed_at_the_end() -> None:
    code = "import os; from agents.worker.client.app import data_folder as f; p = f('g'); print(p, os.stat(p).st_mode)"
    folder, mode = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    ).stdout.split()
    assert int(mode) & 0o777 == 0o700
    assert Path(folder).parent == Path(gettempdir())
    assert not Path(folder).exists()
    assert data_folder("g") != folder

"""The command `vitals board`.

Owns its options; the work is in `agents.board`. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLR0917 -- the parameters of a command are its options
# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agents.cli.base import (
    MISUSED,
    BrokerUrl,
    PolicyPath,
    SettingsFile,
    errors_reported,
    fail,
    plan_of,
    say,
    settings_of,
)


def board(
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    policy: PolicyPath = None,
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on. Default: the setting board_host, 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="Port to listen on. Default: the setting board_port, 6080."),
    ] = None,
    recording: Annotated[
        Path | None, typer.Option("--from", help="Show a recording: JSON Lines with topic, key, value, timestamp.")
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Also show records that are appended to the recording later. Only with --from."),
    ] = False,
) -> None:
    """Serve the board: a web page and HTTP API with accounts, score changes and alerts."""
    from agents.board.state.recorded import RecordingError
    from agents.board.web.serve import BoardError, address, serve, serve_recording
    from agents.process.logs import configure_logging
    from agents.process.metrics_server import require_port

    loaded = settings_of(settings, broker=broker, policy=policy, board_host=host, board_port=port)
    plan = plan_of(loaded)
    if recording is not None and not recording.is_file():
        fail(MISUSED, f"--from {recording}: no such file")
    configure_logging(loaded.log_level)
    with errors_reported(BoardError, RecordingError):
        require_port(loaded.board_host, loaded.board_port, "board_port")
        say(f"The board is at {address(loaded)}", err=True)
        if recording is not None:
            status = serve_recording(loaded, plan, recording, follow=follow)
        else:
            status = serve(loaded, plan)
    raise typer.Exit(status)

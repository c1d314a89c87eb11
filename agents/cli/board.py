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
    AllowBefore,
    AsOf,
    BrokerUrl,
    MappingNames,
    PolicyPath,
    SettingsFile,
    errors_reported,
    fail,
    moment,
    plan_of,
    say,
    settings_of,
)


def board(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Event files to score and show, without Kafka: as for vitals score."),
    ] = None,
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
    as_of: AsOf = None,
    allow_before: AllowBefore = None,
    mapping: MappingNames = None,
) -> None:
    """Serve the board: a web page and HTTP API with accounts, score changes and alerts.

    With event files, score them and show the result, without Kafka.
    """
    # long because: the parameters are the options
    from agents.board.state.recorded import RecordingError
    from agents.board.state.scored_files import records_of
    from agents.board.web.serve import BoardError, address, serve, serve_recording, serve_records
    from agents.cli.event_files import published, reading_options, report_left_out
    from agents.process.logs import configure_logging
    from agents.process.metrics_server import require_port

    # The time of files is that of their events: a board of last year's file shows last year.
    event_time = {"time": "event"} if files else {}
    loaded = settings_of(settings, broker=broker, policy=policy, board_host=host, board_port=port, **event_time)
    plan = plan_of(loaded)
    if files and recording is not None:
        fail(MISUSED, "event files and --from exclude each other: a recording has scores already")
    if not files and (as_of or allow_before or mapping):
        fail(MISUSED, "--as-of, --allow-before and --mapping are for event files")
    if recording is not None and not recording.is_file():
        fail(MISUSED, f"--from {recording}: no such file")
    configure_logging(loaded.log_level)
    with errors_reported(BoardError, RecordingError):
        require_port(loaded.board_host, loaded.board_port, "board_port")
        if files:
            as_of_ms = moment(as_of, calendar=plan.calendar)
            replay = published(
                files, plan, as_of_ms, reading_options(loaded, plan.sources, as_of_ms, allow_before, mapping)
            )
            report_left_out(replay)
            say(f"The board is at {address(loaded)}, with {len(replay.scores):,} scored accounts", err=True)
            status = serve_records(loaded, plan, records_of(replay))
            raise typer.Exit(status)
        say(f"The board is at {address(loaded)}", err=True)
        if recording is not None:
            status = serve_recording(loaded, plan, recording, follow=follow)
        else:
            status = serve(loaded, plan)
    raise typer.Exit(status)

"""Run `vitals demo`: start broker, company, worker, board and screen, run a session, and stop everything.

Decides the settings of each, and guarantees that nothing is left running. The order of steps within a run is in
`agents.demo.session`. Called by `agents.cli.demo`.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from uuid import uuid4

from aiokafka.errors import KafkaError

from agents.demo import broker as embedded
from agents.demo.board import DemoBoard
from agents.demo.company import Company
from agents.demo.event_player import EventPlayer
from agents.demo.output_reader import OUTPUTS, OutputReader
from agents.demo.processes import free_port
from agents.demo.progress import Progress
from agents.demo.screen import Screen
from agents.demo.session import DemoError, RunOptions, Session, SessionParts
from agents.demo.worker import DemoWorker
from agents.kafka.client import BrokerError
from agents.kafka.topics import create_missing
from agents.process.console import SafeConsole
from agents.settings.settings import Settings, SettingsError, child_environment, load_settings
from schemas.events import CONTROL_SOURCE
from schemas.sources import BUILT_IN

PARTITIONS = 4
SET_BY_DEMO = (
    "broker", "group", "partitions", "replication", "time", "catch_up", "session_timeout_s", "security_protocol"
)  # fmt: skip
"""Settings that the demo chooses for the worker and the board."""
FAILED, UNUSABLE = 1, 2
LONG_PATIENCE_S = 30.0
"""Time for a worker to commit its progress and leave its group."""
SHORT_PATIENCE_S = 5.0
"""The same on the embedded broker, which keeps nothing."""


def run_demo(
    seconds: float | None,
    as_json: bool,  # noqa: FBT001  the command line's flags, in its order
    broker: str | None,
    kill: bool,  # noqa: FBT001  as above
    *,
    board: bool = True,
    accounts: int = 500,
    days: int = 120,
    seed: int = 7,
) -> int:
    """Run the demo and return the exit code: 0 done, 1 failed or counts do not add up, 2 cannot run here.

    `seconds`: send only as many events as can be applied in about that time; None sends all and then, on a terminal,
    shows the result until Ctrl-C. `broker`: URL of a real Kafka, with its credentials in the `VITALS_` settings; None
    starts an embedded one. `board`: serve the board as well. `kill`: SIGKILL the worker every few seconds and compare
    the counts at the end. `as_json`: write progress to stderr and one JSON object as the last line of stdout. Call it
    from the main thread.
    """
    deadline_s = None if seconds is None else time.monotonic() + seconds
    console = SafeConsole(stderr=as_json)
    watched = console.is_terminal and seconds is None
    options = RunOptions(deadline_s, kill=kill, watched=watched, stays=watched and not as_json)
    with ExitStack() as stack:
        try:
            stack.enter_context(_interruptible())
            settings = _settings(stack, broker, console)
            create_missing(settings, BUILT_IN.under(settings.topic_prefix))
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="vitals-demo-", ignore_cleanup_errors=True))
            company = Company(accounts, days, seed, end_ms=int(time.time() * 1000))
            context = _RunContext(settings, Path(folder), is_embedded=broker is None)
            if board:
                _start_board(stack, context, console)
            session = asyncio.run(_run(context, company, options, console))
        except KeyboardInterrupt:
            _print_error(console, "Stopped before the start; nothing is left running.")
            return FAILED if kill else 0
        except (embedded.BrokerUnavailableError, SettingsError) as error:
            _print_error(console, str(error))
            return UNUSABLE
        except (BrokerError, DemoError, KafkaError) as error:
            _print_error(console, str(error))
            return FAILED
    return _report(session, options, console, as_json=as_json)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP like Ctrl-C, so that everything started is stopped."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True, slots=True)
class _RunContext:
    """Settings and folder of a run."""

    settings: Settings
    folder: Path
    """For files that are deleted after the run."""
    is_embedded: bool


def _settings(stack: ExitStack, broker: str | None, console: SafeConsole) -> Settings:
    """The settings of the run. Without a broker URL, starts the embedded broker, which stops with the stack."""
    group = f"vitals-demo-{uuid4().hex[:8]}"  # each run starts from scratch
    if broker is not None:
        return load_settings(broker=broker, group=group, time="event", catch_up="exact")
    started = stack.enter_context(embedded.EmbeddedBroker())
    console.print(f"Embedded broker at {started.address}. {embedded.NOTICE}", highlight=False, soft_wrap=True)
    return load_settings(
        broker=f"kafka://{started.address}",
        group=group,
        partitions=PARTITIONS,
        replication=1,
        time="event",
        catch_up="exact",
        session_timeout_s=embedded.SESSION_TIMEOUT_S,
        security_protocol="PLAINTEXT",
    )


async def _run(context: _RunContext, company: Company, options: RunOptions, console: SafeConsole) -> Session:
    """Connect all clients, run the session, and disconnect them in any case."""
    connection = context.settings.kafka_python()  # aiokafka's clients have the same options
    async with AsyncExitStack() as stack:
        prefix, idempotent = context.settings.topic_prefix, embedded.IDEMPOTENT if context.is_embedded else True
        player = EventPlayer(company, connection, idempotent=idempotent, prefix=prefix)
        stack.push_async_callback(player.close)
        partitions = await player.connect([*BUILT_IN.of_topics, *OUTPUTS])
        output_reader = OutputReader(connection, from_end=not context.is_embedded, prefix=prefix)
        stack.push_async_callback(output_reader.close)
        await output_reader.connect(partitions)
        counted = {
            topic: partitions[topic] for topic in BUILT_IN.of_topics if topic != CONTROL_SOURCE
        }  # the reader counts those
        stored = 0 if context.is_embedded else await output_reader.stored(counted)
        if stored:
            console.print(
                f"The topics already contain {stored:,} events; they are scored as well.",
                highlight=False,
                soft_wrap=True,
            )
        port = free_port()
        worker = DemoWorker(_environment(context, port, kill=options.kill), port, context.folder / "worker.log", prefix)
        patience_s = SHORT_PATIENCE_S if context.is_embedded else LONG_PATIENCE_S
        stack.push_async_callback(asyncio.to_thread, worker.stop, patience_s)
        screen = stack.enter_context(Screen(console, company.names()))
        session = Session(SessionParts(company, player, worker, output_reader, screen, Progress(stored)), options)
        await session.run()
    return session


def _environment(context: _RunContext, web_port: int, *, kill: bool) -> dict[str, str]:
    """The worker's environment: this process's environment plus the settings that the demo chooses."""
    settings = context.settings.model_dump(include=set(SET_BY_DEMO))
    if kill:
        settings["instance"] = "vitals-demo"  # static membership: a killed worker gets its partitions back at once
    environment = child_environment(**settings, web_host="127.0.0.1", web_port=web_port)
    return {**environment, "TMPDIR": str(context.folder)}


def _start_board(stack: ExitStack, context: _RunContext, console: SafeConsole) -> None:
    """Start a board, which stops with the stack, and print its address."""
    port = free_port()
    settings = context.settings.model_dump(include=set(SET_BY_DEMO))
    environment = child_environment(**settings, board_host="127.0.0.1", board_port=port)
    board = DemoBoard({**environment, "TMPDIR": str(context.folder)}, port, context.folder / "board.log")
    stack.callback(board.stop)
    console.print(f"The board is at {board.address}", highlight=False, soft_wrap=True)


def _print_error(console: SafeConsole, message: str) -> None:
    console.print(message, style="red", highlight=False, markup=False, soft_wrap=True)


def _report(session: Session, options: RunOptions, console: SafeConsole, *, as_json: bool) -> int:
    """Print the result and return the exit code."""
    result = session.result()
    if not session.finished:
        verdict = "Stopped before every event was applied; nothing is left running."
    elif session.adds_up:
        verdict = "The counts add up: every event counted once."
    else:
        verdict = "THE COUNTS DO NOT ADD UP."
    outcomes = ", ".join(f"{outcome} {count:,}" for outcome, count in result["settled"].items() if count) or "none"
    people = f" {result['controls']:,} of them are what people did." if result["controls"] else ""
    killed = f" The worker was killed {result['kills']} times." if options.kill else ""
    console.print(
        f"{result['events']:,} events sent; outcomes: {outcomes}.{people}{killed} {verdict}",
        highlight=False,
        soft_wrap=True,
    )
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
    if session.finished:
        return 0 if session.adds_up else FAILED
    return FAILED if options.kill else 0

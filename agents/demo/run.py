"""`vitals demo`: puts broker, synthetic company, worker and screen together, and takes them apart again.

Owns which parts there are and with which settings, and that nothing is left behind. Must not know the order of events
within a run (`agents.demo.session`). Called by `agents.cli.main`.
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
from rich.console import Console

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
from agents.settings.settings import Settings, SettingsError, child_environment, load_settings
from schemas.events import SOURCES

PARTITIONS = 4
SET_BY_DEMO = (
    "broker", "group", "partitions", "replication", "time", "catch_up", "session_timeout_s", "security_protocol"
)  # fmt: skip
"""Settings that the worker gets from here, and nowhere else."""
FAILED, UNUSABLE = 1, 2
LONG_PATIENCE_S = 30.0
"""A worker may take so long to secure its progress and leave its group."""
SHORT_PATIENCE_S = 5.0
"""On a broker that keeps nothing there is nothing to secure."""


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
    """Run the demo and return the exit code: 0 done, 1 failed or counts that do not add up, 2 not set up for it.

    `seconds`: send only as much as can be applied and shown in about that time from now; None plays everything and
    then, on a terminal, leaves the picture until Ctrl-C. `broker`: a real Kafka, its credentials in the `VITALS_`
    settings; None embeds one. `board`: serve the page beside it. `kill`: SIGKILL the worker every few seconds and
    compare the counts at the end.
    `as_json`: progress goes to stderr, and the last line of stdout is one JSON object. Call it from the main thread.
    """
    deadline_s = None if seconds is None else time.monotonic() + seconds
    console = Console(stderr=as_json)
    watched = console.is_terminal and seconds is None
    options = RunOptions(deadline_s, kill=kill, unhurried=watched, stays=watched and not as_json)
    with ExitStack() as stack:
        try:
            stack.enter_context(_interruptible())
            settings = _settings(stack, broker, console)
            create_missing(settings)
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="vitals-demo-", ignore_cleanup_errors=True))
            company = Company(accounts, days, seed, end_ms=int(time.time() * 1000))
            context = _RunContext(settings, Path(folder), is_embedded=broker is None)
            if board:
                _show_board(stack, context, console)
            session = asyncio.run(_run(context, company, options, console))
        except KeyboardInterrupt:
            _complain(console, "Stopped before it began; nothing is left running.")
            return FAILED if kill else 0
        except (embedded.BrokerUnavailableError, SettingsError) as error:
            _complain(console, str(error))
            return UNUSABLE
        except (BrokerError, DemoError, KafkaError) as error:
            _complain(console, str(error))
            return FAILED
    return _report(session, options, console, as_json=as_json)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end us as Ctrl-C does, so that what was started is stopped."""

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
    """Where a run happens."""

    settings: Settings
    folder: Path
    """For files that vanish with the run."""
    is_embedded: bool


def _settings(stack: ExitStack, broker: str | None, console: Console) -> Settings:
    """The settings of the run; starts the embedded broker, which ends with the stack, when no broker is named."""
    group = f"vitals-demo-{uuid4().hex[:8]}"  # a run knows nothing of earlier ones
    if broker is not None:
        return load_settings(broker=broker, group=group, time="event", catch_up="exact")
    started = stack.enter_context(embedded.EmbeddedBroker())
    console.print(f"Embedded broker at {started.address}. {embedded.NOTICE}", highlight=False)
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


async def _run(context: _RunContext, company: Company, options: RunOptions, console: Console) -> Session:
    """Connect everything, let the session run, and take it all down, whatever happens."""
    connection = context.settings.kafka_python()  # aiokafka's clients take the same options
    async with AsyncExitStack() as stack:
        player = EventPlayer(company, connection, idempotent=embedded.IDEMPOTENT if context.is_embedded else True)
        stack.push_async_callback(player.close)
        partitions = await player.connect([*SOURCES, *OUTPUTS])
        output_reader = OutputReader(connection, from_end=not context.is_embedded)
        stack.push_async_callback(output_reader.close)
        await output_reader.connect(partitions)
        already_there = (
            0 if context.is_embedded else await output_reader.stored({topic: partitions[topic] for topic in SOURCES})
        )
        if already_there:
            console.print(
                f"The topics already hold {already_there:,} events; they are scored as well.", highlight=False
            )
        port = free_port()
        worker = DemoWorker(_environment(context, port, kill=options.kill), port, context.folder / "worker.log")
        patience_s = SHORT_PATIENCE_S if context.is_embedded else LONG_PATIENCE_S
        stack.push_async_callback(asyncio.to_thread, worker.stop, patience_s)
        screen = stack.enter_context(Screen(console, company.names()))
        session = Session(
            SessionParts(company, player, worker, output_reader, screen, Progress(already_there)), options
        )
        await session.run()
    return session


def _environment(context: _RunContext, web_port: int, *, kill: bool) -> dict[str, str]:
    """The worker's environment: ours, and on top of it the settings that the demo has chosen."""
    chosen = context.settings.model_dump(include=set(SET_BY_DEMO))
    if kill:
        chosen["instance"] = "vitals-demo"  # a killed worker gets its partitions back at once
    ours = child_environment(**chosen, web_host="127.0.0.1", web_port=web_port)
    return {**ours, "TMPDIR": str(context.folder)}


def _show_board(stack: ExitStack, context: _RunContext, console: Console) -> None:
    """Start a board, which ends with the stack, and say where it is."""
    port = free_port()
    chosen = context.settings.model_dump(include=set(SET_BY_DEMO))
    ours = child_environment(**chosen, board_host="127.0.0.1", board_port=port)
    board = DemoBoard({**ours, "TMPDIR": str(context.folder)}, port, context.folder / "board.log")
    stack.callback(board.stop)
    console.print(f"The board is at {board.address}", highlight=False)


def _complain(console: Console, message: str) -> None:
    console.print(message, style="red", highlight=False, markup=False, soft_wrap=True)


def _report(session: Session, options: RunOptions, console: Console, *, as_json: bool) -> int:
    """Say what came of it, and return the exit code."""
    result = session.result()
    if not session.finished:
        verdict = "Stopped before everything was applied; nothing is left running."
    elif session.adds_up:
        verdict = "The counts add up: every event counted once."
    else:
        verdict = "THE COUNTS DO NOT ADD UP."
    outcomes = ", ".join(f"{outcome} {count:,}" for outcome, count in result["settled"].items() if count) or "nothing"
    killed = f" The worker was killed {result['kills']} times." if options.kill else ""
    console.print(
        f"{result['events']:,} events sent; settled: {outcomes}.{killed} {verdict}", highlight=False, soft_wrap=True
    )
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
    if session.finished:
        return 0 if session.adds_up else FAILED
    return FAILED if options.kill else 0

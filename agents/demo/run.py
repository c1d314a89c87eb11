"""`vitals demo`: puts broker, made-up company, worker and screen together, and takes them apart again.

Owns which parts there are and with which settings, and that nothing is left behind. Must not know the order of events
within a run (`agents.demo.session`). Called by `agents.cli`.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import uuid4

from aiokafka.errors import KafkaError
from rich.console import Console

from agents.demo import broker as embedded
from agents.demo.company import Company
from agents.demo.feed import OUTPUTS, Feed
from agents.demo.play import Player
from agents.demo.progress import Progress
from agents.demo.screen import Screen
from agents.demo.session import DemoError, Parts, Session, Wishes
from agents.demo.worker import DemoWorker
from agents.topics_admin import create_topics
from schemas.events import SOURCES

PARTITIONS = 4
FAILED, UNUSABLE = 1, 2


@dataclass(frozen=True, slots=True)
class _Place:
    """A broker to play on."""

    url: str
    servers: str
    """As aiokafka takes them."""
    is_embedded: bool
    client_options: Mapping[str, Any]


def run_demo(
    seconds: float | None,
    as_json: bool,  # noqa: FBT001  the command line's flags, in its order
    broker: str | None,
    kill: bool,  # noqa: FBT001  as above
    *,
    accounts: int = 500,
    days: int = 120,
    seed: int = 7,
    client_options: Mapping[str, Any] | None = None,
) -> int:
    """Run the demo and return the exit code: 0 all right, 1 failed or counts that do not add up, 2 no embedded broker.

    `seconds`: send only as much as can be applied and shown in about that time from now; None plays everything and
    then, on a terminal, leaves the picture until Ctrl-C. `broker`: a real Kafka (`kafka://host:port`, several with
    commas or semicolons); None embeds one. `kill`: SIGKILL the worker every few seconds and compare the counts at the
    end. `as_json`: progress goes to stderr, and the last line of stdout is one JSON object. `client_options` go to the
    aiokafka clients, for a secured broker. Call it from the main thread.
    """
    deadline_s = None if seconds is None else time.monotonic() + seconds
    console = Console(stderr=as_json)
    watched = console.is_terminal and seconds is None
    wishes = Wishes(deadline_s, kill=kill, unhurried=watched, stays=watched and not as_json)
    with ExitStack() as stack:
        try:
            stack.enter_context(_interruptible())
            place = _place(stack, broker, client_options or {}, console)
            create_topics(place.url, PARTITIONS)
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="vitals-demo-", ignore_cleanup_errors=True))
            company = Company(accounts, days, seed, end_ms=int(time.time() * 1000))
            session = asyncio.run(_run(place, company, wishes, Path(folder) / "worker.log", console))
        except embedded.BrokerUnavailableError as error:
            _complain(console, str(error))
            return UNUSABLE
        except KeyboardInterrupt:
            _complain(console, "Stopped before it began; nothing is left running.")
            return FAILED if kill else 0
        except (DemoError, KafkaError) as error:
            _complain(console, str(error))
            return FAILED
    return _report(session, wishes, console, as_json=as_json)


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


def _place(stack: ExitStack, broker: str | None, client_options: Mapping[str, Any], console: Console) -> _Place:
    if broker is not None:
        addresses = [address.split("://")[-1] for address in broker.replace(";", ",").split(",")]
        return _Place(broker, ",".join(addresses), is_embedded=False, client_options=client_options)
    started = stack.enter_context(embedded.EmbeddedBroker())
    console.print(f"Embedded broker at {started.address}. {embedded.NOTICE}", highlight=False)
    return _Place(f"kafka://{started.address}", started.address, is_embedded=True, client_options={})


async def _run(place: _Place, company: Company, wishes: Wishes, log: Path, console: Console) -> Session:
    """Connect everything, let the session run, and take it all down, whatever happens."""
    async with AsyncExitStack() as stack:
        idempotent = embedded.IDEMPOTENT if place.is_embedded else True
        player = Player(company, place.servers, idempotent=idempotent, client_options=place.client_options)
        stack.push_async_callback(player.close)
        partitions = await player.connect([*SOURCES, *OUTPUTS])
        feed = Feed(place.servers, from_end=not place.is_embedded, client_options=place.client_options)
        stack.push_async_callback(feed.close)
        await feed.connect(partitions)
        already_there = 0 if place.is_embedded else await feed.stored({topic: partitions[topic] for topic in SOURCES})
        if already_there:
            console.print(
                f"The topics already hold {already_there:,} events; they are scored as well.", highlight=False
            )
        worker = DemoWorker(_settings(place, partitions, kill=wishes.kill), log)
        stack.push_async_callback(asyncio.to_thread, worker.stop)
        screen = stack.enter_context(Screen(console, company.names()))
        session = Session(Parts(company, player, worker, feed, screen, Progress(already_there)), wishes)
        await session.run()
    return session


def _settings(place: _Place, partitions: Mapping[str, int], *, kill: bool) -> dict[str, str]:
    """The worker's settings, on top of the environment's own `VITALS_` variables."""
    settings = {
        "VITALS_BROKER": place.url,
        "VITALS_GROUP": f"vitals-demo-{uuid4().hex[:8]}",  # a run knows nothing of earlier ones
        "VITALS_PARTITIONS": str(partitions[SOURCES[0]]),
        "VITALS_TIME": "event",
        "VITALS_CATCH_UP": "exact",
    }
    if place.is_embedded:
        settings["VITALS_SESSION_TIMEOUT_S"] = str(embedded.SESSION_TIMEOUT_S)
    if kill:
        settings["VITALS_INSTANCE"] = "vitals-demo"  # a killed worker gets its partitions back at once
    return settings


def _complain(console: Console, message: str) -> None:
    console.print(message, style="red", highlight=False, markup=False, soft_wrap=True)


def _report(session: Session, wishes: Wishes, console: Console, *, as_json: bool) -> int:
    """Say what came of it, and return the exit code."""
    result = session.result()
    if not session.finished:
        verdict = "Stopped before everything was applied; nothing is left running."
    elif session.adds_up:
        verdict = "The counts add up: every event counted once."
    else:
        verdict = "THE COUNTS DO NOT ADD UP."
    outcomes = ", ".join(f"{outcome} {count:,}" for outcome, count in result["settled"].items() if count) or "nothing"
    killed = f" The worker was killed {result['kills']} times." if wishes.kill else ""
    console.print(
        f"{result['events']:,} events sent; settled: {outcomes}.{killed} {verdict}", highlight=False, soft_wrap=True
    )
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
    if session.finished:
        return 0 if session.adds_up else FAILED
    return FAILED if wishes.kill else 0

"""Measures how long after an event was produced its account's new score stands on an open page.

Owns the method: a real Kafka, worker, board and Chromium, all with their default settings, on one machine and so by one
clock. Accounts get one event each, one at a time, at a low rate: the first new text in an account's row answers its
event. What the browser needs to paint is left out. Called by `__main__`, and as a program by itself.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from kafka import KafkaProducer
from playwright.sync_api import expect, sync_playwright

from agents.kafka.topics import create_topics
from tests.bench.progress import EngineError
from tests.broker.jars import tool
from tests.broker.kafka_server import KafkaServer, free_port
from tests.browser.board_process import Board
from tests.faults.worker_process import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
ACCOUNTS = 150
PARTITIONS = 4
_EVERY_S = (0.2, 0.8)
"""At random, so that no event meets the same moment of a beat."""
_PATIENCE_MS = 60_000
_ROW_PX = 60
_WATCH = """body => {
  window.seen = {};
  new MutationObserver((changes) => {
    for (const { target } of changes) {
      const value = target.closest(".value");
      if (value) window.seen[value.closest("tr").dataset.id] ??= Date.now();
    }
  }).observe(body, { subtree: true, childList: true });
}"""


@dataclass(frozen=True)
class PageFigures:
    """Milliseconds from the hand-over of an event to the producer to the new score in the document."""

    p50: float
    p99: float
    slowest: float
    samples: int


def _measure(folder: Path) -> PageFigures:
    with KafkaServer(lasting=True) as kafka:
        create_topics(kafka.bootstrap, PARTITIONS)
        settings = {"broker": kafka.url, "partitions": PARTITIONS}
        worker = WorkerProcess(settings, web_port=free_port(), log=folder / "worker.log")
        producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
        try:
            for number in range(ACCOUNTS):
                _send(producer, "product-usage", number, user_id="u1")
            with Board(folder / "board.log", settings=settings) as board:
                return _watch(board, producer)
        finally:
            producer.close()
            worker.kill()


def _watch(board: Board, producer: KafkaProducer) -> PageFigures:
    pauses = random.Random(7)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=tool("chromium-headless-shell"))
        page = browser.new_page(viewport={"width": 1440, "height": ACCOUNTS * _ROW_PX})
        page.goto(board.url)
        page.locator(".accounts tbody").wait_for()
        _until(lambda: board.ask("/api/summary")["accounts"] == ACCOUNTS, "all accounts have a score")
        page.reload()
        expect(page.locator("tr[data-id]")).to_have_count(ACCOUNTS, timeout=_PATIENCE_MS)
        page.locator(".accounts tbody").evaluate(_WATCH)
        produced = {}
        for number in range(ACCOUNTS):
            produced[_name(number)] = time.time() * 1000
            _send(producer, "support-tickets", number, ticket_id=f"t{number}", status="opened", priority="urgent")
            page.wait_for_timeout(pauses.uniform(*_EVERY_S) * 1000)
        _until(lambda: len(page.evaluate("window.seen")) == ACCOUNTS, "all events are seen")
        seen = page.evaluate("window.seen")
        browser.close()
    waited = [seen[account] - at_ms for account, at_ms in produced.items()]
    p50, p99, slowest = np.percentile(waited, [50, 99, 100]).tolist()
    return PageFigures(p50, p99, slowest, len(waited))


def _name(number: int) -> str:
    return f"account-{number:03}"


def _send(producer: KafkaProducer, topic: str, number: int, **fields: object) -> None:
    account, now_ms = _name(number), time.time_ns() // 1_000_000
    value = {"id": f"{topic}-{number}", "account_id": account, "time": now_ms, **fields}
    producer.send(topic, key=account.encode(), value=json.dumps(value).encode())


def _until(holds: Callable[[], bool], what: str) -> None:
    until_s = time.monotonic() + _PATIENCE_MS / 1000
    while not holds():
        if time.monotonic() > until_s:
            msg = f"not within {_PATIENCE_MS / 1000:.0f} s: {what}"
            raise EngineError(msg)
        time.sleep(0.1)


def measure_page(tell: Callable[[str], None]) -> PageFigures:
    """Measure in a fresh process: the browser's client keeps an event loop. Raises `EngineError`."""
    tell(f"the page: {ACCOUNTS} events, two a second")
    command = [sys.executable, "-m", "tests.bench.page"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EngineError(done.stderr[-2_000:])
    return PageFigures(**json.loads(done.stdout))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="vitals-page-") as folder:
        sys.stdout.write(json.dumps(asdict(_measure(Path(folder)))) + "\n")

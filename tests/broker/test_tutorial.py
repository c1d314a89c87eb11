"""The tutorial works: every file is saved, every command typed as it stands, and each prints what the page shows.

Two things differ from a reader's machine: the address of Kafka, and the port of the worker's metrics.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from ruamel.yaml import YAML

from tests.broker.kafka_server import KafkaServer, free_port
from tests.pages.steps import FIRST_TERMINAL, Command, File, steps
from tests.pages.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.broker

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial"
FILE_PAGE, SYSTEMS_PAGE, LIVE_PAGE = (
    TUTORIAL / f"score-{name}.md" for name in ("a-file", "your-systems", "live-events")
)
KAFKA_ON_THE_PAGE = "127.0.0.1:9092"
RUNS_ON = "vitals worker"
FAILS = {"vitals check wrong.toml --offline": 2}
"""Exit statuses of commands that the page shows failing."""
READS_KAFKA = ("vitals explain", "python read_alerts.py")
"""Commands that print something else for as long as the worker has not published: the page asks to repeat them."""
PATIENCE_S = 60.0


class Reader:
    """Follows pages: saves their files, and types their commands into terminals."""

    def __init__(self, home: Path, kafka: KafkaServer) -> None:
        """`home` is the reader's home folder; the terminals open in the checkout."""
        self._kafka = kafka
        self._environment = environment(home)
        self._terminals: dict[str, Terminal] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Return the reader; terminals open when they are needed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the terminals."""
        self._open.close()

    def terminal(self, name: str) -> Terminal:
        """Return the terminal of this name, opened when it is first asked for."""
        if name not in self._terminals:
            self._terminals[name] = self._open.enter_context(Terminal(ROOT, self._environment))
        return self._terminals[name]

    def follow(self, page: Path) -> int:
        """Save the files and type the commands of a page in order; return the number of commands."""
        commands = 0
        for step in steps(page):
            if isinstance(step, File):
                self._save(step)
            else:
                self._type(step)
                commands += 1
        return commands

    def _save(self, file: File) -> None:
        folder, _ = self.terminal(FIRST_TERMINAL).run("pwd")
        path = Path(folder.strip()) / file.name
        path.write_text(file.text.replace(KAFKA_ON_THE_PAGE, self._kafka.bootstrap), "utf-8")

    def _type(self, command: Command) -> None:
        terminal = self.terminal(command.terminal)
        if command.text == RUNS_ON:
            terminal.start(command.text, command.pattern)
            return
        output, status = terminal.run(command.text)
        deadline = time.monotonic() + PATIENCE_S
        while command.text.startswith(READS_KAFKA) and not command.prints(output) and time.monotonic() < deadline:
            output, status = terminal.run(command.text)
        shown = "\n".join(command.output)
        assert command.prints(output), f"$ {command.text}\n--- the page shows:\n{shown}\n--- it prints:\n{output}"
        assert status == FAILS.get(command.text, 0), command.text


def environment(home: Path) -> dict[str, str]:
    """Return environment variables that have this Python first in PATH and no setting of `vitals` but a free port."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("VITALS_", "PYTHON", "PIP_"))}
    cache = os.environ.get("PIP_CACHE_DIR") or str(Path.home() / ".cache" / "pip")
    return {
        **mine,
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{mine['PATH']}",
        # Packages come from the same cache as those of this environment; pip does not announce its next version.
        "PIP_CACHE_DIR": cache,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "VITALS_WEB_PORT": str(free_port()),
    }


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with KafkaServer() as kafka, Reader(tmp_path, kafka) as reader:
        yield reader


@pytest.mark.timeout(900)  # an environment of its own is made and filled
def test_every_command_of_the_tutorial_prints_what_the_page_shows(reader: Reader) -> None:
    assert reader.follow(FILE_PAGE) >= 10
    assert reader.follow(LIVE_PAGE) >= 10
    output, status = reader.terminal("Second terminal").interrupt()
    assert '"event": "stopped"' in output
    assert status == 0


@pytest.mark.faults  # in make test, tests/unit/project/test_preset_paths.py compares the same commands in one process
@pytest.mark.timeout(900)
def test_every_command_about_other_systems_prints_what_the_page_shows(reader: Reader) -> None:
    assert reader.follow(FILE_PAGE) >= 10
    assert reader.follow(SYSTEMS_PAGE) >= 40


def test_the_kafka_of_docker_compose_listens_where_the_tutorial_looks_for_it() -> None:
    page = LIVE_PAGE.read_text(encoding="utf-8")
    assert "\ndocker compose up --wait kafka\n" in page
    compose = YAML(typ="safe").load(ROOT / "docker-compose.yml")
    assert f"{KAFKA_ON_THE_PAGE}:9092" in compose["services"]["kafka"]["ports"]
    assert KAFKA_ON_THE_PAGE in page

"""What all tests share: Hypothesis profiles, and the order in which parallel processes take the tests.

The profile `ci`, the default, always draws the same examples where the order of sets is the same (`make test` sees to
it), so a red build comes from what was changed. The profile `search` draws others, more of them, and does not shrink:
`make search` looks for new failures with it.
"""

from __future__ import annotations

import gc
import logging
import sys
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings

from tests.strategies.effort import EXAMPLES, PROFILE, examples

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

settings.register_profile(
    "ci",
    max_examples=examples(EXAMPLES),
    deadline=None,
    print_blob=True,
    suppress_health_check=SLOW_IS_FINE,
    derandomize=True,
)
settings.register_profile(
    "search", parent=settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate), derandomize=False
)
settings.load_profile(PROFILE)

BORROWERS = ("faults", "torture", "broker", "browser")
"""Folders of tests that may borrow a broker."""
WAITING_FIRST = ("faults", "torture", "broker", "browser", "property")
"""Folders of long tests, first those that mostly wait for other programs: short tests then fill what is left."""


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say in a run of one process what is faster."""
    if config.getoption("numprocesses", None):
        return None
    return "in one process; `make test` runs everything in several processes, which takes less time"


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Take back how a command that ran in this process has configured the log."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    if structlog.is_configured():
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()


def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """End the brokers that nobody has borrowed when no test follows that may borrow one."""
    lent = sys.modules.get("tests.broker.lent")
    if lent is not None and (nextitem is None or _folder_of(nextitem) not in BORROWERS):
        lent.end_free_ones()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect tests without looking for garbage, of which there is none, and look for none in them later.

    They and what they import are half a million objects for a whole run: to visit them again takes half a second.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in the same hook
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests for `--dist loadgroup`, and keep tests with a shared fixture in one process.

    Does nothing in a run of one process: tests then run in the order of their files.
    """
    if not hasattr(config, "workerinput"):
        return
    for item in items:
        if (group := _group_of(item)) is not None:
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=_turn_of)


def _group_of(item: pytest.Item) -> str | None:
    """The folder whose session fixture a test uses, else the file whose module fixture it uses."""
    fixtures = [versions[-1] for versions in item._fixtureinfo.name2fixturedefs.values()]  # type: ignore[attr-defined]
    ours = {fixture.scope: fixture.baseid for fixture in fixtures if fixture.baseid}
    if "session" in ours:
        return str(ours["session"])
    return item.path.name if "module" in ours else None


def _folder_of(item: pytest.Item) -> str:
    """The folder in `tests` that holds the file of a test."""
    return item.path.relative_to(item.config.rootpath / "tests").parts[0]


def _turn_of(item: pytest.Item) -> tuple[int, bool]:
    """Where a test stands in the order: by folder, and tests that one process has to run in turn before others."""
    folder = _folder_of(item)
    turn = WAITING_FIRST.index(folder) if folder in WAITING_FIRST else len(WAITING_FIRST)
    return turn, item.get_closest_marker("xdist_group") is None

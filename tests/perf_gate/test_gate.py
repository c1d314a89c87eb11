"""The engine does no more for fixed work than the committed figures allow, and a planted slowdown is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stream.engine.engine import Engine, Mode
from tests.perf_gate.gate import compare, read_figures
from tests.perf_gate.work import WORKS, Work, measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream.ingest.batch import Batch
    from stream.publishing.effects import Effects

WIDE = WORKS[1]


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_no_figure_is_worse_than_allowed(work: Work) -> None:
    problems = compare(work.name, measure(work), read_figures()[work.name])
    assert not problems, "\n".join([*problems, "explain the change and run: python -m tests.perf_gate --write"])


def test_every_work_has_figures_and_no_others_have() -> None:
    assert list(read_figures()) == [work.name for work in WORKS]


class LooksAtEachEvent(Engine):
    """Two calls an event more."""

    def step(self, batches: Sequence[Batch], mode: Mode, now_ms: int | None) -> Effects:
        for batch in batches:
            for event in batch.events:
                repr(id(event))
        return super().step(batches, mode, now_ms)


class SavesEveryAccount(Engine):
    """Every account is saved with every commit."""

    def flush(self, mode: Mode) -> Effects:
        effects = super().flush(mode)
        self.accounts.dirty[: len(self.accounts)] = True
        return effects


class KeepsEverything(Engine):
    """A reference to every batch stays."""

    def step(self, batches: Sequence[Batch], mode: Mode, now_ms: int | None) -> Effects:
        vars(self).setdefault("_all_batches", []).append(batches)
        return super().step(batches, mode, now_ms)


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        (LooksAtEachEvent, "function calls an event"),
        (SavesEveryAccount, "bytes of changelog an event"),
        (KeepsEverything, "KiB at the peak"),
    ],
)
def test_a_planted_slowdown_is_seen(planted: type[Engine], words: str) -> None:
    problems = compare(WIDE.name, measure(WIDE, planted), read_figures()[WIDE.name])
    assert any(words in problem for problem in problems), problems

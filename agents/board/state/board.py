"""One board: its state, its stream, and what it knows of how fresh it is.

Owns how these hang together, and answers that are kept for a moment because they go over all accounts. Fed by a reader
(`agents.board.state.reader`, `agents.board.state.recorded`), asked by `agents.board.web.app`. All in one event loop.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from agents.board.state.journal import Journal
from agents.board.state.state import OPTIONAL, TOPICS, State
from agents.board.views import summary as figures
from agents.board.views.overall_types import OverTime, ProcessorView, ScoreSummary, Summary, TopicCount, TopicState
from agents.board.web.streaming import SUMMARY_KEY, Frames, Streams
from schemas.topics import DAY_MS
from stream.plan.plan import Plan

SUMMARY_TTL_S = 2.0
"""Figures over all accounts are made at most this often, at 50,000 accounts less often."""
PAST_TTL_S = 60.0
"""Accounts by band on past days: late events may still change them."""
_TWENTY = 20


class Record(NamedTuple):
    """A record of a topic that a board reads; `stamp` is its record time, epoch ms."""

    topic: str
    key: bytes | None
    value: bytes | None
    stamp: int


@dataclass(slots=True)
class Progress:
    """How far a topic was read."""

    there: bool = False
    behind: int = 0
    newest_ms: int | None = None


@dataclass(slots=True)
class Checked:
    """What the broker says of workers and dead letters; None where it was not asked or does not tell."""

    dead_letters: list[TopicCount] | None = None
    lag: list[TopicCount] | None = None
    at_ms: int | None = None
    problem: str | None = None

    def said(self) -> tuple[list[TopicCount] | None, list[TopicCount] | None, str | None]:
        """All but when: what is worth telling when it becomes another."""
        return self.dead_letters, self.lag, self.problem


@dataclass(slots=True)
class _CachedFigures:
    """Figures, and until when they are good enough."""

    version: int = -1
    until_s: float = 0.0
    scores: list[ScoreSummary] = field(default_factory=list)
    day: int = -1
    past_until_s: float = 0.0
    past: dict[str, OverTime] = field(default_factory=dict)


class Board:
    """Everything that one process holds; `plan` is its own policy, by which it words what it can."""

    def __init__(self, plan: Plan | None = None) -> None:
        """Empty and not ready."""
        self.plan = plan
        self.state = State() if plan is None else State(plan.label, [score.name for score in plan.policy.scores])
        self.journal = Journal()
        self.ready = False
        self.read_at_ms: int | None = None
        self.progress = {topic: Progress() for topic in TOPICS}
        self.checked = Checked()
        self.records: Counter[str] = Counter()
        self.frames = Frames(self.state, self.summary)
        self.streams = Streams(self.journal, self.frames, self.heartbeat)
        self._figures = _CachedFigures()
        self._published_version = -1
        self._published_checks = self.checked.said()

    def apply(self, records: Iterable[Record]) -> None:
        """Take in records, in the order of each partition."""
        for topic, key, value, stamp in records:
            self.state.apply(topic, key, value)
            self.records[topic] += 1
            progress = self.progress[topic]
            progress.newest_ms = max(stamp, progress.newest_ms or 0)

    def update_checks(self, checked: Checked) -> None:
        """What the broker says now."""
        self.checked = checked

    def finish_loading(self) -> None:
        """All topics were read to their end for the first time: from now on changes are told."""
        self.state.drop_unscored()
        self._figures = _CachedFigures()  # figures of half the topics must not be told as those of all
        self.journal.clear()
        self.state.on_change = self.journal.add
        self.ready = True

    def tick(self) -> None:
        """Tell the stream that there are new figures, if there are; called every `SUMMARY_TTL_S`."""
        if not (self.ready and self.streams.clients):
            return
        said = self.checked.said()
        if self.state.version != self._published_version or said != self._published_checks:
            self.scores()
            self._published_version = (
                self._figures.version
            )  # older figures that are good enough now are followed by the new ones
            self._published_checks = said
            self.journal.add(SUMMARY_KEY)

    def heartbeat(self) -> dict[str, object]:
        """The data of a heartbeat."""
        return {
            "time": self.state.time,
            "now_ms": round(time.time() * 1000),
            "ready": self.ready,
            "behind": sum(progress.behind for progress in self.progress.values()),
        }

    def scores(self) -> list[ScoreSummary]:
        """Figures by score, made anew when something has changed, in at most a twentieth of the time."""
        kept, version = self._figures, self.state.version
        began_s = time.monotonic()
        if kept.version == version or began_s < kept.until_s:
            return kept.scores
        if began_s >= kept.past_until_s or kept.day != self.state.time // DAY_MS:
            kept.past, kept.day = figures.past_days(self.state), self.state.time // DAY_MS
            kept.past_until_s = time.monotonic() + PAST_TTL_S
        kept.scores, kept.version = figures.scores_of(self.state, kept.past), version
        now_s = time.monotonic()
        kept.until_s = now_s + max(SUMMARY_TTL_S, (now_s - began_s) * _TWENTY)
        return kept.scores

    def summary(self) -> Summary:
        """All accounts at a glance, and how fresh that is."""
        return Summary(
            time=self.state.time,
            ready=self.ready,
            accounts=len(self.state.accounts),
            policies=figures.policies_of(self.state),
            scores=self.scores(),
            alerts=figures.alerts_of(self.state),
            processor=self._processor(),
        )

    def _processor(self) -> ProcessorView:
        newest = [progress.newest_ms for progress in self.progress.values() if progress.newest_ms is not None]
        checked = self.checked
        return ProcessorView(
            newest_record_ms=max(newest, default=None),
            read_at_ms=self.read_at_ms,
            topics=[
                TopicState(topic, progress.there, progress.behind, progress.newest_ms)
                for topic, progress in self.progress.items()
            ],
            stalled_sources=figures.idle_sources_of(self.state),
            catching_up=sum(account.catching_up for account in self.state.accounts.values()),
            dead_letters=checked.dead_letters,
            lag=checked.lag,
            lag_records=None if checked.lag is None else sum(one.records for one in checked.lag),
            checked_at_ms=checked.at_ms,
            problem=checked.problem,
        )

    def problems(self) -> list[str]:
        """What keeps the board from showing the truth."""
        found = [] if self.ready else ["topics are still being read from the beginning"]
        missing = [name for name, one in self.progress.items() if not one.there and name not in OPTIONAL]
        found += [f"topic {name} is missing: run a worker, or `vitals topics --create`" for name in missing]
        return [*found, *([self.checked.problem] if self.checked.problem else [])]

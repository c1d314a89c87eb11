"""One board: its state, its stream, its freshness, and a cache of the figures over all accounts.

A reader (`agents.board.state.reader`, `agents.board.state.recorded`) applies records; `agents.board.web.app` asks for
answers. All of it runs in one event loop.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from agents.board.state.journal import Journal
from agents.board.state.state import OPTIONAL, TOPICS, State
from agents.board.views import summary as figures
from agents.board.views.listing import ListQuery
from agents.board.views.overall_types import OverTime, ProcessorView, ScoreSummary, Summary, TopicCount, TopicState
from agents.board.web.streaming import SUMMARY_KEY, Frames, Streams
from schemas.sources import BUILT_IN, Sources
from schemas.topics import DAY_MS
from stream.plan.plan import Plan

SUMMARY_TTL_S = 2.0
"""Figures over all accounts are computed at most this often; with 50,000 accounts less often."""
PAST_TTL_S = 60.0
"""Past days are computed again this often, because late events can change them."""
_LARGEST_SHARE = 1 / 20
"""Of the event loop's time goes to these figures at most."""
MOST_QUERIES = 16
"""Queries whose figures are cached."""


class Record(NamedTuple):
    """A record of a topic that the board reads; `stamp` is its record time, epoch ms, `partition` where it lies."""

    topic: str
    key: bytes | None
    value: bytes | None
    stamp: int
    partition: int = 0


@dataclass(slots=True)
class Progress:
    """How far the board has read a topic."""

    exists: bool = False
    behind: int = 0
    newest_ms: int | None = None


@dataclass(slots=True)
class Checked:
    """Workers, their lag and dead letters, as the broker reports them; None if they are not known.

    `workers` counts the members of the workers' group; `no_worker_since_ms` is when the board first saw none.
    """

    dead_letters: list[TopicCount] | None = None
    lag: list[TopicCount] | None = None
    at_ms: int | None = None
    problem: str | None = None
    workers: int | None = None
    no_worker_since_ms: int | None = None

    def figures(self) -> tuple[object, ...]:
        """Everything except the time of the check: a change of it is published."""
        return self.dead_letters, self.lag, self.problem, self.workers


@dataclass(slots=True)
class _CachedFigures:
    """Figures over all accounts, and how long they may be used."""

    version: int = -1
    until_s: float = 0.0
    scores: list[ScoreSummary] = field(default_factory=list)
    day: int = -1
    past_until_s: float = 0.0
    past: dict[str, OverTime] = field(default_factory=dict)


def _bands_of(plan: Plan) -> dict[str, list[str]]:
    """The bands of each score of a policy, best first."""
    return {score.name: [band.name for band in reversed(score.bands)] for score in plan.policy.scores}


class Board:
    """The state, the stream and the freshness of one board.

    `plan` is the board's own policy, if it has one: scores of the same policy get an explanation in text.
    """

    def __init__(self, plan: Plan | None = None) -> None:
        """Create an empty board that is not ready."""
        self.plan = plan
        self.state = State() if plan is None else State(plan.label, _bands_of(plan))
        self.journal = Journal()
        self.ready = False
        self.read_at_ms: int | None = None
        self.progress = {topic: Progress() for topic in TOPICS}
        self.checked = Checked()
        self.records: Counter[str] = Counter()
        self.frames = Frames(self.state, self.summary)
        self.streams = Streams(self.journal, self.frames, self.heartbeat)
        self._figures = _CachedFigures()
        self._figures_by_query: OrderedDict[ListQuery, _CachedFigures] = OrderedDict()
        self._old_until_s: float | None = None
        """When new figures can follow cached ones that a query has been answered with, which were not the latest."""
        self._published_version = -1
        self._published_checks = self.checked.figures()

    @property
    def sources(self) -> Sources:
        """The input sources of the deployment, as far as the board has its policy."""
        return BUILT_IN if self.plan is None else self.plan.sources

    def apply(self, records: Iterable[Record]) -> None:
        """Apply records, in the order of each partition."""
        for topic, key, value, stamp, partition in records:
            self.state.apply(topic, key, value, partition)
            self.records[topic] += 1
            progress = self.progress[topic]
            progress.newest_ms = max(stamp, progress.newest_ms or 0)

    def update_checks(self, checked: Checked) -> None:
        """Set the latest checks of the broker."""
        self.checked = checked

    def finish_loading(self) -> None:
        """Start to publish changes to the stream: all topics have been read to their end for the first time."""
        self.state.drop_unscored()
        self._figures_by_query.clear()
        self._figures = _CachedFigures()  # figures of some of the topics must not be shown as those of all
        self.journal.clear()
        self.state.on_change = self.journal.add
        self.ready = True

    def tick(self) -> None:
        """Publish a summary to the stream if its figures have changed; called every `SUMMARY_TTL_S`.

        Pages ask for the figures of their filters when a summary comes, so one also follows when a query has been
        answered with cached figures of an earlier version: without a further change nothing else would.
        """
        if not (self.ready and self.streams.clients):
            return
        checks = self.checked.figures()
        is_due = self._old_until_s is not None and time.monotonic() >= self._old_until_s
        if is_due or self.state.version != self._published_version or checks != self._published_checks:
            if is_due:
                self._old_until_s = None
            self.scores()
            self._published_version = self._figures.version  # cached figures are followed by new ones
            self._published_checks = checks
            self.journal.add(SUMMARY_KEY)

    def heartbeat(self) -> dict[str, object]:
        """The data of a heartbeat."""
        return {
            "time": self.state.time,
            "now_ms": round(time.time() * 1000),
            "ready": self.ready,
            "behind": sum(progress.behind for progress in self.progress.values()),
        }

    def scores(self, query: ListQuery | None = None) -> list[ScoreSummary]:
        """Figures by score, computed again if something has changed, in at most a twentieth of the time.

        With a query, those of the accounts that match it.
        """
        cache, version = self._cache_of(query), self.state.version
        began_s = time.monotonic()
        if cache.version == version:
            return cache.scores
        if began_s < cache.until_s:
            if query is not None:
                self._old_until_s = min(cache.until_s, self._old_until_s or cache.until_s)
            return cache.scores
        if began_s >= cache.past_until_s or cache.day != self.state.time // DAY_MS:
            cache.past, cache.day = figures.past_days(self.state, query), self.state.time // DAY_MS
            cache.past_until_s = time.monotonic() + PAST_TTL_S
        cache.scores, cache.version = figures.scores_of(self.state, cache.past, query), version
        now_s = time.monotonic()
        cache.until_s = now_s + max(SUMMARY_TTL_S, (now_s - began_s) / _LARGEST_SHARE)
        return cache.scores

    def _cache_of(self, query: ListQuery | None) -> _CachedFigures:
        if query is None:
            return self._figures
        cache = self._figures_by_query.setdefault(query, _CachedFigures())
        self._figures_by_query.move_to_end(query)
        if len(self._figures_by_query) > MOST_QUERIES:
            self._figures_by_query.popitem(last=False)
        return cache

    def summary(self, query: ListQuery | None = None) -> Summary:
        """Figures over all accounts, or those that match a query, and how fresh they are."""
        return Summary(
            time=self.state.time,
            ready=self.ready,
            **figures.counts_of(self.state),
            policies=figures.policies_of(self.state),
            scores=self.scores(query),
            alerts=figures.alerts_of(self.state, query),
            processor=self._processor(),
        )

    def _processor(self) -> ProcessorView:
        newest = [progress.newest_ms for progress in self.progress.values() if progress.newest_ms is not None]
        checked = self.checked
        return ProcessorView(
            newest_record_ms=max(newest, default=None),
            read_at_ms=self.read_at_ms,
            topics=[
                TopicState(topic, progress.exists, progress.behind, progress.newest_ms)
                for topic, progress in self.progress.items()
            ],
            stalled_sources=figures.idle_sources_of(self.state),
            catching_up=sum(account.catching_up for account in self.state.accounts.values()),
            dead_letters=checked.dead_letters,
            lag=checked.lag,
            lag_records=None if checked.lag is None else sum(topic.records for topic in checked.lag),
            checked_at_ms=checked.at_ms,
            problem=checked.problem,
            workers=checked.workers,
            no_worker_since_ms=checked.no_worker_since_ms,
        )

    def problems(self) -> list[str]:
        """Reasons why the board is not healthy; empty if it is."""
        problems = [] if self.ready else ["topics are still being read from the beginning"]
        missing = [name for name, topic in self.progress.items() if not topic.exists and name not in OPTIONAL]
        problems += [f"topic {name} is missing: run a worker, or `vitals topics --create`" for name in missing]
        return [*problems, *([self.checked.problem] if self.checked.problem else [])]

"""Dead letters for the page: read, replayed and discarded as by `vitals dlq`.

Owns that one request at a time reads the topics, and the errors of a board without a broker. Called by
`agents.board.web.app`, off the event loop.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any, Protocol

import msgspec
import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from agents.board.views.dead_letters import (
    DeadLetterGroup,
    DeadLetterGroups,
    DeadLetters,
    DeadLettersHandled,
    DeadLetterView,
    group_view,
    letter_view,
)
from agents.board.web.handlers import Handler, body_of, segment
from agents.board.web.responses import (
    BadRequestError,
    MissingError,
    UnavailableError,
    integer_parameter,
    json_response,
)
from agents.dlq.groups import groups_of, newest_open
from agents.dlq.letters import Selection, is_replayable
from agents.dlq.progress import Action
from agents.dlq.replay import handle
from agents.kafka.client import BrokerError
from agents.settings.settings import Settings
from schemas.sources import Sources
from schemas.topics import MAPPER_DLQ, all_topics

_log = structlog.get_logger(__name__)


class DeadLetterBox(Protocol):
    """Reads and handles dead letters. Each method raises `UnavailableError`, which says what to do."""

    def groups(self) -> list[DeadLetterGroup]:
        """The letters by topic and reason, those with open letters first."""

    def newest(self, topic: str, reason: str, limit: int) -> list[DeadLetterView]:
        """The newest open letters of a topic with a reason."""

    def handle(self, topic: str, reason: str, action: Action) -> DeadLettersHandled:
        """Replay or discard the open letters of a topic with a reason."""


class NoDeadLetters:
    """The dead letters of a board without a broker."""

    def groups(self) -> list[DeadLetterGroup]:
        """There are none."""
        return []

    def newest(self, topic: str, reason: str, limit: int) -> list[DeadLetterView]:
        """There are none."""
        del topic, reason, limit
        return []

    def handle(self, topic: str, reason: str, action: Action) -> DeadLettersHandled:
        """Reject the request."""
        del topic, reason, action
        msg = "this board shows a recording and has no dead letters"
        raise UnavailableError(msg)


class KafkaDeadLetters:
    """The dead letters on the broker."""

    def __init__(self, settings: Settings, sources: Sources) -> None:
        """Store the settings, and the sources of the deployment."""
        self._settings, self._sources = settings, sources
        self._lock = threading.Lock()

    def groups(self) -> list[DeadLetterGroup]:
        """The letters by topic and reason, those with open letters first."""
        with self._lock:
            try:
                groups = groups_of(self._settings, self._sources, Selection())
            except BrokerError as error:
                raise UnavailableError(str(error)) from error
        return sorted(map(group_view, groups), key=lambda group: (not group.open, group.topic, group.reason))

    def newest(self, topic: str, reason: str, limit: int) -> list[DeadLetterView]:
        """The newest open letters of a topic with a reason."""
        with self._lock:
            try:
                letters = newest_open(self._settings, self._sources, _selection(topic, reason), limit)
            except BrokerError as error:
                raise UnavailableError(str(error)) from error
        return [letter_view(letter) for letter in letters]

    def handle(self, topic: str, reason: str, action: Action) -> DeadLettersHandled:
        """Replay or discard the open letters of a topic with a reason."""
        with self._lock:
            try:
                counts = handle(self._settings, self._sources, _selection(topic, reason), action, dry_run=False)
            except BrokerError as error:
                raise UnavailableError(str(error)) from error
        totals: Counter[str] = Counter()
        for (_, _, outcome), count in counts.items():
            totals[outcome] += count
        return DeadLettersHandled(totals["replayed"], totals["repeated"], totals["discarded"])


class DeadLetterApi:
    """The handlers of the API."""

    def __init__(self, box: DeadLetterBox, sources: Sources) -> None:
        """Store what reads and handles letters, and find the topics that have them."""
        self._box = box
        letters = [topic.name for topic in all_topics("", sources) if topic.role == "dead letters"]
        self._topics = (*letters, sources.own(MAPPER_DLQ.name))

    def paths(self) -> list[tuple[str, Handler, str]]:
        """Path, handler and method of each route."""
        of_reason = "/api/dead-letters/{topic}/{reason}"
        return [
            ("/api/dead-letters", self.groups, "GET"),
            (of_reason, self.newest, "GET"),
            (f"{of_reason}/replay", self.replay, "POST"),
            (f"{of_reason}/discard", self.discard, "POST"),
        ]

    async def groups(self, _request: Request) -> Response:
        """Dead letters by topic and reason."""
        return json_response(DeadLetterGroups(await run_in_threadpool(self._box.groups)))

    async def newest(self, request: Request) -> Response:
        """The newest open dead letters of a topic with one reason."""
        topic, reason = self._topic(request), segment(request, "reason")
        limit = integer_parameter(request.query_params, "limit", 20, 200)
        return json_response(DeadLetters(await run_in_threadpool(self._box.newest, topic, reason, limit)))

    async def replay(self, request: Request) -> Response:
        """Write the open dead letters of a topic with one reason to their topic again."""
        topic = self._topic(request)
        if not is_replayable(topic):
            msg = f"{topic}: only input records can be replayed; deliver the alert yourself, then discard it"
            raise BadRequestError(msg)
        return await self._handle_dead_letters(request, topic, "replayed")

    async def discard(self, request: Request) -> Response:
        """Mark the open dead letters of a topic with one reason as discarded."""
        return await self._handle_dead_letters(request, self._topic(request), "discarded")

    async def _handle_dead_letters(self, request: Request, topic: str, action: Action) -> Response:
        reason = segment(request, "reason")
        await body_of(request, dict[str, Any])
        handled = await run_in_threadpool(self._box.handle, topic, reason, action)
        _log.info(
            "dead_letters",
            action=action,
            topic=topic,
            reason=reason,
            by=request.state.user,
            **msgspec.structs.asdict(handled),
        )
        return json_response(handled)

    def _topic(self, request: Request) -> str:
        """The topic in the path. Raises `MissingError` if there is no such dead-letter topic."""
        topic = segment(request, "topic")
        if topic not in self._topics:
            msg = f"no dead-letter topic {topic[:100]}; there are {', '.join(self._topics)}"
            raise MissingError(msg)
        return topic


def _selection(topic: str, reason: str) -> Selection:
    return Selection(topics=frozenset({topic}), reasons=frozenset({reason}))

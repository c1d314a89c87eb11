"""Fetch sessions (KIP-227): a fetch, and its answer, name only partitions that have changed since the one before.

Without a session aiokafka names all partitions of a worker in each request, and the broker all of them in each answer:
with ten topics and two partitions of each, 0.45 ms of processor time for a single event. Owns what the broker knows of
a session, and when a new one begins. Must not know what records are. Used by `agents.worker.client.thread`.

The broker keeps the offset of each partition that was named. Its answer has the partitions with records or an error,
and those with another high watermark than the last that it sent. After an answer that was lost, or that aiokafka did
not take over, we would go on with an old high watermark: then a session begins anew, with a request that names all
partitions. So it does for each assignment. A broker that has no room for a session is asked for everything, as before.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import Any

from aiokafka.errors import NoError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import TopicPartition

FIRST_WITH_SESSIONS = 7
"""The first version of the request that has a session."""
_LAST_EPOCH = 2**31 - 1

Fetch = Callable[[Any, int, Any], Awaitable[bool]]
"""`Fetcher._proc_fetch_request`: sends a request of an assignment to a node; returns whether there are records."""


class FetchSession:
    """What one broker knows of the fetches of one assignment."""

    def __init__(self, assignment: Any) -> None:
        """Begin with a request that names everything."""
        self.assignment = assignment
        self._id = self._epoch = 0
        self._offsets: dict[TopicPartition, int] = {}
        """Where the broker believes that each partition is read."""
        self._is_asked = False
        """Whether a request has no answer yet; there is never more than one."""
        self._answered: list[tuple[TopicPartition, int]] = []
        """The partitions of the last answer without an error, with their high watermarks."""

    def begin_anew(self) -> None:
        """Name everything in the next request; the broker forgets the session of this number then."""
        self._epoch, self._offsets = 0, {}

    def settle(self) -> None:
        """Begin anew where aiokafka has not taken over what the last answer says: positions or the assignment changed.

        Else note when each partition was asked for, which aiokafka does for those that the answer names.
        """
        answered, self._answered = self._answered, []
        states = self.assignment.state_value
        if not self.assignment.active or any(states(tp).highwater != highwater for tp, highwater in answered):
            self.begin_anew()
        elif not self._is_asked:
            now_ms = int(time.time() * 1000)
            for tp in self._offsets:
                states(tp).timestamp = now_ms

    def ask(self, offsets: dict[TopicPartition, int]) -> tuple[int, int, set[TopicPartition], set[TopicPartition]]:
        """Return the session's number and epoch, and which partitions to name, and to name as no longer wanted."""
        if self._is_asked:
            self.begin_anew()  # the answer to the request before was lost
        before, self._offsets, self._is_asked = self._offsets, offsets, True
        named = {tp for tp, offset in offsets.items() if before.get(tp) != offset}
        return self._id, self._epoch, named, before.keys() - offsets.keys()

    def answer(self, answer: Any) -> None:
        """Take note of an answer."""
        self._is_asked = False
        if answer.error_code or not answer.session_id:
            self._id = 0
            self.begin_anew()
        else:
            self._id, self._epoch = answer.session_id, self._epoch % _LAST_EPOCH + 1
        self._answered = [
            (TopicPartition(topic, partition), highwater)
            for topic, partitions in answer.topics
            for partition, error_code, highwater, *_ in partitions
            if error_code == NoError.errno
        ]


class SessionRequest(FetchRequest):
    """A request of aiokafka's fetcher within a session; `topics` still has all partitions."""

    def __init__(self, request: FetchRequest, session: FetchSession) -> None:
        """Ask for what `request` asks for."""
        self.__dict__.update(vars(request))
        self._session = session

    def build(self, request_struct_class: Any) -> Any:
        """Make the request as the broker knows it; called when it is written to the connection."""
        if request_struct_class.API_VERSION < FIRST_WITH_SESSIONS:
            return super().build(request_struct_class)
        wanted = self.topics
        entries = {TopicPartition(topic, entry[0]): entry for topic, partitions in wanted for entry in partitions}
        offsets = {tp: entry[1] for tp, entry in entries.items()}
        session_id, epoch, named, forgotten = self._session.ask(offsets)
        try:
            self._topics = [(topic, [entries[tp] for tp in tps]) for topic, tps in _by_topic(named)]
            request: Any = super().build(request_struct_class)
        finally:
            self._topics = wanted
        request.session_id, request.session_epoch = session_id, epoch
        request.forgotten_topics_data = [(topic, [tp.partition for tp in tps]) for topic, tps in _by_topic(forgotten)]
        request.RESPONSE_TYPE = _Answers(request.RESPONSE_TYPE, self._session)
        return request


class _Answers:
    """What aiokafka decodes the answer with: the session sees it, too."""

    def __init__(self, response_type: Any, session: FetchSession) -> None:
        self._response_type = response_type
        self._session = session

    def decode(self, data: BytesIO) -> Any:
        answer = self._response_type.decode(data)
        self._session.answer(answer)
        return answer


def _by_topic(tps: set[TopicPartition]) -> list[tuple[str, list[TopicPartition]]]:
    topics = defaultdict(list)
    for tp in tps:
        topics[tp.topic].append(tp)
    return list(topics.items())


def in_sessions(fetch: Fetch) -> Fetch:
    """`fetch`, whose requests to each node belong to a session."""
    sessions: dict[int, FetchSession] = {}

    async def fetch_in_session(assignment: Any, node_id: int, request: FetchRequest) -> bool:
        session = sessions.get(node_id)
        if session is None:
            session = sessions[node_id] = FetchSession(assignment)
        elif session.assignment is not assignment:
            session.assignment = assignment
            session.begin_anew()
        has_records = await fetch(assignment, node_id, SessionRequest(request, session))
        session.settle()
        return has_records

    return fetch_in_session

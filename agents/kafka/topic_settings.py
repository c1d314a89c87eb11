"""Compares a topic's settings on the broker with what a deployment needs, and says how to mend them.

Owns which differences are problems. What a topic needs is data in `schemas.topics`. Retention may differ, since state
keeps what events have counted for. Called by `agents.kafka.topics`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from schemas.topics import Topic

READ = ("cleanup.policy", "retention.ms", "max.message.bytes", "message.timestamp.type")
"""The settings of a topic that are read from the broker."""


class Mismatch(NamedTuple):
    """A setting of a topic whose value on the broker is not the one that is needed."""

    setting: str
    value: str
    needed: str
    harm: str
    loses_state: bool
    """Whether a worker must not start: events or state would be lost without an error."""

    def text(self, topic: str, servers: str) -> str:
        """The problem, and the command that mends it."""
        return (
            f"{self.setting} is {self.value}, and {self.needed} is needed: {self.harm}. Mend it with "
            f"`kafka-configs --bootstrap-server {servers} --alter --entity-type topics --entity-name {topic} "
            f"--add-config {self.setting}={self.needed}`"
        )


def mismatches(topic: Topic, settings: Mapping[str, str]) -> list[Mismatch]:
    """What is wrong with a topic whose settings on the broker are `settings`; a setting that is left out is right."""
    wrong = []
    cleanup = settings.get("cleanup.policy", topic.cleanup)
    if {name.strip() for name in cleanup.split(",")} != {topic.cleanup} and not _keeps_all(topic, cleanup, settings):
        harm, loses_state = _HARM.get((topic.cleanup, topic.role), _HARM_OF_OTHERS[topic.cleanup])
        wrong.append(Mismatch("cleanup.policy", cleanup, topic.cleanup, harm, loses_state))
    largest = settings.get("max.message.bytes", "")
    if topic.role != "input" and largest.isdigit() and int(largest) < topic.max_message_bytes:
        harm = "the broker refuses larger records, and workers stop committing"
        wrong.append(Mismatch("max.message.bytes", largest, str(topic.max_message_bytes), harm, loses_state=False))
    stamped = settings.get("message.timestamp.type", "LogAppendTime")
    if topic.stamped_by_broker and stamped != "LogAppendTime":
        harm = "workers go by the clocks of their own machines"
        wrong.append(Mismatch("message.timestamp.type", stamped, "LogAppendTime", harm, loses_state=False))
    return wrong


def _keeps_all(topic: Topic, cleanup: str, settings: Mapping[str, str]) -> bool:
    """Whether an input that may be compacted keeps every record instead, as single fields of profiles need it."""
    compacted = topic.role == "input" and topic.cleanup == "compact"
    return compacted and cleanup.strip() == "delete" and settings.get("retention.ms") == "-1"


_HARM = {
    ("compact", "internal"): ("the broker deletes old records, and the state of accounts with them", True),
    ("compact", "input"): ("the broker deletes old profiles, which a rebuild needs", False),
    ("delete", "input"): ("the broker keeps one event for each key, and removes others before they are counted", True),
    ("delete", "internal"): ("the broker keeps one record for each key, and removes others before they are read", True),
}
_HARM_OF_OTHERS = {
    "compact": ("the broker deletes the latest records of accounts that do not change", False),
    "delete": ("the broker removes all but the latest record of each account", False),
}

"""Continuity: whether the state of a partition goes on where the consumer group has committed and the topics end.

Owns the rules by which a worker finds out that its changelog was lost, cut or is older than the committed offsets, and
that an input topic was deleted and created again. Offsets are committed after the state that contains them, so the
state's position in a source is never behind a committed offset. Pure; called by `agents.worker.tasks.takeover` with
what the broker says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stream.recovery.writer import Refusal

COMMIT_MARK = "vitals"
"""Metadata of offsets that a worker commits; those that people move with Kafka's tools do not have it."""


class SourceLog(NamedTuple):
    """One input topic in one partition, on the broker: its id, its offsets and what the group has committed."""

    topic: str
    first: int
    """Log start offset: records before it are gone."""
    end: int
    committed: int | None = None
    marked: bool = False
    """Whether a worker committed this offset."""
    topic_id: str | None = None


def judge_state(
    position: Mapping[str, int] | None, logs: Sequence[SourceLog], *, partition: int, changelog: str
) -> Refusal | None:
    """Whether a changelog has the state of everything that was committed.

    `position` are the saved positions by topic, None where the changelog has no state.
    """
    behind = [
        log
        for log in logs
        if (log.committed or 0) > (position or {}).get(log.topic, 0) and (position is None or log.marked)
    ]
    if not behind:
        return None
    offsets = "; ".join(
        f"{log.topic} is committed up to offset {log.committed}, and the changelog "
        + ("has no position" if position is None else f"is at {position.get(log.topic, 0)}")
        for log in behind
    )
    what = "has no state" if position is None else "is older than the committed offsets"
    moved = (
        ""
        if any(log.marked for log in behind)
        else (
            ". If people moved these offsets and no state is missing, delete them: "
            "`kafka-consumer-groups --delete-offsets` for each topic"
        )
    )
    return Refusal(
        f"changelog {changelog} partition {partition} {what}: {offsets}",
        f"`vitals state rebuild --partition {partition}`: {rebuilt_from(logs)}{moved}",
    )


def judge_start(
    first: int, known_first: int, *, partition: int, changelog: str, logs: Sequence[SourceLog]
) -> Refusal | None:
    """Whether the changelog still begins where it began: deletion moves its beginning, compaction does not."""
    if first <= known_first:
        return None
    return Refusal(
        f"changelog {changelog} partition {partition} begins at offset {first}, not {known_first}: the records between "
        "were deleted (cleanup.policy=delete, or kafka-delete-records), and the state of accounts with them",
        f"`vitals state rebuild --partition {partition}`: {rebuilt_from(logs)}",
    )


def judge_source(
    log: SourceLog, position: int, known_id: str | None, *, partition: int, known_topic: str | None = None
) -> Refusal | None:
    """Whether the records of an input go on at the position up to which they are in the state.

    `known_topic` is the topic that the position is of, `known_id` the id that `log`'s topic had; None: not known.
    """
    way_out = f"`vitals state rebuild --topic {log.topic}` reads what the new topic has, from offset {log.first}"
    if not position:
        return None
    if known_topic not in (None, log.topic):
        return Refusal(
            f"the state of partition {partition} has records of topic {known_topic} up to offset {position}, and topic "
            f"{log.topic} is to be read in its place",
            f"`vitals state rebuild --topic {log.topic}` reads what that topic has, from offset {log.first}; to go on "
            f"with topic {known_topic}, name it in the policy",
        )
    if known_id is not None and log.topic_id is not None and known_id != log.topic_id:
        return Refusal(
            f"topic {log.topic} was deleted and created again (topic id {known_id} before, {log.topic_id} now): the "
            f"state of partition {partition} has its records up to offset {position}, which are not those of the topic",
            way_out,
        )
    if position > log.end:
        return Refusal(
            f"topic {log.topic} partition {partition} ends at offset {log.end}, and the state has its records up to "
            f"offset {position}: the topic was deleted and created again, or the broker lost records",
            way_out,
        )
    return None


def rebuilt_from(logs: Sequence[SourceLog]) -> str:
    """From which offsets a rebuild would read, and what would be missing."""
    gone = [log for log in logs if log.first]
    if not gone:
        return "all input topics still begin at offset 0, so nothing will be missing"
    texts = [f"{log.topic} from offset {log.first} ({log.first} records before it are gone)" for log in gone]
    rest = "" if len(gone) == len(logs) else "; the other topics from offset 0"
    return "it reads " + ", ".join(texts) + rest

"""The writer record: which worker wrote a changelog partition last, and what it knew of the topics it read.

Owns the record `w` of a changelog partition and the rules by which the next worker refuses to go on from it. A worker
writes the record when it takes a partition over. It names the worker, its version, its configuration (the policy, the
shadow and the settings that decide what is computed) and the ids of the input topics. Pure; read by
`stream.recovery.namespaces`, judged by `agents.worker.tasks.takeover`, written by `agents.worker.commit.checkpoint`.

Two configurations in one group undo each other's state: what only one of them keeps is lost when the other one takes
a partition over. So a configuration that was replaced does not take a partition back while a member of the group runs
the one that replaced it. A rolling change to a new configuration goes on as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import msgspec
from msgspec import Struct

WRITER_KEY = b"w"
STATE_FORMAT = 1
"""Format of the changelog records of this version; a newer one can not be read."""
REPLACED_KNOWN = 50

Setting = str | int | float | bool | None


class Writer(Struct, frozen=True, kw_only=True):
    """A worker that took a changelog partition over, and what it took over."""

    worker: str
    """Instance name and host."""
    version: str
    policy: str
    settings: dict[str, Setting]
    """Settings that decide what is computed."""
    format: int = STATE_FORMAT
    configuration: str = ""
    """A hash of policy and settings."""
    replaced: list[str] = []
    """The configurations before this one, the oldest first."""
    topics: dict[str, str] = {}
    """Id of each input topic (KIP-516); without those whose broker gives none."""
    inputs: dict[str, str] = {}
    """The topic that each input was read from, by the input's name; without those that version 0.1.0 has read."""
    first: int = 0
    """First offset of the changelog partition; state before it was not there when this state began."""


class Member(NamedTuple):
    """A member of the consumer group, as its client id describes it."""

    worker: str
    version: str
    configuration: str


class Refusal(NamedTuple):
    """Why the state of a partition can not be used, and what to do."""

    reason: str
    way_out: str
    rival: bool = False
    """Whether another member of the group is the cause, which may be dead and still listed."""


class WriterError(ValueError):
    """A writer record that can not be read."""


_DECODER = msgspec.json.Decoder(Writer)


def encode_writer(writer: Writer) -> bytes:
    """The record's value."""
    return msgspec.json.encode(writer)


def decode_writer(value: bytes) -> Writer:
    """The record that a changelog has. Raises `WriterError`."""
    try:
        return _DECODER.decode(value)
    except msgspec.DecodeError as error:
        msg = f"the writer record is no JSON of a writer: {error}"
        raise WriterError(msg) from error


def succeed(before: Writer | None, now: Writer, topics: Mapping[str, str], first: int) -> Writer:
    """The record of `now`, which takes over from `before`.

    `topics` are the ids that the broker gives now; of a topic that it gives none for, the id before stays, and so does
    the topic of an input that `now` does not read. `first` is the offset at which the state begins in the changelog.
    """
    if before is None:
        return msgspec.structs.replace(now, topics=dict(topics), first=first)
    replaced = [configuration for configuration in before.replaced if configuration != now.configuration]
    if before.configuration not in ("", now.configuration):
        replaced.append(before.configuration)
    return msgspec.structs.replace(
        now,
        replaced=replaced[-REPLACED_KNOWN:],
        topics={**before.topics, **topics},
        inputs={**before.inputs, **now.inputs},
        first=first,
    )


def placed(
    before: Writer | None,
    command: str,
    version: str,
    topics: Mapping[str, str],
    first: int,
    *,
    inputs: Mapping[str, str] = MappingProxyType({}),
) -> Writer:
    """The record of state that a command writes to a partition whose changelog begins at `first`.

    It names the worker that made the state; where that is not known, the command. `topics` are the ids of the topics
    that the state's positions are of, `inputs` the topics of the inputs whose positions the command has set.
    """
    if before is None:
        before = Writer(worker=f"`{command}`", version=version, policy="", settings={})
    return msgspec.structs.replace(before, topics=dict(topics), inputs={**before.inputs, **inputs}, first=first)


def refusal(before: Writer, now: Writer, members: Sequence[Member]) -> Refusal | None:
    """Why a worker must not take over from `before`; None when it may. `members` are the other members of the group."""
    if before.format > now.format:
        reason = (
            f"it was written by {_described(before)} in state format {before.format}, and {_described(now)} reads "
            f"format {now.format} at most"
        )
        return Refusal(reason, f"run version {before.version} or a later one")
    rivals = [member for member in members if member.configuration == before.configuration]
    if now.configuration not in before.replaced or not rivals:
        return None
    rival = rivals[0]
    reason = (
        f"two configurations run in one group: {_described(before)} replaced the configuration of {_described(now)} "
        f"({_differences(before, now)}), and {rival.worker} (version {rival.version}) runs the new one"
    )
    way_out = (
        f"start {now.worker} with the configuration of {rival.worker}. To go back to the earlier configuration, stop "
        "all workers of the group first. To run both, give one of them another VITALS_GROUP and other output topics"
    )
    return Refusal(reason, way_out, rival=True)


def _described(writer: Writer) -> str:
    return f"{writer.worker} (version {writer.version}, policy {writer.policy})"


def _differences(before: Writer, now: Writer) -> str:
    """The policy and the settings that differ, as `name new, not old`."""
    old, new = {"policy": now.policy, **now.settings}, {"policy": before.policy, **before.settings}
    names = [name for name in (*new, *(name for name in old if name not in new)) if old.get(name) != new.get(name)]
    return ", ".join(f"{name} {new.get(name)}, not {old.get(name)}" for name in names) or "settings of another version"

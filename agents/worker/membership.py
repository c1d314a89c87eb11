"""Membership: at most one living worker for each instance name of a group.

Owns the check that is made before a worker joins its group. With static membership (`VITALS_INSTANCE`) a worker that
comes back takes its place, and so would a second worker of the same name, each of the two again and again. A worker
looks who holds its name before it joins: its own predecessor, which is dead, or another worker, which it leaves alone.

| the name is held by | the worker |
|---|---|
| nobody, or this process | joins |
| a worker of this host, at the first join | joins: the lock file shows that it has ended |
| a worker of another host, at the first join | waits a session timeout; if the name is still held, ends |
| another worker, at a later join | ends: the other one took the name while this one was away |

A broker keeps the client id of the first worker of a static member when another process takes the name over before the
session of the first has ended. If the first one was only frozen, it then sees its own client id there and joins again,
and the other one ends at its next join. One of the two ends in any case, but not always the one that was away.

The group gives the partitions of a static member to who comes back under its name, without asking which topics that
one reads. So the membership of a predecessor that had partitions of other topics, by another policy, is ended before
the worker joins: the group then gives out all partitions anew.

Called by `agents.worker.client.thread`.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path
from typing import Any

import structlog
import xxhash
from kafka import KafkaAdminClient
from kafka.admin import MemberToRemove
from kafka.errors import KafkaError, NoError, UnknownMemberIdError

from agents.kafka.client import BrokerError, admin_of
from agents.kafka.groups import describe_group
from agents.settings.settings import Settings
from agents.worker.fatal import RefusedError
from agents.worker.identity import Client, client_of, worker_name

log = structlog.get_logger()

_PAUSE_S = 1.0
LISTED_S = 5.0
"""How long after its session timeout the group may still list a member that is dead."""

Holder = Callable[[], str | None]
"""The client id of the member that has our instance name; None where there is none. Blocks."""


class Membership:
    """The place of one worker in its group."""

    def __init__(
        self,
        settings: Settings,
        this: Client,
        *,
        topics: Callable[[], Collection[str]] = tuple,
        on_fatal: Callable[[BaseException], None],
        holder: Holder | None = None,
        dismiss: Callable[[], None] | None = None,
        folder: Path | None = None,
    ) -> None:
        """Nothing is checked yet. `topics` are those that the worker reads, `folder` has the lock files of this host.

        `holder` asks the broker, and `dismiss` ends the membership of a predecessor that read other topics.
        """
        self._settings = settings
        self._this = this
        self._on_fatal = on_fatal
        self._holder = holder or (lambda: holder_of(settings))
        self._dismiss = dismiss or (lambda: dismiss_other_reader(settings, topics()))
        self._folder = folder or Path(tempfile.gettempdir())
        self._lock: int | None = None
        self._joined = False

    async def before_join(self) -> None:
        """Check that no other worker has our name; ends the process if one has. Does nothing without a name."""
        if self._settings.instance is None:
            return
        try:
            await asyncio.to_thread(self.check)
        except RefusedError as error:
            self._on_fatal(error)

    def check(self) -> None:
        """Wait until our name is free. Blocks. Raises `RefusedError` when another worker has it."""
        locked = self._lock_name()
        deadline = time.monotonic() + self._settings.session_timeout_s + LISTED_S
        while (rival := self._rival()) is not None:
            client = client_of(rival)
            if self._joined or time.monotonic() > deadline:
                raise self._refused(rival, client)
            if locked and client is not None and client.host == self._this.host:
                self._dismiss_predecessor()
                break
            time.sleep(_PAUSE_S)
        self._joined = True

    def _dismiss_predecessor(self) -> None:
        try:
            self._dismiss()
        except (BrokerError, KafkaError, OSError) as error:
            log.warning("membership_not_ended", error=str(error), then="partitions may be given out late")

    def _rival(self) -> str | None:
        """The client id of another process that has our name."""
        try:
            held_by = self._holder()
        except (BrokerError, KafkaError, OSError) as error:
            log.warning("group_not_described", error=str(error), then="joins without knowing who has its name")
            return None
        client = None if held_by is None else client_of(held_by)
        return None if client is not None and client.token == self._this.token else held_by

    def _lock_name(self) -> bool:
        """Lock our name on this host; False where no lock can be made. Raises `RefusedError` when it is locked."""
        if self._lock is not None:
            return True
        settings = self._settings
        name = xxhash.xxh3_64_hexdigest("\n".join((settings.broker, settings.group, settings.instance or "")).encode())
        try:
            lock = os.open(self._folder / f"vitals-{name}.lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            log.warning("instance_not_locked", error=str(error))
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise self._refused(None, self._this) from None
        self._lock = lock
        return True

    def _refused(self, rival: str | None, client: Client | None) -> RefusedError:
        settings, host = self._settings, client.host if client else f"another host (client id {rival})"
        other = worker_name(settings.instance, host) + (f", version {client.version}" if client else "")
        mine = worker_name(settings.instance, self._this.host)
        return RefusedError(
            f"two workers of group {settings.group} have the instance name {settings.instance!r}: {other}, which runs, "
            f"and {mine}, this one",
            "give each worker a VITALS_INSTANCE of its own, or stop the other one",
            instance=settings.instance,
        )


def holder_of(settings: Settings) -> str | None:
    """The client id of the member of the group that has the settings' instance name. Blocks.

    Raises `agents.kafka.client.BrokerError`, `kafka.errors.KafkaError`.
    """
    with closing(admin_of(settings)) as admin:
        member = _member_of(admin, settings)
    return None if member is None else str(member["client_id"])


def dismiss_other_reader(settings: Settings, topics: Collection[str]) -> None:
    """End the membership of the member that has the settings' instance name, if its partitions are of other topics.

    Blocks.

    Raises `agents.kafka.client.BrokerError`, `kafka.errors.KafkaError`.
    """
    with closing(admin_of(settings)) as admin:
        member = _member_of(admin, settings)
        if member is None or _topics_of(member) == set(topics):
            return
        reason = "a worker of its name reads other topics"
        leaving = MemberToRemove(group_instance_id=settings.instance, reason=reason)
        for error in admin.remove_group_members(settings.group, [leaving]).values():
            if error not in (NoError, UnknownMemberIdError):
                raise error
    log.info("predecessor_dismissed", instance=settings.instance, reason=reason)


def _member_of(admin: KafkaAdminClient, settings: Settings) -> dict[str, Any] | None:
    """What the broker says of the member of the group that has the settings' instance name."""
    group = describe_group(admin, settings.group)
    members = () if group is None else group.members
    return next((member for member in members if member.get("group_instance_id") == settings.instance), None)


def _topics_of(member: dict[str, Any]) -> set[str]:
    """The topics of the partitions that a member has."""
    assignment = member["member_assignment"]
    return {topic["topic"] for topic in assignment["assigned_partitions"]} if assignment else set()

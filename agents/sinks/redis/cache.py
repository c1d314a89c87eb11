"""Writes scores to Redis: the keys, how older records never replace newer ones, and the offsets written so far.

Owns every command that the sink sends to Redis, `write.lua`, and `vitals:epoch`, which holds the id of this cache and
the next offset of each partition. The script writes records and their offset together, and only if the cache is at the
offset that the caller expects: so no record is lost or skipped when Redis is emptied, restored or slow in between. Must
not know Kafka. Raises what redis-py raises. Called by `agents.sinks.redis.process`.
"""

from __future__ import annotations

import contextlib
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from agents.settings.settings import Settings
from agents.sinks.redis.fields import Write

EPOCH = "vitals:epoch"
NAMES = "vitals:scores"
ACCOUNT = "vitals:account:"
SCORE = "vitals:score:"
CHANGES = "vitals:changes"

CHUNK = 100
"""Records that one call of the script writes: it blocks Redis for about 3 ms."""
LONGEST_GAP_S = 12 * 3600
"""Kafka removes the tombstone of a deleted account after a day (`delete.retention.ms`): half of that."""
_TIMEOUT_S = 5.0
_DELETE_BATCH = 1_000
_OUTCOMES = {1: "written", 2: "deleted", 3: "repeated", 4: "stale"}
_SCRIPT = Path(__file__).with_name("write.lua").read_text(encoding="utf-8")


class PositionLostError(Exception):
    """The cache is not at the expected offset: it was emptied, restored, or written by another sink. Read it again."""


class CacheState(NamedTuple):
    """The next offset of each partition, and why the cache is rebuilt from the start of the topic, if it is."""

    written: dict[int, int]
    rebuilt: str | None


def connect(settings: Settings) -> redis.Redis:
    """A client; nothing is sent yet. It does not retry: after a failed write the state of the cache must be read first.

    Raises `SettingsError` for TLS files that cannot be used.
    """
    secret = settings.redis_password.get_secret_value() if settings.redis_password else None
    options: dict[str, Any] = {"username": settings.redis_username, "password": secret}
    if settings.redis_ssl_context():
        password = settings.redis_tls_key_password
        options |= {
            "ssl_ca_certs": _path(settings.redis_tls_ca),
            "ssl_certfile": _path(settings.redis_tls_cert),
            "ssl_keyfile": _path(settings.redis_tls_key),
            "ssl_password": password.get_secret_value() if password else None,
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": True,
            "redis_connect_func": _ping_after_handshake,
        }
    return redis.Redis.from_url(
        settings.redis_url,
        protocol=2,
        driver_info=None,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        **options,
    )


def _ping_after_handshake(connection: Any) -> None:
    """Send PING right after the TLS handshake and read its answer, whatever it is.

    A TLS 1.3 server sends session tickets after the handshake; unread, they look like an answer without a request, and
    the pool discards the connection.
    """
    connection.on_connect()
    connection.send_command("PING", check_health=False)
    with contextlib.suppress(ResponseError):
        connection.read_response()


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)


class Cache:
    """Writes to Redis; the expected state of the cache comes from `read_state` and the writes since."""

    def __init__(self, client: redis.Redis) -> None:
        """`client` comes from `connect`."""
        self._redis: Any = client  # redis-py types answers for sync and async clients at once
        self._sha = ""
        self._id = b""
        self.written: dict[int, int] = {}
        self._names: list[str] = []

    def read_state(self, ends: Mapping[int, int]) -> CacheState:
        """Read the state of the cache; start a new cache if there is none or the existing one cannot be continued.

        `ends` are the offsets after each partition's last record.
        """
        self._sha = self._redis.script_load(_SCRIPT)
        epoch = self._redis.hgetall(EPOCH)
        reason = self._rebuild_reason(epoch, ends)
        if reason:
            self._start_new()
            epoch = self._redis.hgetall(EPOCH)
        self._id = epoch[b"id"]
        self.written = _offsets(epoch)
        self._names = sorted({*self._names, *(name.decode() for name in self._redis.smembers(NAMES))})
        return CacheState(dict(self.written), reason)

    def write(self, partition: int, writes: Sequence[Write], beyond: int) -> Counter[str]:
        """Write the next records of a partition, and `beyond` as its next offset.

        Returns how many were written, deleted, repeated and stale. Raises `PositionLostError`.
        """
        self._names = sorted({*self._names, *(name for write in writes for name in write.values)})
        chunks = [writes[start : start + CHUNK] for start in range(0, len(writes), CHUNK)] or [[]]
        ends = [chunk[-1].offset + 1 for chunk in chunks[:-1]] + [beyond]
        begins = [self.written.get(partition, ""), *ends]
        with self._redis.pipeline(transaction=False) as pipe:
            for chunk, begin, end in zip(chunks, begins, ends, strict=False):
                self._call(pipe, (partition, begin, end, ""), chunk)
            answers = pipe.execute()
        if None in answers:
            raise PositionLostError
        self.written[partition] = beyond
        return Counter(_OUTCOMES[outcome] for answer in answers for outcome in answer)

    def mark_alive(self, *, complete: bool) -> None:
        """Write the time to `vitals:epoch`, and whether the cache holds the whole topic. Raises `PositionLostError`."""
        if self._call(self._redis, ("", "", "", int(complete)), ()) is None:
            raise PositionLostError

    def may_evict(self) -> bool:
        """Whether Redis evicts keys when it is full: then accounts are missing without an error."""
        memory = self._redis.info("memory")
        return bool(memory["maxmemory"]) and memory["maxmemory_policy"] != "noeviction"

    def _call(self, client: Any, head: tuple[int | str, ...], writes: Sequence[Write]) -> Any:
        names = self._names
        keys: list[Any] = [EPOCH, NAMES, *(SCORE + name for name in names)]
        keys += [ACCOUNT.encode() + write.account for write in writes]
        arguments: list[Any] = [self._id, *head, len(names), *names]
        for write in writes:
            revision = "" if write.revision is None else write.revision
            arguments += (write.account, write.offset, revision, write.message)
            fields = {**write.fields, "offset": write.offset, "partition": head[0]} if write.fields else {}
            arguments.append(2 * len(fields))
            for pair in fields.items():
                arguments += pair
            arguments += [write.values.get(name, "") for name in names]
        return client.evalsha(self._sha, len(keys), *keys, *arguments)

    def _rebuild_reason(self, epoch: Mapping[bytes, bytes], ends: Mapping[int, int]) -> str | None:
        """Why the cache must be rebuilt, or None."""
        if b"id" not in epoch:
            return "empty"
        written = _offsets(epoch)
        if any(offset > ends.get(partition, 0) for partition, offset in written.items()):
            return "the topic was recreated"
        behind = any(written.get(partition, 0) < end for partition, end in ends.items())
        now_s, _ = self._redis.time()
        if behind and now_s - int(epoch.get(b"at", 0)) > LONGEST_GAP_S:
            return "not updated for longer than Kafka keeps tombstones"
        return None

    def _start_new(self) -> None:
        """Delete the keys of the former cache, then write the id of a new one; the id is deleted last and set last."""
        for name in self._redis.smembers(NAMES):
            sorted_set = SCORE.encode() + name
            while members := self._redis.zrange(sorted_set, 0, _DELETE_BATCH - 1):
                with self._redis.pipeline(transaction=False) as pipe:
                    pipe.unlink(*(ACCOUNT.encode() + member for member in members))
                    pipe.zrem(sorted_set, *members)
                    pipe.execute()
        self._redis.unlink(NAMES, EPOCH)
        now_s, _ = self._redis.time()
        self._redis.hset(EPOCH, mapping={"id": uuid.uuid4().hex, "at": now_s})


def _offsets(epoch: Mapping[bytes, bytes]) -> dict[int, int]:
    fields = {name.decode().partition(":"): value for name, value in epoch.items()}
    return {int(partition): int(value) for (field, _, partition), value in fields.items() if field == "offset"}

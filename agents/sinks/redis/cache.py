"""The scores in Redis: which keys there are, how they are written so that nothing goes backwards, and how far.

Owns every command that the sink sends to Redis, `write.lua`, and `vitals:epoch`, which says which cache this is and up
to which offset it holds each partition. The script writes records and their offset together, and only when the cache
stands where the caller believes: so nothing is lost or skipped when Redis is emptied, restored or slow in between. Must
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
"""Records one call of the script writes: Redis answers nobody else meanwhile, about 3 ms."""
TOO_LONG_AWAY_S = 12 * 3600
"""Kafka forgets that an account was deleted a day after (`delete.retention.ms`): half of that."""
_PATIENCE_S = 5.0
_WIPED = 1_000
_OUTCOMES = {1: "written", 2: "deleted", 3: "repeated", 4: "stale"}
_SCRIPT = Path(__file__).with_name("write.lua").read_text(encoding="utf-8")


class LostError(Exception):
    """The cache is not where it was left: it was emptied, restored, or written by somebody else. Read it again."""


class Standing(NamedTuple):
    """How far each partition is written (next offset), and why the cache begins anew, if it does."""

    written: dict[int, int]
    rebuilt: str | None


def connect(settings: Settings) -> redis.Redis:
    """A client; nothing is sent yet. It never retries by itself: what came of a write must be asked first.

    Raises `SettingsError` for TLS files that can not be used.
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
            "redis_connect_func": _greet,
        }
    return redis.Redis.from_url(
        settings.redis_url,
        protocol=2,
        driver_info=None,
        socket_timeout=_PATIENCE_S,
        socket_connect_timeout=_PATIENCE_S,
        retry=Retry(NoBackoff(), 0),
        **options,
    )


def _greet(connection: Any) -> None:
    """Read something right after the handshake, whatever the answer.

    A server of TLS 1.3 sends session tickets after it; left unread they look like an answer to nothing that was asked,
    and the pool refuses the connection.
    """
    connection.on_connect()
    connection.send_command("PING", check_health=False)
    with contextlib.suppress(ResponseError):
        connection.read_response()


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)


class Cache:
    """Writes to Redis; what it believes of the cache comes from `stand` and its own writes since."""

    def __init__(self, client: redis.Redis) -> None:
        """Take a client of `connect`."""
        self._redis: Any = client  # its answers are typed as for both kinds of clients
        self._sha = ""
        self._id = b""
        self.written: dict[int, int] = {}
        self._names: list[str] = []

    def stand(self, ends: Mapping[int, int]) -> Standing:
        """Ask Redis how far it is written; begin a new cache where there is none, or what it holds can not be kept.

        `ends` are the offsets after each partition's last record.
        """
        self._sha = self._redis.script_load(_SCRIPT)
        found = self._redis.hgetall(EPOCH)
        reason = self._reason(found, ends)
        if reason:
            self._begin()
            found = self._redis.hgetall(EPOCH)
        self._id = found[b"id"]
        self.written = _offsets(found)
        self._names = sorted({*self._names, *(name.decode() for name in self._redis.smembers(NAMES))})
        return Standing(dict(self.written), reason)

    def write(self, partition: int, writes: Sequence[Write], beyond: int) -> Counter[str]:
        """Write records of a partition that follow what is written, and that it is written up to `beyond`.

        Returns how many were written, deleted, repeated and stale. Raises `LostError`.
        """
        self._names = sorted({*self._names, *(name for write in writes for name in write.values)})
        chunks = [writes[at : at + CHUNK] for at in range(0, len(writes), CHUNK)] or [[]]
        ends = [chunk[-1].offset + 1 for chunk in chunks[:-1]] + [beyond]
        begins = [self.written.get(partition, ""), *ends]
        with self._redis.pipeline(transaction=False) as pipe:
            for chunk, begin, end in zip(chunks, begins, ends, strict=False):
                self._call(pipe, (partition, begin, end, ""), chunk)
            answers = pipe.execute()
        if None in answers:
            raise LostError
        self.written[partition] = beyond
        return Counter(_OUTCOMES[outcome] for answer in answers for outcome in answer)

    def alive(self, *, complete: bool) -> None:
        """Say that the sink is at work, and whether everything of the topic is here. Raises `LostError`."""
        if self._call(self._redis, ("", "", "", int(complete)), ()) is None:
            raise LostError

    def may_evict(self) -> bool:
        """Whether Redis throws keys away when it is full: then accounts lack in silence."""
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
            fields = {**write.fields, "offset": write.offset} if write.fields else {}
            arguments.append(2 * len(fields))
            for pair in fields.items():
                arguments += pair
            arguments += [write.values.get(name, "") for name in names]
        return client.evalsha(self._sha, len(keys), *keys, *arguments)

    def _reason(self, found: Mapping[bytes, bytes], ends: Mapping[int, int]) -> str | None:
        """Why the cache has to be built anew."""
        if b"id" not in found:
            return "empty"
        written = _offsets(found)
        if any(offset > ends.get(partition, 0) for partition, offset in written.items()):
            return "the topic was made anew"
        behind = any(written.get(partition, 0) < end for partition, end in ends.items())
        now_s, _ = self._redis.time()
        if behind and now_s - int(found.get(b"at", 0)) > TOO_LONG_AWAY_S:
            return "away for longer than Kafka remembers deletions"
        return None

    def _begin(self) -> None:
        """Remove what an earlier cache has left, then mark a new one. The mark goes last and comes last."""
        for name in self._redis.smembers(NAMES):
            ranked = SCORE.encode() + name
            while members := self._redis.zrange(ranked, 0, _WIPED - 1):
                with self._redis.pipeline(transaction=False) as pipe:
                    pipe.unlink(*(ACCOUNT.encode() + member for member in members))
                    pipe.zrem(ranked, *members)
                    pipe.execute()
        self._redis.unlink(NAMES, EPOCH)
        now_s, _ = self._redis.time()
        self._redis.hset(EPOCH, mapping={"id": uuid.uuid4().hex, "at": now_s})


def _offsets(found: Mapping[bytes, bytes]) -> dict[int, int]:
    places = {name.decode().partition(":"): value for name, value in found.items()}
    return {int(number): int(value) for (word, _, number), value in places.items() if word == "offset"}

"""The Redis sink's access to Redis: the users of docs/how-to/secure.md, and TLS with a client certificate."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
import trustme

from agents.settings.settings import SettingsError, load_settings
from agents.sinks.redis.cache import Cache, connect
from agents.sinks.redis.fields import write_of
from agents.sinks.redis.process import is_final
from tests.broker.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

SECURE = Path(__file__).parents[2] / "docs" / "how-to" / "secure.md"
SECRET = "correct-horse-7319"
ENDS = {0: 10}
REFUSALS = ("no permissions", "script can't run this command")
RECORD = {
    "account_id": "acme",
    "as_of": 1,
    "revision": 1,
    "scores": {"health": {"value": 1, "band": "low", "factors": []}},
}


def documented_users() -> dict[str, str]:
    """Return the rules of the users in the documentation, by name."""
    (block,) = re.findall(r"```redis-acl\n(.*?)```", SECURE.read_text("utf-8"), re.DOTALL)
    lines = [line.split(maxsplit=2) for line in block.splitlines()]
    assert {line[0] for line in lines} == {"user"}
    return {name: rules.replace("SECRET", SECRET) for _, name, rules in lines}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Give a server with the documented users, read from an ACL file as an operator's would be."""
    folder = tmp_path_factory.mktemp("guarded")
    users = "".join(f"user {name} {rules}\n" for name, rules in documented_users().items())
    (folder / "users.acl").write_text(f"user default on nopass ~* &* +@all\n{users}", "utf-8")
    with RedisServer(folder, "--aclfile", str(folder / "users.acl")) as server:
        yield server


def commands_of_a_sink(client: redis.Redis) -> None:
    """Do everything that a sink ever does."""
    cache = Cache(client)
    cache.read_state(ENDS)
    cache.write(0, [write_of(b"acme", 0, json.dumps(RECORD).encode())], 1)
    cache.write(0, [write_of(b"acme", 1, json.dumps({**RECORD, "revision": 2}).encode())], 2)
    assert not cache.may_evict()
    cache.mark_alive(complete=True)
    assert cache.read_state({0: 1}).rebuilt
    cache.write(0, [write_of(b"acme", 0, json.dumps(RECORD).encode()), write_of(b"acme", 1, None)], 2)


def test_the_documented_user_has_the_needed_permissions_and_no_others(guarded: RedisServer) -> None:
    settings = load_settings(redis_url=f"{guarded.url}/2", redis_username="vitals-sink", redis_password=SECRET)
    with guarded.client() as admin, connect(settings) as client:
        admin.execute_command("ACL", "LOG", "RESET")
        commands_of_a_sink(client)
        assert admin.execute_command("ACL", "LOG") == []
        for forbidden in (
            ("SET", "vitals:x", 1),
            ("HSET", "other", "a", 1),
            ("FLUSHALL",),
            ("KEYS", "*"),
            ("CONFIG", "GET", "*"),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*forbidden)
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.publish("other", "x")
        # Each command of the list is needed: without it a command of a sink is refused.
        rules = documented_users()["vitals-sink"].split()
        for command in [rule for rule in rules if rule.startswith("+")]:
            admin.flushall()
            admin.execute_command("ACL", "SETUSER", "narrow", "reset", *(rule for rule in rules if rule != command))
            narrow = load_settings(redis_url=f"{guarded.url}/3", redis_username="narrow", redis_password=SECRET)
            with connect(narrow) as lesser:
                assert refusal(lesser) in REFUSALS, f"{command} is not needed"


def refusal(client: redis.Redis) -> str | None:
    """Return the refusal that a command of a sink gets, or None."""
    try:
        commands_of_a_sink(client)
    except redis.RedisError as error:
        return next((words for words in REFUSALS if words in str(error)), str(error))
    return None


def test_the_documented_reader_can_read_and_subscribe(guarded: RedisServer) -> None:
    with guarded.client() as admin, guarded.client(username="vitals-reader", password=SECRET) as reader:
        with connect(load_settings(redis_url=guarded.url)) as client, reader.pubsub() as channels:
            channels.subscribe("vitals:changes", "vitals:changes:acme")
            assert [channels.get_message(timeout=5)["type"] for _ in range(2)] == ["subscribe"] * 2
            cache = Cache(client)
            cache.read_state(ENDS)
            cache.write(0, [write_of(b"acme", 0, json.dumps(RECORD).encode())], 1)
            assert {channels.get_message(timeout=5)["channel"] for _ in range(2)} == {
                "vitals:changes",
                "vitals:changes:acme",
            }
        # The commands that docs/how-to/read-scores-from-redis.md lists.
        assert reader.zrange("vitals:score:health", 0, 9, withscores=True) == [("acme", 1.0)]
        assert reader.execute_command("ZRANGE", "vitals:score:health", "-inf", "(40", "BYSCORE") == ["acme"]
        assert reader.hmget("vitals:account:acme", "value:health", "band:health") == ["1", "low"]
        assert reader.hget("vitals:epoch", "offset:0") == "1"
        for forbidden in (
            ("HSET", "vitals:account:acme", "a", 1),
            ("PUBLISH", "vitals:changes", "x"),
            ("DEL", "vitals:epoch"),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                reader.execute_command(*forbidden)
        admin.flushall()


def test_a_wrong_password_is_final_and_not_quoted(guarded: RedisServer) -> None:
    settings = load_settings(redis_url=guarded.url, redis_username="vitals-sink", redis_password="wrong-horse-1")
    with connect(settings) as client, pytest.raises(redis.AuthenticationError) as refused:
        client.ping()
    assert is_final(refused.value)
    assert "wrong-horse-1" not in f"{refused.value!r} {settings!r} {client!r}"


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RedisServer, dict[str, Any]]]:
    """Give a server that speaks TLS only and asks for a certificate, and the settings that it takes."""
    folder = tmp_path_factory.mktemp("encrypted")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name, identity in {"server": "127.0.0.1", "client": "vitals-sink"}.items():
        issued = authority.issue_cert(identity)
        issued.private_key_pem.write_to_path(folder / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    ca, cert, key = (str(folder / name) for name in ("ca.pem", "client.pem", "client.key"))
    arguments = ["--tls-cert-file", str(folder / "server.pem"), "--tls-key-file", str(folder / "server.key")]
    client = {"ssl_ca_certs": ca, "ssl_certfile": cert, "ssl_keyfile": key}
    with RedisServer(folder, *arguments, "--tls-ca-cert-file", ca, tls=client) as server:
        yield server, {"redis_url": server.url, "redis_tls_ca": ca, "redis_tls_cert": cert, "redis_tls_key": key}


def test_tls_with_a_client_certificate(encrypted: tuple[RedisServer, dict[str, Any]]) -> None:
    with connect(load_settings(**encrypted[1])) as client:
        commands_of_a_sink(client)


def test_a_server_certificate_of_another_authority_is_final(
    encrypted: tuple[RedisServer, dict[str, Any]], tmp_path: Path
) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    settings = load_settings(**{**encrypted[1], "redis_tls_ca": tmp_path / "other.pem"})
    with (
        connect(settings) as client,
        pytest.raises(redis.ConnectionError, match="certificate verify failed") as refused,
    ):
        client.ping()
    assert is_final(refused.value)


def test_a_host_name_that_is_not_in_the_certificate_is_refused(encrypted: tuple[RedisServer, dict[str, Any]]) -> None:
    server, settings_of_client = encrypted
    settings = load_settings(**{**settings_of_client, "redis_url": f"rediss://localhost:{server.port}"})
    with connect(settings) as client, pytest.raises(redis.ConnectionError, match="certificate verify failed"):
        client.ping()


def test_a_missing_tls_file_is_named(tmp_path: Path) -> None:
    settings = load_settings(redis_url="rediss://127.0.0.1:1", redis_tls_ca=tmp_path / "missing.pem")
    with pytest.raises(SettingsError, match=r"missing\.pem"):
        connect(settings)

"""HTTP POST with a deadline, only to allowed addresses (protection against SSRF).

Owns connecting: it resolves a name, checks each address against the guard, and connects to the checked address, so that
a second look-up cannot return another one. Redirects are not followed, proxies of the environment are not used, and
every request has its own connection. What it returns of an answer or an error has no secrets in it. Must not know what
is posted. Called by the sinks.
"""

from __future__ import annotations

import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

import httpcore

from agents.process.errors import error_text
from agents.process.version import package_version
from agents.settings.redactor import redact

_LARGEST_ANSWER = 16_384
_QUOTED = 200
_GOOD = range(200, 300)

Refusal = Callable[[str], str | None]


class PostError(RuntimeError):
    """The request was not answered: no connection, a broken one, or no answer in time. A retry may help."""


class RefusedAddressError(RuntimeError):
    """Every address of the host is refused by the guard."""


class Reply(NamedTuple):
    """Status of an answer, its Retry-After header in seconds, and the beginning of its body, without secrets."""

    status: int
    retry_after_s: float | None
    text: str

    @property
    def is_good(self) -> bool:
        """Whether the status is 2xx."""
        return self.status in _GOOD


def allow_all(_address: str) -> None:
    """A guard that refuses no address, for hosts that the operator runs."""


class Poster:
    """Posts to URLs. Thread-safe."""

    def __init__(self, refusal: Refusal, timeout_s: float) -> None:
        """`refusal` gives why an address is refused, or None; `timeout_s` covers all after name resolution."""
        self._timeout_s = timeout_s
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=None,
            max_keepalive_connections=0,
            network_backend=_GuardedBackend(refusal, timeout_s),
        )

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Post JSON. A user and password in the URL become a header (Basic).

        Raises:
            PostError: no answer.
            RefusedAddressError: the guard refused every address of the host.

        """
        url, credentials = _without_credentials(url)
        fixed = {
            "Content-Type": "application/json",
            "User-Agent": f"account-vitals/{package_version()}",
            **({"Authorization": credentials} if credentials else {}),
        }
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), self._timeout_s)
        try:
            with self._pool.stream(
                "POST",
                url,
                headers=list((fixed | dict(headers)).items()),
                content=body,
                extensions={"timeout": timeout},
            ) as response:
                return Reply(response.status, _retry_after(response.headers), _beginning(response.iter_stream()))
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError) as error:
            raise PostError(redact(error_text(error))) from error


class _GuardedBackend(httpcore.SyncBackend):
    def __init__(self, refusal: Refusal, timeout_s: float) -> None:
        self._refusal = refusal
        self._timeout_s = timeout_s

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        del timeout
        problem: Exception | None = None
        addresses = _resolve(host, port)
        deadline_s = time.monotonic() + self._timeout_s
        for address in addresses:
            if why := self._refusal(address):
                problem = problem or RefusedAddressError(f"{host}: {why}")
                continue
            try:
                stream = super().connect_tcp(address, port, _left(deadline_s), local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
                continue
            return _BoundedStream(stream, deadline_s)
        assert problem is not None, "a name resolves to one address at least"
        raise problem


class _BoundedStream(httpcore.NetworkStream):
    """A stream with a deadline for the whole answer, even if the other side keeps sending slowly."""

    def __init__(self, stream: httpcore.NetworkStream, deadline_s: float) -> None:
        self._stream = stream
        self._deadline_s = deadline_s

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        del timeout
        return self._stream.read(max_bytes, _left(self._deadline_s))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del timeout
        self._stream.write(buffer, _left(self._deadline_s))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        del timeout
        secured = self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline_s))
        return _BoundedStream(secured, self._deadline_s)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline_s: float) -> float:
    left = deadline_s - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("no complete answer in time")
    return left


def _resolve(host: str, port: int) -> list[str]:
    """The addresses of a host from the system's resolver, which also reads `2130706433` and `0x7f.1` as 127.0.0.1."""
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


def refusal_of(url: str, refusal: Refusal) -> str | None:
    """Why all addresses of a URL's host are refused; None if one is allowed or the host does not resolve now."""
    split = urlsplit(url)
    try:
        reasons = [refusal(address) for address in _resolve(split.hostname or "", split.port or 80)]
    except httpcore.ConnectError:
        return None
    return None if None in reasons else reasons[0]


def _without_credentials(url: str) -> tuple[str, str | None]:
    split = urlsplit(url)
    if split.username is None:
        return url, None
    pair = f"{unquote(split.username)}:{unquote(split.password or '')}".encode()
    bare = urlunsplit(split._replace(netloc=split.netloc.rpartition("@")[2]))
    return bare, f"Basic {b64encode(pair).decode()}"


def _retry_after(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Seconds to wait by the Retry-After header, a number or a date (RFC 9110, 10.2.3); None without one."""
    for name, value in headers:
        if name.lower() == b"retry-after":
            text = value.decode("latin-1").strip()
            if text.isdecimal():
                return float(text)
            try:
                return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
            except ValueError:
                return None
    return None


def _beginning(chunks: Iterable[bytes]) -> str:
    """The first characters of a body, without secrets; the rest is not read. A receiver may repeat what was sent.

    Secrets are removed before the text is cut: a part of one would not be recognised.
    """
    body = b""
    for chunk in chunks:
        body += chunk
        if len(body) >= _LARGEST_ANSWER:
            break
    return redact(body.decode(errors="replace"))[:_QUOTED]

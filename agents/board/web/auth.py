"""Authentication and request checks: tokens, sessions, trusted proxies, hosts, origins, security headers.

Owns every decision about access, before a handler runs: the Host header (against DNS rebinding), the user, the origin
of a request that changes something (against forged requests), the size of a body, and the headers of every answer.
Called by `agents.board.web.app`.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Literal

from itsdangerous import BadData, URLSafeTimedSerializer
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agents.board.web.responses import error_response
from agents.settings.settings import Settings, SettingsError

Mode = Literal["none", "token", "proxy"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

COOKIE = "vitals_board"
SESSION_S = 12 * 3600
LONGEST_BODY = 16 * 1024
LONGEST_NAME = 100
SHORTEST_TOKEN = 16
UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})
NOBODY, WITH_TOKEN = "local", "token"

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
        "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True, slots=True)
class Access:
    """The access rules of one board."""

    token: bytes | None = None
    user_header: str | None = None
    proxies: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, settings: Settings) -> Access:
        """Make the rules from the settings.

        Raises `SettingsError` for a board that everybody on the network could read.
        """
        token = settings.board_token.get_secret_value() if settings.board_token else None
        problems = []
        if token is not None and len(token) < SHORTEST_TOKEN:
            problems.append(
                f"board_token: needs at least {SHORTEST_TOKEN} characters; `openssl rand -hex 24` makes one"
            )
        if (settings.board_user_header is None) != (settings.board_proxies is None):
            problems.append(
                "board_user_header and board_proxies need each other: the header is trusted only from those addresses"
            )
        if token is None and settings.board_user_header is None and not is_loopback(settings.board_host):
            problems.append(
                f"board_host {settings.board_host} can be reached from other machines: set board_token "
                "(VITALS_BOARD_TOKEN), or board_user_header and board_proxies, or use 127.0.0.1"
            )
        if problems:
            raise SettingsError(problems)
        return cls(
            token=None if token is None else token.encode(),
            user_header=settings.board_user_header,
            proxies=tuple(ipaddress.ip_network(network) for network in _values(settings.board_proxies)),
            hosts=frozenset({*_values(settings.board_hosts), settings.board_host.lower()}),
        )

    @property
    def mode(self) -> Mode:
        """How people sign in."""
        if self.user_header is not None:
            return "proxy"
        return "none" if self.token is None else "token"

    def knows_host(self, host: str | None) -> bool:
        """Whether a Host header names this board: an address (which DNS cannot rebind), localhost, or a known name."""
        name = _host_name(host or "")
        if name is None:
            return False
        if name == "localhost" or name in self.hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def is_proxy(self, address: str | None) -> bool:
        """Whether a connection comes from a trusted proxy."""
        try:
            peer = ipaddress.ip_address(address or "")
        except ValueError:
            return False
        return any(peer in network for network in self.proxies)

    def user_of(self, headers: Headers, address: str | None) -> str | None:
        """The user of a request, None if it is not authenticated. `address` is the peer of the connection."""
        if self.mode == "none":
            return NOBODY
        if self.user_header is not None and self.is_proxy(address):
            named = headers.getlist(self.user_header)
            if len(named) == 1 and named[0].strip():
                return named[0].strip()[:LONGEST_NAME]
        if self.token is None:
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return WITH_TOKEN if self.is_token(token.strip()) else None
        return self._signed_in(headers.get("cookie", ""))

    def is_token(self, text: str) -> bool:
        """Compare with the token in constant time."""
        return self.token is not None and hmac.compare_digest(text.encode(), self.token)

    def session(self, user: str) -> str:
        """Return the value of a session cookie for `user`. It is valid for 12 hours, or until the token changes."""
        return str(self._serializer().dumps(user[:LONGEST_NAME]))

    def _signed_in(self, cookies: str) -> str | None:
        try:
            morsel = SimpleCookie(cookies).get(COOKIE)
            return None if morsel is None else str(self._serializer().loads(morsel.value, max_age=SESSION_S))
        except (CookieError, BadData):
            return None

    def _serializer(self) -> URLSafeTimedSerializer:
        assert self.token is not None  # only a board with a token has sessions
        signing = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}
        return URLSafeTimedSerializer(self.token, "account-vitals board session", signer_kwargs=signing)


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_same_origin(headers: Headers) -> bool:
    """Whether the board's page made a request, or a client that is not a browser."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    if origin is not None:
        return re.sub("^https?://", "", origin).lower() == headers.get("host", "").lower() and "://" in origin
    return headers.get("authorization", "").lower().startswith("bearer ")


class Guard:
    """ASGI middleware that rejects requests that are not allowed, and sets `scope["state"]["user"]`.

    `is_open` says which paths need no authentication. `sign_in` answers a page if nobody is signed in.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        *,
        is_open: Callable[[str], bool],
        is_page: Callable[[str], bool],
        sign_in: ASGIApp,
    ) -> None:
        """Wrap an application."""
        self._app, self._access = app, access
        self._is_open, self._is_page, self._sign_in = is_open, is_page, sign_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reject a request or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app_for(scope)(scope, receive, send_secured)

    def _app_for(self, scope: Scope) -> ASGIApp:
        headers, client = Headers(scope=scope), scope.get("client")
        address = client[0] if client else None
        if not self._access.knows_host(headers.get("host")) or len(headers.getlist("host")) > 1:
            return error_response(
                421, "the Host header does not name this board; add the name to board_hosts (VITALS_BOARD_HOSTS)"
            )
        user = self._access.user_of(headers, address)
        path, method = scope["path"], scope["method"]
        if user is None and not self._is_open(path):
            is_seen = self._is_page(path) and method in {"GET", "HEAD"}
            return self._sign_in if is_seen else error_response(401, _HOW_TO_SIGN_IN)
        refusal = _refusal(headers) if method in UNSAFE else None
        if refusal is not None:
            return refusal
        scope.setdefault("state", {})["user"] = user
        scope["state"]["is_https"] = scope.get("scheme") == "https" or (
            self._access.is_proxy(address) and headers.get("x-forwarded-proto") == "https"
        )
        return self._app


_HOW_TO_SIGN_IN = "sign in, or send the token as `Authorization: Bearer TOKEN`"


def _refusal(headers: Headers) -> Response | None:
    """The answer to a request that may not change anything, else None."""
    if not is_same_origin(headers):
        return error_response(
            403, "a request that changes something must come from this board's page or have a bearer token"
        )
    length = headers.get("content-length", "0")
    is_counted = length.isascii() and length.isdecimal() and "transfer-encoding" not in headers
    if not is_counted or int(length) > LONGEST_BODY:
        return error_response(413, f"a body needs a Content-Length of at most {LONGEST_BODY} bytes")
    return None


def _values(text: str | None) -> list[str]:
    return [value.strip().lower() for value in (text or "").split(",") if value.strip()]


def _host_name(host: str) -> str | None:
    """The name or address in a Host header, without its port; None if the header is not valid."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::\d{1,5})?", host)
    return None if match is None else (match[1] or match[2]).lower().rstrip(".")

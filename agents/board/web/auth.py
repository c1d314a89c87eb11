"""Authentication and request checks: tokens, sessions, trusted proxies, hosts, origins, security headers.

Owns every decision about access, before a handler runs: the Host header (against DNS rebinding), the user, the origin
of a request that changes something (against forged requests), the size of a body, and the headers of every answer.
How often wrong tokens may be tried is in `agents.board.web.throttle`, how sessions end in `agents.board.web.sessions`.
Called by `agents.board.web.app`.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any, Literal, NamedTuple

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agents.board.web.addresses import Network, address_of, is_loopback, is_within, too_wide
from agents.board.web.responses import HEALTH_PATHS, error_response
from agents.board.web.sessions import Session, Sessions
from agents.board.web.throttle import Throttle, ThrottledError
from agents.settings.settings import Settings, SettingsError

Mode = Literal["none", "token", "proxy"]

COOKIE = "vitals_board"
LONGEST_BODY = 16 * 1024
LONGEST_NAME = 100
SHORTEST_TOKEN, FEWEST_CHARACTERS = 16, 6
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


class User(NamedTuple):
    """Who sent a request, and the session if there is one."""

    name: str
    session: Session | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """The access rules of one board, its sessions and its throttle."""

    token: bytes | None = None
    user_header: str | None = None
    proxies: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()
    sessions: Sessions = field(default_factory=Sessions)
    throttle: Throttle = field(default_factory=Throttle)

    @classmethod
    def of(cls, settings: Settings) -> Access:
        """Make the rules from the settings.

        Raises `SettingsError` for a board that everybody on the network could read.
        """
        token = None if settings.board_token is None else settings.board_token.get_secret_value()
        proxies = tuple(ipaddress.ip_network(network) for network in _values(settings.board_proxies))
        problems = [*_token_problems(token), *_proxy_problems(settings, proxies)]
        if settings.board_token is None and settings.board_user_header is None and not is_loopback(settings.board_host):
            problems.append(
                f"board_host {settings.board_host} can be reached from other machines: set board_token "
                "(VITALS_BOARD_TOKEN), or board_user_header and board_proxies, or use 127.0.0.1"
            )
        if problems:
            raise SettingsError(problems)
        return cls(
            token=None if token is None else token.encode(),
            user_header=settings.board_user_header,
            proxies=proxies,
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
        return is_within(address_of(address), self.proxies)

    def client_of(self, headers: Headers, peer: str) -> str:
        """The client's address: the peer's, or the last one in `X-Forwarded-For` that is not a trusted proxy."""
        client = peer
        for hop in reversed(",".join(headers.getlist("x-forwarded-for")).split(",")):
            if not self.is_proxy(client) or address_of(hop.strip()) is None:
                break
            client = hop.strip()
        return client

    def is_https(self, scope: Scope, headers: Headers, peer: str) -> bool:
        """Whether the client's request came by HTTPS, as far as a trusted proxy says."""
        forwarded = headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
        return scope.get("scheme") == "https" or (forwarded == "https" and self.is_proxy(peer))

    def user_of(self, headers: Headers, peer: str) -> User | None:
        """The user of a request, None if it is not authenticated. `peer` is the address of the connection.

        Raises `ThrottledError`.
        """
        if self.mode == "none":
            return User(NOBODY)
        if self.user_header is not None and self.is_proxy(peer):
            named = headers.getlist(self.user_header)
            if len(named) == 1 and named[0].strip():
                return User(named[0].strip()[:LONGEST_NAME])
        if self.token is None:
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return User(WITH_TOKEN) if self.is_token(token.strip(), self.client_of(headers, peer)) else None
        session = self._session_of(headers.get("cookie", ""))
        return None if session is None else User(session.user, session)

    def is_token(self, text: str, client: str) -> bool:
        """Compare with the token in constant time. Raises `ThrottledError` after too many wrong tokens."""
        self.throttle.check(client)
        is_right = self.token is not None and hmac.compare_digest(text.encode(errors="replace"), self.token)
        (self.throttle.accepted if is_right else self.throttle.refused)(client)
        return is_right

    def begin_session(self, user: str) -> str:
        """Begin a session; returns the value of its cookie."""
        return self.sessions.begin(user[:LONGEST_NAME])

    def _session_of(self, cookies: str) -> Session | None:
        try:
            morsel = SimpleCookie(cookies).get(COOKIE)
        except CookieError:
            return None
        return None if morsel is None else self.sessions.find(morsel.value)


def _token_problems(token: str | None) -> list[str]:
    if token is None:
        return []
    advice = "`openssl rand -hex 24` makes one"
    if not token:
        return [f"board_token: is empty; {advice}. Unset VITALS_BOARD_TOKEN for a board without sign-in"]
    if token != token.strip():
        return ["board_token: begins or ends with white space, which no client can send"]
    if len(token) < SHORTEST_TOKEN:
        return [f"board_token: needs at least {SHORTEST_TOKEN} characters; {advice}"]
    if len(set(token)) < FEWEST_CHARACTERS:
        return [
            f"board_token: can be guessed, because it has fewer than {FEWEST_CHARACTERS} different characters; {advice}"
        ]
    return []


def _proxy_problems(settings: Settings, proxies: tuple[Network, ...]) -> list[str]:
    problems = [
        f"board_proxies: {network} holds strangers too, and everybody in it could pretend to be any user; "
        "give the addresses of your proxies only"
        for network in too_wide(proxies)
    ]
    if settings.board_user_header is not None and not proxies:
        problems.append("board_user_header needs board_proxies: the header is trusted only from those addresses")
    if proxies and settings.board_user_header is None and settings.board_token is None:
        problems.append(
            "board_proxies: everybody who can reach the proxy could use this board; set board_token "
            "(VITALS_BOARD_TOKEN), or board_user_header if the proxy authenticates people"
        )
    return problems


def is_same_origin(headers: Headers, *, is_https: bool) -> bool:
    """Whether the board's page made a request, or a client that is not a browser."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    if origin is not None:
        return origin.lower() == f"{'https' if is_https else 'http'}://{headers.get('host', '').lower()}"
    return headers.get("authorization", "").lower().startswith("bearer ")


def is_forwarded(headers: Headers) -> bool:
    """Whether a proxy has sent a request on."""
    return any(name in {"forwarded", "x-real-ip"} or name.startswith("x-forwarded-") for name in headers)


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
        headers, access = Headers(scope=scope), self._access
        peer = scope["client"][0] if scope.get("client") else ""
        path, method = scope["path"], scope["method"]
        is_https, client = access.is_https(scope, headers, peer), access.client_of(headers, peer)
        state: dict[str, Any] = scope.setdefault("state", {})
        state.update(user=None, session=None, is_https=is_https, client=client)
        if not access.knows_host(headers.get("host")) or len(headers.getlist("host")) > 1:
            return error_response(421, _UNKNOWN_HOST)
        if path in HEALTH_PATHS:
            return self._app
        if access.mode == "none" and is_forwarded(headers):
            return error_response(403, _FORWARDED)
        try:
            user = access.user_of(headers, peer)
        except ThrottledError as error:
            return error_response(429, str(error), {"Retry-After": error.retry_after})
        if user is None and not self._is_open(path):
            is_seen = self._is_page(path) and method in {"GET", "HEAD"}
            return self._sign_in if is_seen else error_response(401, _HOW_TO_SIGN_IN)
        if user is not None:
            state.update(user=user.name, session=user.session)
        return (_refusal(headers, is_https=is_https) if method in UNSAFE else None) or self._app


_UNKNOWN_HOST = "the Host header does not name this board; add the name to board_hosts (VITALS_BOARD_HOSTS)"
_HOW_TO_SIGN_IN = "sign in, or send the token as `Authorization: Bearer TOKEN`"
_FORWARDED = (
    "this board has no sign-in, so it does not answer requests that a proxy forwards: everybody could read it. Set "
    "board_token (VITALS_BOARD_TOKEN), or board_user_header and board_proxies if the proxy authenticates people"
)


def _refusal(headers: Headers, *, is_https: bool) -> Response | None:
    """The answer to a request that may not change anything, else None."""
    if not is_same_origin(headers, is_https=is_https):
        hint = ""
        if not is_https and headers.get("origin", "").startswith("https://"):
            hint = "; behind a proxy with TLS, set board_proxies (VITALS_BOARD_PROXIES) to its address"
        return error_response(
            403, f"a request that changes something must come from this board's page or have a bearer token{hint}"
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

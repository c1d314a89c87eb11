"""Static files, pages, and the form to sign in.

Owns static files (they contain no data) and the session cookie. Every page is `index.html`, whose script reads the
path; a path without a page is `missing.html`. Called by `agents.board.web.app`.
"""

from __future__ import annotations

import html
from pathlib import Path
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from agents.board.web.auth import COOKIE, Access
from agents.board.web.responses import HEALTH_PATHS, error_response
from agents.board.web.sessions import SESSION_S
from agents.board.web.throttle import ThrottledError

STATIC = Path(__file__).parent / "static"
PAGES = ("/", "/accounts", "/alerts", "/shadow", "/processor")
NO_PAGES = ("/api", "/static", "/openapi.json", "/metrics", "/healthz", "/sign-in", "/sign-out")
SEGMENTS_OF_ACCOUNT = 2
MOST_FIELDS = 10
MESSAGE = b"<!--message-->"
HOW_TO_SIGN_IN = "sign in, or send the token as `Authorization: Bearer TOKEN`"
_WRONG = "The token is wrong. It is the setting board_token of this board."


class _Files(StaticFiles):
    """Files with ETags, which browsers check each time."""

    def file_response(self, *arguments: object, **named: object) -> Response:
        response = super().file_response(*arguments, **named)  # type: ignore[arg-type]  # passed on as they came
        response.headers["Cache-Control"] = "no-cache"
        return response


class Pages:
    """Serves one folder of files."""

    def __init__(self, folder: Path = STATIC) -> None:
        """`folder` holds `index.html`, `sign-in.html` and what they need."""
        self._folder = folder

    @staticmethod
    def is_page(path: str) -> bool:
        """Whether a path is a page, or would be if it existed."""
        return not any(path == other or path.startswith(f"{other}/") for other in NO_PAGES)

    @staticmethod
    def is_open(path: str) -> bool:
        """Whether a path needs no authentication."""
        return path in HEALTH_PATHS or path == "/sign-in" or path.startswith("/static/")

    def routes(self, access: Access) -> list[BaseRoute]:
        """Routes of files and pages, and to sign in and out."""

        async def sign_in(request: Request) -> Response:
            return await self._sign_in(request, access)

        async def sign_out(request: Request) -> Response:
            return _sign_out(request, access)

        return [
            Mount("/static", _Files(directory=self._folder, check_dir=False)),
            Route("/sign-in", sign_in, methods=["POST"]),
            Route("/sign-out", sign_out, methods=["POST"]),
            *(Route(path, self._page, methods=["GET"]) for path in (*PAGES, "/accounts/{rest:path}")),
        ]

    def sign_in_page(self, status: int, message: str = "") -> ASGIApp:
        """The form to sign in, with a message; JSON for a program that asks for a path without a page."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            is_seen = "text/html" in Headers(scope=scope).get("accept", "") or _exists(scope["path"])
            answer = self._html("sign-in.html", status, message, missing=status)
            await (answer if is_seen else error_response(status, HOW_TO_SIGN_IN))(scope, receive, send)

        return app

    def missing(self, request: Request) -> Response | None:
        """The page for a path that does not exist, if a browser asks for one."""
        is_seen = "text/html" in request.headers.get("accept", "") and self.is_page(request.url.path)
        return self._html("missing.html", 404) if is_seen else None

    async def _page(self, request: Request) -> Response:
        # An id can contain any character, also an encoded slash, so segments are counted before they are decoded.
        raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
        segments = raw.partition(b"?")[0].strip(b"/").split(b"/")
        if len(segments) > SEGMENTS_OF_ACCOUNT:
            raise HTTPException(404)
        return self._html("index.html", 200)

    def _html(self, name: str, status: int, message: str = "", *, missing: int = 404) -> Response:
        try:
            page = (self._folder / name).read_bytes()
        except FileNotFoundError:
            return error_response(missing, "this installation has no page; the API is at /openapi.json")
        page = page.replace(MESSAGE, html.escape(message).encode())
        return Response(page, status, media_type="text/html")

    async def _sign_in(self, request: Request, access: Access) -> Response:
        try:
            fields = dict(parse_qsl((await request.body()).decode(errors="replace"), max_num_fields=MOST_FIELDS))
        except ValueError:
            return error_response(400, f"the form has at most {MOST_FIELDS} fields: name, token, next")
        try:
            is_right = access.is_token(fields.get("token", ""), request.state.client)
        except ThrottledError as error:
            page = self._html("sign-in.html", 429, str(error).capitalize() + ".", missing=429)
            page.headers["Retry-After"] = error.retry_after
            return page
        if not is_right:
            return self._html("sign-in.html", 401, _WRONG, missing=401)
        response = RedirectResponse(_own_path(fields.get("next", "/")), 303)
        response.set_cookie(
            COOKIE,
            access.begin_session(" ".join(fields.get("name", "").split()) or "somebody"),
            max_age=SESSION_S,
            secure=request.state.is_https,
            httponly=True,
            samesite="strict",
        )
        return response


def _exists(path: str) -> bool:
    return path in PAGES or path.startswith("/accounts/")


def _sign_out(request: Request, access: Access) -> Response:
    """End the session; its event streams end too."""
    if request.state.session is not None:
        access.sessions.end(request.state.session)
    response = RedirectResponse("/", 303)
    response.delete_cookie(COOKIE, secure=request.state.is_https, httponly=True, samesite="strict")
    return response


def _own_path(text: str) -> str:
    """A path of this board, else its first page, so that the form redirects to no other site."""
    is_own = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    return text if is_own else "/"

"""What the handlers of the API share: segments of paths, bodies, and errors as responses.

Called by `agents.board.web.app` and `agents.board.web.dead_letters`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import unquote

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from agents.board.views.listing import CursorError
from agents.board.web.responses import BadRequestError, MissingError, UnavailableError, error_response

Handler = Callable[[Request], Awaitable[Response]]
_Kind = TypeVar("_Kind")


def segment(request: Request, name: str) -> str:
    """A segment of the path, which can contain any character, including `/`; see `agents.board.web.app`.

    The segments `.` and `..` are written `=.` and `=..`, because browsers and proxies resolve those two as folders.
    """
    raw = request.path_params[name]
    try:
        return raw[1:] if raw in {"=.", "=.."} else unquote(raw, errors="strict")
    except UnicodeDecodeError as error:
        msg = f"{name}: not UTF-8"
        raise BadRequestError(msg) from error


async def body_of(request: Request, kind: type[_Kind]) -> _Kind | None:
    """The body, None if it is empty. Raises `BadRequestError`."""
    body = await request.body()
    if not body:
        return None
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "a body must be application/json")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        msg = f"body: {error}"
        raise BadRequestError(msg) from error
    except RecursionError as error:
        msg = "body: nested too deeply"
        raise BadRequestError(msg) from error


def errors_as_responses(handler: Handler) -> Handler:
    """Turn errors that a handler raises into error responses."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except (BadRequestError, CursorError) as error:
            return error_response(400, str(error))
        except MissingError as error:
            return error_response(404, str(error.args[0]))
        except UnavailableError as error:
            return error_response(503, str(error))

    return handle

"""Responses of the API: JSON, errors in one form, and the reading of parameters.

Owns form, not content. Called by `agents.board.web.app` and `agents.board.web.auth`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from starlette.datastructures import QueryParams
from starlette.responses import Response

from agents.board.views.types import ErrorView, Failure
from schemas.codecs import EPOCH, MILLISECOND

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    421: "misdirected",
    429: "too_many_requests",
    503: "unavailable",
}
UNAUTHORIZED, UNAVAILABLE = 401, 503
HEALTH_PATHS = frozenset({"/healthz", "/readyz"})
"""Answered without authentication, and outside the limit of connections."""
RETRY_AFTER_S = 5
LATEST_MS = 253_402_300_800_000
"""Year 10000: a later time is not valid."""

_encode = msgspec.json.Encoder().encode


class BadRequestError(ValueError):
    """A parameter or body is not valid; the message names it."""


class MissingError(LookupError):
    """Something does not exist; the message names it."""


class UnavailableError(RuntimeError):
    """The broker is not available; the message says why."""


def json_response(content: Any, status: int = 200) -> Response:
    """Return content as JSON."""
    return Response(_encode(content), status, media_type="application/json")


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error in the form of the API."""
    response = json_response(ErrorView(Failure(CODES.get(status, "error"), message)), status)
    response.headers.update(headers or {})
    if status == UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    if status == UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def integer_parameter(query: QueryParams, name: str, default: int, most: int) -> int:
    """Read a number from 1 to `most`. Raises `BadRequestError`."""
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and 1 <= int(text) <= most):
        msg = f"{name}: expected a number from 1 to {most}"
        raise BadRequestError(msg)
    return int(text)


def choice_parameter(query: QueryParams, name: str, known: tuple[str, ...] | list[str], default: str) -> str:
    """Read one of the known values. Raises `BadRequestError`."""
    text = query.get(name, default)
    if text not in known:
        msg = f"{name}: expected one of {', '.join(known)}"
        raise BadRequestError(msg)
    return text


def time_parameter(text: str | int | None, name: str) -> int | None:
    """Read a time, epoch ms or RFC 3339 with an offset, as epoch ms. Raises `BadRequestError`."""
    if text is None:
        return None
    time: int | None = None
    try:
        if isinstance(text, int) or (text.isascii() and text.isdecimal()):
            time = int(text)
        else:
            when = datetime.fromisoformat(text)
            time = None if when.tzinfo is None else (when - EPOCH) // MILLISECOND
    except (ValueError, OverflowError):
        time = None
    if time is None or not 0 <= time < LATEST_MS:
        msg = f"{name}: expected epoch milliseconds, or RFC 3339 with an offset (2026-01-31T12:00:00Z)"
        raise BadRequestError(msg)
    return time

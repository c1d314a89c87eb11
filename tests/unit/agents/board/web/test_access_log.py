"""The access log of a board: a line for each request, and nothing secret in it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from agents.board.web.access_log import AccessLog
from tests.driving.boards import TOKEN, board_of, client_of, score

SAME = {"Sec-Fetch-Site": "same-origin"}


def lines_of(method: str, path: str, **options: Any) -> tuple[dict[str, Any], str]:
    """The one line that a request is logged with, and everything that is logged."""
    client = client_of(board_of(score("a", 30.0)), board_token=TOKEN)
    with capture_logs() as lines:
        client.request(method, path, **options)
    (line,) = [line for line in lines if line["event"] == "request"]
    return dict(line), str(lines)


def test_a_request_is_logged_with_its_user_and_without_its_query() -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}", "Cookie": "vitals_board=secret-cookie"}
    line, everything = lines_of("GET", "/api/accounts?q=secret-query", headers=bearer)
    assert line.pop("ms") >= 0
    assert line == {
        "event": "request",
        "log_level": "info",
        "method": "GET",
        "path": "/api/accounts",
        "status": 200,
        "client": "testclient",
        "user": "token",
    }
    assert TOKEN not in everything
    assert "secret" not in everything


@pytest.mark.parametrize("token", [TOKEN, "a-wrong-token-of-someone"])
def test_the_form_is_logged_without_the_token(token: str) -> None:
    line, everything = lines_of("POST", "/sign-in", data={"token": token, "name": "ann"}, headers=SAME)
    assert line["status"] == (303 if token == TOKEN else 401)
    assert token not in everything


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/static/app.js"])
def test_what_is_asked_for_all_the_time_is_logged_at_debug_level(path: str) -> None:
    assert lines_of("GET", path)[0]["log_level"] == "debug"


def test_a_long_path_is_cut() -> None:
    assert len(lines_of("GET", f"/api/accounts/{'x' * 5_000}")[0]["path"]) == 200


@pytest.mark.parametrize(("error", "status"), [(ClientDisconnect(), 499), (KeyError("a bug"), 500)])
def test_a_client_that_leaves_is_no_error_and_a_bug_is(error: Exception, status: int) -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise error

    async def nothing(*_: Message) -> Any:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "path": "/"}
    with capture_logs() as lines:
        if status == 500:
            with pytest.raises(KeyError):
                asyncio.run(AccessLog(app)(scope, nothing, nothing))
        else:
            asyncio.run(AccessLog(app)(scope, nothing, nothing))
    assert [line["status"] for line in lines] == [status]

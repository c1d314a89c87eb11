"""The board's web application: routes and their handlers.

Owns paths and the reading of parameters. Contents come from `agents.board.views`; `agents.board.web.auth` has checked
the request before. Called by `agents.board.web.serve` and by tests.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from agents.board.state.alerts import urgency
from agents.board.state.board import SUMMARY_TTL_S, Board
from agents.board.state.state import Account
from agents.board.views import account as one_account
from agents.board.views import timeline
from agents.board.views.inputs import Inputs, SearchResult
from agents.board.views.listing import page_of
from agents.board.views.rows import alert_view
from agents.board.views.shadow import shadow_of
from agents.board.views.summary import filters_of, is_of_match
from agents.board.views.types import Alerts, ControlReceipt, Health, SessionView, Snooze
from agents.board.web.access_log import AccessLog
from agents.board.web.auth import Access, Guard
from agents.board.web.controls import AlertControl, Controls, NoControls
from agents.board.web.dead_letters import DeadLetterApi, DeadLetterBox
from agents.board.web.handlers import Handler, body_of, errors_as_responses, segment
from agents.board.web.metrics import BoardMetrics
from agents.board.web.openapi import document
from agents.board.web.pages import Pages
from agents.board.web.queries import filter_of, list_query_of
from agents.board.web.responses import (
    BadRequestError,
    MissingError,
    UnavailableError,
    choice_parameter,
    error_response,
    integer_parameter,
    json_response,
    time_parameter,
)
from agents.board.web.streaming import HEARTBEAT_S
from agents.settings.settings import Settings
from schemas.topics import DAY_MS

LONGEST_SNOOZE_MS = 90 * DAY_MS
MOST_STREAMED = 500
DIFF_MS = 7 * DAY_MS
NOT_FOUND = 404


class Api:
    """The handlers of one board."""

    def __init__(
        self,
        board: Board,
        settings: Settings,
        access: Access,
        *,
        controls: Controls,
        inputs: Inputs,
        dead_letters: DeadLetterBox,
    ) -> None:
        """Store what the handlers use."""
        self._board, self._settings, self._access = board, settings, access
        self._controls, self._inputs, self._dead_letters = controls, inputs, DeadLetterApi(dead_letters, board.sources)
        self._document = document()
        self._metrics = BoardMetrics(board, access.throttle.outcomes)

    def routes(self) -> list[Route]:
        """Every path of the API."""
        paths: list[tuple[str, Handler, str]] = [
            ("/api/session", self.session, "GET"),
            ("/api/summary", self.summary, "GET"),
            ("/api/filters", self.filters, "GET"),
            ("/api/accounts", self.accounts, "GET"),
            ("/api/accounts/{account}", self.account, "GET"),
            ("/api/accounts/{account}/diff", self.diff, "GET"),
            ("/api/accounts/{account}/timeline", self.timeline, "GET"),
            ("/api/accounts/{account}/alerts/{rule}/acknowledge", self.acknowledge, "POST"),
            ("/api/accounts/{account}/alerts/{rule}/snooze", self.snooze, "POST"),
            ("/api/alerts", self.alerts, "GET"),
            ("/api/shadow", self.shadow, "GET"),
            *self._dead_letters.paths(),
            ("/api/stream", self.stream, "GET"),
            ("/openapi.json", self.openapi, "GET"),
            ("/healthz", self.health, "GET"),
            ("/readyz", self.ready, "GET"),
            ("/metrics", self.metrics, "GET"),
        ]
        return [Route(path, errors_as_responses(handler), methods=[method]) for path, handler, method in paths]

    async def session(self, request: Request) -> Response:
        """The signed-in user, and what the page needs to know about the board."""
        user, mode = request.state.user, self._access.mode
        recorded = isinstance(self._controls, NoControls)
        about = SessionView(
            user,
            mode,
            version("account-vitals"),
            self._settings.time,
            HEARTBEAT_S,
            recorded,
            self._board.streams.newest_id(),
        )
        return json_response(about)

    async def summary(self, request: Request) -> Response:
        """Figures over all accounts, or over those that match the filters."""
        query = filter_of(request.query_params, self._score(request))
        return json_response(self._board.summary(query if query.is_filtered else None))

    async def filters(self, _request: Request) -> Response:
        """The values that lists can be filtered by."""
        return json_response(filters_of(self._board.state))

    async def accounts(self, request: Request) -> Response:
        """A page of accounts."""
        query = request.query_params
        list_query, limit = list_query_of(query, self._score(request)), integer_parameter(query, "limit", 50, 500)
        return json_response(page_of(self._board.state, list_query, limit, query.get("cursor")))

    async def account(self, request: Request) -> Response:
        """Everything about one account."""
        return json_response(one_account.page_of(self._board.state, self._account(request), self._board.plan))

    async def diff(self, request: Request) -> Response:
        """What changed a score between two times."""
        account, query = self._account(request), request.query_params
        score = self._score(request)
        if score not in account.scores and score not in account.histories:
            msg = f"{account.account_id} has no score {score}"
            raise MissingError(msg)
        until = time_parameter(query.get("to"), "to")
        after = time_parameter(query.get("from"), "from")
        if after is None:
            after = (account.as_of if until is None else until) - DIFF_MS
        if until is not None and after > until:
            msg = "from: must not be after to"
            raise BadRequestError(msg)
        return json_response(one_account.diff_of(self._board.state, account, score, after, until))

    async def timeline(self, request: Request) -> Response:
        """The timeline of an account, newest first."""
        account, query, sources = self._account(request), request.query_params, self._board.sources
        text = query.get("kinds")
        kinds = frozenset(timeline.KINDS if text is None else text.split(","))
        if not kinds <= frozenset(timeline.KINDS):
            msg = f"kinds: expected one or more of {','.join(timeline.KINDS)}"
            raise BadRequestError(msg)
        position = timeline.position_of(query.get("cursor"), time_parameter(query.get("before"), "before"), sources)
        topics, limit = timeline.topics_of(kinds, sources), integer_parameter(query, "limit", 50, 200)
        problem = None
        try:
            result = await run_in_threadpool(
                self._inputs.find, account.account_id, topics, position.offsets, position.until, limit
            )
        except UnavailableError as error:
            problem, result = str(error), SearchResult([], dict(position.offsets), 0, 0)
        state = self._board.state
        return json_response(
            timeline.page_of(state, account, position, result, sources, limit=limit, kinds=kinds, problem=problem)
        )

    async def alerts(self, request: Request) -> Response:
        """Open or past alerts of all accounts."""
        query, state = request.query_params, self._board.state
        limit = integer_parameter(query, "limit", 200, 1_000)
        if choice_parameter(query, "status", ("open", "resolved"), "open") == "open":
            alerts = sorted(state.episodes.all_open(), key=urgency)
        else:
            alerts = list(state.episodes.latest_past())
        rules, severities = (frozenset(query.getlist(name)) for name in ("rule", "severity"))
        of_accounts = filter_of(query, self._score(request))
        matching = [
            alert
            for alert in alerts
            if (not rules or alert.rule in rules)
            and (not severities or alert.severity in severities)
            and is_of_match(state, alert, of_accounts)
        ]
        return json_response(Alerts([alert_view(state, alert) for alert in matching[:limit]], len(matching)))

    async def shadow(self, request: Request) -> Response:
        """The candidate policy compared with the live one."""
        query, state = request.query_params, self._board.state
        score = self._score(request) if "score" in query else None
        return json_response(shadow_of(state, score, integer_parameter(query, "limit", 100, 500)))

    async def stream(self, request: Request) -> Response:
        """Server-sent events of changes."""
        query = request.query_params
        accounts = frozenset(query.getlist("account")) if "account" in query else None
        if accounts is not None and len(accounts) > MOST_STREAMED:
            msg = f"account: at most {MOST_STREAMED}"
            raise BadRequestError(msg)
        last = request.headers.get("last-event-id") or query.get("last_event_id")
        session = request.state.session
        streams = self._board.streams
        stream = streams.stream(last, accounts) if session is None else streams.stream(last, accounts, session.is_over)
        return EventSourceResponse(stream, ping=0)

    async def acknowledge(self, request: Request) -> Response:
        """Acknowledge an alert."""
        account, rule = self._account(request), segment(request, "rule")
        await body_of(request, dict[str, Any])
        if self._board.state.episodes.find(account.account_id, rule) is None:
            msg = f"{account.account_id} has no open alert {rule}"
            raise MissingError(msg)
        control = AlertControl(account.account_id, self._now(account), "acknowledge", rule, request.state.user)
        await run_in_threadpool(self._controls.send, control)
        return json_response(ControlReceipt(control.id, control.time, control.by), 202)

    async def snooze(self, request: Request) -> Response:
        """Snooze an alert, or end a snooze."""
        account, rule = self._account(request), segment(request, "rule")
        body = await body_of(request, Snooze)
        if body is None:
            msg = 'body: expected {"until": epoch milliseconds, RFC 3339, or null to end a snooze}'
            raise BadRequestError(msg)
        episodes, key = self._board.state.episodes, account.account_id
        rules = {alert.rule for alert in (*episodes.open_of(key), *episodes.past_of(key))}
        if rule not in rules:
            msg = f"{account.account_id} has had no alert {rule}"
            raise MissingError(msg)
        now, until = self._now(account), time_parameter(body.until, "until")
        if until is not None and not now < until <= now + LONGEST_SNOOZE_MS:
            msg = f"until: expected a time after {now} and at most 90 days later; null ends a snooze"
            raise BadRequestError(msg)
        ends = now if until is None else until
        control = AlertControl(account.account_id, now, "snooze", rule, request.state.user, until=ends)
        await run_in_threadpool(self._controls.send, control)
        return json_response(ControlReceipt(control.id, control.time, control.by, until), 202)

    async def openapi(self, _request: Request) -> Response:
        """The OpenAPI document of the API."""
        return json_response(self._document)

    async def health(self, _request: Request) -> Response:
        """Whether the process answers. A board whose reading has failed ends, so an answer is all there is to know."""
        return json_response(Health(ok=True, problems=[]))

    async def ready(self, _request: Request) -> Response:
        """Whether the board shows present data."""
        problems = self._board.problems()
        return json_response(Health(not problems, problems), 503 if problems else 200)

    async def metrics(self, _request: Request) -> Response:
        """Metrics for Prometheus."""
        return Response(generate_latest(self._metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def _account(self, request: Request) -> Account:
        key = segment(request, "account")
        account = self._board.state.account_of(key)
        if account is None:
            msg = f"no account {key[:100]}: it has no score yet"
            raise MissingError(msg)
        return account

    def _score(self, request: Request) -> str:
        names = self._board.state.score_names()
        name = request.query_params.get("score")
        if name is None:
            return names[0] if names else ""
        if name not in names:
            msg = f"score: expected one of {', '.join(names)}"
            raise BadRequestError(msg)
        return name

    def _now(self, account: Account) -> int:
        """The time of a control: now; if only events move time, 1 ms after the account's latest."""
        return round(time.time() * 1000) if self._settings.time == "live" else account.as_of + 1


class _RawPaths:
    """ASGI middleware that matches paths of the API before they are decoded, so that an id can contain `%2F`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = scope.get("raw_path")
        if scope["type"] == "http" and raw and scope["path"].startswith("/api/"):
            scope = {**scope, "path": raw.decode("latin-1").partition("?")[0]}
        await self._app(scope, receive, send)


def _http_error(error: HTTPException) -> Response:
    messages = {404: "no such path; see /openapi.json", 405: "method not allowed; see /openapi.json"}
    response = error_response(error.status_code, messages.get(error.status_code, error.detail))
    response.headers.update(error.headers or {})
    return response


async def _ticks(board: Board) -> None:
    while True:
        await asyncio.sleep(SUMMARY_TTL_S)
        board.tick()


def build_app(
    board: Board,
    settings: Settings,
    *,
    controls: Controls,
    inputs: Inputs,
    dead_letters: DeadLetterBox,
    pages: Pages,
    failed: Callable[[BaseException], None],
    work: Callable[[], Awaitable[Any]] | None = None,
) -> ASGIApp:
    """Build the application. `work`, such as a reader, runs in the same event loop. Raises `SettingsError`.

    `failed` is called with the error if a task of the event loop ends with one: the board then shows old data only.
    """
    access = Access.of(settings)
    api = Api(board, settings, access, controls=controls, inputs=inputs, dead_letters=dead_letters)

    def watch(task: asyncio.Future[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            failed(error)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.ensure_future(work) for work in (_ticks(board), *([work()] if work is not None else []))]
        for task in tasks:
            task.add_done_callback(watch)
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        controls.close()
        inputs.close()

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        page = pages.missing(request) if error.status_code == NOT_FOUND else None
        return page or _http_error(error)

    app = Starlette(
        routes=[*api.routes(), *pages.routes(access)],
        lifespan=lifespan,
        exception_handlers={HTTPException: http_error},
    )
    guard = Guard(_RawPaths(app), access, is_open=pages.is_open, is_page=pages.is_page, sign_in=pages.sign_in_page(401))
    return AccessLog(guard)

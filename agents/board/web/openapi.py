"""The OpenAPI document of the board's API.

Owns the list of paths, their parameters and errors. msgspec makes the schemas of bodies from `agents.board.views`.
Pure. Called by `agents.board.web.app`. Tests send requests made from this document to the real application.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import msgspec

from agents.board.views import overall_types as views_overall
from agents.board.views import types as views
from agents.board.views.dead_letters import DeadLetterGroups, DeadLetters, DeadLettersHandled
from agents.board.views.listing import ATTRIBUTE_SORT, SORTS
from agents.board.views.timeline import KINDS

Json = dict[str, Any]
_REF = "#/components/schemas/{name}"


def _query(name: str, description: str, schema: Json, *, many: bool = False) -> Json:
    schema = {"type": "array", "items": schema} if many else schema
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


def _path(name: str, description: str) -> Json:
    schema = {"type": "string", "minLength": 1, "maxLength": 1000}
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


_TEXT: Json = {"type": "string"}
_MOMENT: Json = {"type": "string", "description": "epoch milliseconds, or RFC 3339 with an offset"}
_SCORE = _query("score", "the score; default: the first", _TEXT)
_ACCOUNT = _path("account", "the account's id, percent-encoded, including /; the ids . and .. are written =. and =..")
_RULE = _path("rule", "the alert's rule, percent-encoded")
_ALERT = "/api/accounts/{account}/alerts/{rule}"
_OF_ALERT = [_ACCOUNT, _RULE]
_LETTERS = "/api/dead-letters/{topic}/{reason}"
_OF_LETTERS = [_path("topic", "the dead-letter topic"), _path("reason", "the reason, percent-encoded")]
_LETTER_ERRORS = [400, 404, 503]


def _limit(default: int, most: int) -> Json:
    return _query("limit", "how many items", {"type": "integer", "minimum": 1, "maximum": most, "default": default})


def _texts(*names: str) -> list[Json]:
    return [
        _query(name, "any of these values; an empty value matches accounts without one", _TEXT, many=True)
        for name in names
    ]


_FILTERS = [
    _SCORE,
    *_texts("band", "segment", "owner", "tier"),
    _query(
        "attribute",
        "NAME:VALUE, an attribute of the profile: any of the values of one name, and all names; an empty value matches "
        "accounts without it",
        _TEXT,
        many=True,
    ),
    _query("q", "text in id, name, owner or segment", _TEXT),
    _query("alerts", "only accounts with open alerts", {"type": "string", "enum": ["", "open"]}),
]
_LISTING = [
    *_FILTERS,
    _query(
        "sort",
        "sort by this column; `attribute:NAME` by an attribute of profiles, numbers before texts",
        {"type": "string", "pattern": f"^({'|'.join(SORTS)}|{ATTRIBUTE_SORT.pattern})$", "default": "score"},
    ),
    _query("order", "sort direction", {"type": "string", "enum": ["asc", "desc"], "default": "asc"}),
    _limit(50, 500),
    _query("cursor", "`next` of the previous page", _TEXT),
]
_DIFF = [
    _ACCOUNT,
    _SCORE,
    _query("from", "default: 7 days before `to`", _MOMENT),
    _query("to", "default: now", _MOMENT),
]
_TIMELINE = [
    _ACCOUNT,
    _query("before", "no items after this time", _MOMENT),
    _query("cursor", "`next` of the previous page", _TEXT),
    _limit(50, 200),
    _query("kinds", f"comma-separated, of {', '.join(KINDS)}", _TEXT),
]
_ALERTS = [
    _query("status", "which alerts", {"type": "string", "enum": ["open", "resolved"], "default": "open"}),
    *_texts("rule", "severity"),
    *_FILTERS,
    _limit(200, 1000),
]
_GETS: list[tuple[str, str, type[msgspec.Struct], list[Json], list[int]]] = [
    ("/api/session", "Who is signed in", views.SessionView, [], []),
    ("/api/summary", "Figures over all accounts, or those that match", views_overall.Summary, _FILTERS, [400]),
    ("/api/filters", "The values that lists can be filtered by", views.Filters, [], []),
    ("/api/accounts", "A page of accounts", views.Accounts, _LISTING, [400]),
    ("/api/accounts/{account}", "Everything about an account", views.AccountPage, [_ACCOUNT], [400, 404]),
    ("/api/accounts/{account}/diff", "What changed a score between two times", views.Diff, _DIFF, [400, 404]),
    (
        "/api/accounts/{account}/timeline",
        "The timeline of an account, newest first",
        views.Timeline,
        _TIMELINE,
        [400, 404],
    ),
    ("/api/alerts", "Alerts of all accounts", views.Alerts, _ALERTS, [400]),
    (
        "/api/shadow",
        "The candidate policy compared with the live policy",
        views_overall.ShadowView,
        [_SCORE, _limit(100, 500)],
        [400],
    ),
    ("/api/dead-letters", "Dead letters by topic and reason", DeadLetterGroups, [], [503]),
    (
        _LETTERS,
        "The newest open dead letters of a reason",
        DeadLetters,
        [*_OF_LETTERS, _limit(20, 200)],
        _LETTER_ERRORS,
    ),
]
_POSTS: list[tuple[str, str, list[Json], type[msgspec.Struct] | None, int, type[msgspec.Struct]]] = [
    (f"{_ALERT}/acknowledge", "Acknowledge an alert", _OF_ALERT, None, 202, views.ControlReceipt),
    (
        f"{_ALERT}/snooze",
        "Snooze an alert until a time; null ends a snooze",
        _OF_ALERT,
        views.Snooze,
        202,
        views.ControlReceipt,
    ),
    (f"{_LETTERS}/replay", "Write open dead letters to their topic again", _OF_LETTERS, None, 200, DeadLettersHandled),
    (f"{_LETTERS}/discard", "Mark open dead letters as discarded", _OF_LETTERS, None, 200, DeadLettersHandled),
]
_STREAM = [
    *_texts("account"),
    _query("last_event_id", "continue after this event", _TEXT),
    {**_query("Last-Event-ID", "continue after this event", _TEXT), "in": "header"},
]
_ERRORS = {
    400: "a parameter, cursor or body is not valid",
    401: "the request has no valid token or session",
    403: "a change that does not come from the board's page, or a request forwarded to a board without sign-in",
    404: "the account, score, alert or topic does not exist",
    413: "the body is too large or has no Content-Length",
    415: "the body is not JSON",
    421: "the Host header does not name this board",
    429: "too many wrong tokens; see Retry-After",
    503: "the broker is not available; see Retry-After",
}


def document() -> Json:
    """Return the whole document, OpenAPI 3.1."""
    types = [view for _, _, view, _, _ in _GETS] + [view for *_, view in _POSTS]
    types += [views.Snooze, views.Health, views.ErrorView]
    types = list(dict.fromkeys(types))
    refs, components = msgspec.json.schema_components(types, ref_template=_REF)
    schema = dict(zip(types, refs, strict=True))
    error = schema[views.ErrorView]
    paths: Json = {
        path: {"get": _operation(summary, {200: schema[view]}, parameters, errors, error)}
        for path, summary, view, parameters, errors in _GETS
    }
    for path, summary, parameters, body, status, view in _POSTS:
        errors = [400, 403, 404, 413, 415, 503]
        operation = _operation(summary, {status: schema[view]}, parameters, errors, error)
        content = {"application/json": {"schema": {"type": "object"} if body is None else schema[body]}}
        paths[path] = {"post": {**operation, "requestBody": {"required": body is not None, "content": content}}}
    events = "Server-sent events: summary, account, gone, alert, heartbeat, reset"
    paths["/api/stream"] = {
        "get": _operation(events, {200: _TEXT}, _STREAM, [400], error, media_type="text/event-stream")
    }
    paths["/metrics"] = {
        "get": _operation("Metrics for Prometheus", {200: _TEXT}, [], [], error, media_type="text/plain")
    }
    paths["/openapi.json"] = {"get": _operation("This document", {200: {"type": "object"}}, [], [], error)}
    health = schema[views.Health]
    alive = _operation("Whether the process answers", {200: health}, [], [], {})
    ready = _operation("Whether the board shows present data", {200: health, 503: health}, [], [], {})
    paths["/healthz"], paths["/readyz"] = {"get": {**alive, "security": []}}, {"get": {**ready, "security": []}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "account-vitals board",
            "version": version("account-vitals"),
            "description": "Times are epoch milliseconds, UTC. Unknown fields may be added.",
        },
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "vitals_board"},
            },
        },
    }


def _operation(
    summary: str,
    good: dict[int, Json],
    parameters: list[Json],
    errors: list[int],
    error: Json,
    *,
    media_type: str = "application/json",
) -> Json:
    responses = {
        str(status): {"description": summary, "content": {media_type: {"schema": schema}}}
        for status, schema in good.items()
    }
    always = [401, 403, 421, 429] if error else []
    responses |= {
        str(status): {"description": _ERRORS[status], "content": {"application/json": {"schema": error}}}
        for status in (*errors, *always)
    }
    return {"summary": summary, "parameters": parameters, "responses": responses}

"""The API as an OpenAPI document, made of the types it answers with.

Owns the list of paths, their parameters and their errors. Pure. Called by `agents.board.web.app`; the tests ask the
real application everything that stands here.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import msgspec

from agents.board.views import overall_types as views_overall
from agents.board.views import types as views
from agents.board.views.listing import SORTS
from agents.board.views.timeline import KINDS

Json = dict[str, Any]
_REF = "#/components/schemas/{name}"


def _query(name: str, words: str, schema: Json, *, many: bool = False) -> Json:
    schema = {"type": "array", "items": schema} if many else schema
    return {"name": name, "in": "query", "required": False, "description": words, "schema": schema}


def _path(name: str, words: str) -> Json:
    text = {"type": "string", "minLength": 1, "maxLength": 1000}
    return {"name": name, "in": "path", "required": True, "description": words, "schema": text}


_TEXT: Json = {"type": "string"}
_MOMENT: Json = {"type": "string", "description": "epoch milliseconds, or RFC 3339 with an offset"}
_SCORE = _query("score", "which score; default: the first", _TEXT)
_ACCOUNT = _path("account", "the account's id, percent-encoded, a / too")
_RULE = _path("rule", "the alert's rule, percent-encoded")


def _limit(default: int, most: int) -> Json:
    return _query("limit", "how many", {"type": "integer", "minimum": 1, "maximum": most, "default": default})


def _texts(*names: str) -> list[Json]:
    return [_query(name, "any of these; an empty one: accounts that have none", _TEXT, many=True) for name in names]


_LISTING = [
    _SCORE,
    *_texts("band", "segment", "owner", "tier"),
    _query("q", "text in id, name, owner or segment", _TEXT),
    _query("alerts", "only accounts with open alerts", {"type": "string", "enum": ["", "open"]}),
    _query("sort", "by what", {"type": "string", "enum": list(SORTS), "default": "score"}),
    _query("order", "which way", {"type": "string", "enum": ["asc", "desc"], "default": "asc"}),
    _limit(50, 500),
    _query("cursor", "`next` of the page before", _TEXT),
]
_DIFF = [
    _ACCOUNT,
    _SCORE,
    _query("from", "default: 7 days before `to`", _MOMENT),
    _query("to", "default: now", _MOMENT),
]
_TIMELINE = [
    _ACCOUNT,
    _query("before", "nothing later than this", _MOMENT),
    _query("cursor", "`next` of the page before", _TEXT),
    _limit(50, 200),
    _query("kinds", f"comma-separated, of {', '.join(KINDS)}", _TEXT),
]
_ALERTS = [
    _query("status", "which", {"type": "string", "enum": ["open", "resolved"], "default": "open"}),
    *_texts("rule", "severity", "owner"),
    _limit(200, 1000),
]
_SNOOZE: Json = {
    "type": "object",
    "required": ["until"],
    "properties": {"until": {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]}},
}

_GETS: list[tuple[str, str, type[msgspec.Struct], list[Json], list[int]]] = [
    ("/api/session", "Who is signed in", views.SessionView, [], []),
    ("/api/summary", "All accounts at a glance", views_overall.Summary, [], []),
    ("/api/filters", "What lists can be filtered by", views.Filters, [], []),
    ("/api/accounts", "A page of accounts", views.Accounts, _LISTING, [400]),
    ("/api/accounts/{account}", "Everything about an account", views.AccountPage, [_ACCOUNT], [400, 404]),
    ("/api/accounts/{account}/diff", "What moved a score between two moments", views.Diff, _DIFF, [400, 404]),
    (
        "/api/accounts/{account}/timeline",
        "The journey of an account, newest first",
        views.Timeline,
        _TIMELINE,
        [400, 404],
    ),
    ("/api/alerts", "Alerts of all accounts", views.Alerts, _ALERTS, [400]),
    (
        "/api/shadow",
        "The candidate policy beside the live one",
        views_overall.ShadowView,
        [_SCORE, _limit(100, 500)],
        [400],
    ),
]
_POSTS: list[tuple[str, str, Json | None]] = [
    ("/api/accounts/{account}/alerts/{rule}/acknowledge", "Say that somebody takes care of an alert", None),
    ("/api/accounts/{account}/alerts/{rule}/snooze", "Mute an alert until a moment; null: no longer", _SNOOZE),
]
_WORDS = {
    400: "a parameter, cursor or body that can not be used",
    401: "nobody is signed in",
    403: "not from this board's page, and without a bearer token",
    404: "there is no such account, score or alert",
    413: "the body is too large, or its length is not told",
    415: "the body is not JSON",
    421: "the board does not answer to this Host",
    503: "not now; see Retry-After",
}


def document() -> Json:
    """The whole document, OpenAPI 3.1."""
    kinds = [view for _, _, view, _, _ in _GETS] + [views.Said, views.Health, views.ErrorView]
    refs, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    schema = dict(zip(kinds, refs, strict=True))
    paths: Json = {
        path: {"get": _operation(words, {200: schema[view]}, parameters, errors, schema[views.ErrorView])}
        for path, words, view, parameters, errors in _GETS
    }
    for path, words, body in _POSTS:
        errors = [400, 403, 404, 413, 415, 503]
        made = _operation(words, {202: schema[views.Said]}, [_ACCOUNT, _RULE], errors, schema[views.ErrorView])
        content = {"application/json": {"schema": body or {"type": "object"}}}
        paths[path] = {"post": {**made, "requestBody": {"required": body is not None, "content": content}}}
    paths["/api/stream"] = {"get": _stream(schema[views.ErrorView])}
    health = _operation("Whether the board works", {200: schema[views.Health], 503: schema[views.Health]}, [], [], {})
    paths["/healthz"] = {"get": {**health, "security": []}}
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


def _operation(words: str, good: dict[int, Json], parameters: list[Json], errors: list[int], error: Json) -> Json:
    answers = {
        str(status): {"description": words, "content": {"application/json": {"schema": schema}}}
        for status, schema in good.items()
    }
    always = [401, 421] if error else []
    answers |= {
        str(status): {"description": _WORDS[status], "content": {"application/json": {"schema": error}}}
        for status in (*errors, *always)
    }
    return {"summary": words, "parameters": parameters, "responses": answers}


def _stream(error: Json) -> Json:
    words = "Server-sent events: summary, account, gone, alert, heartbeat, reset"
    parameters = [
        *_texts("account"),
        _query("last_event_id", "go on behind this event", _TEXT),
        {**_query("Last-Event-ID", "go on behind this event", _TEXT), "in": "header"},
    ]
    made = _operation(words, {}, parameters, [400], error)
    made["responses"]["200"] = {"description": words, "content": {"text/event-stream": {"schema": _TEXT}}}
    return made

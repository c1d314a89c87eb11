"""The API answers as its OpenAPI document says: schemathesis sends requests made from it to the real application.

Every answer has the documented form and no status is 500. The other tests check single answers.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
import schemathesis
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agents.board.state.board import Board, Record
from agents.board.views.inputs import NoInputs, SearchResult
from agents.board.web.app import Api
from agents.board.web.auth import Access
from agents.board.web.controls import NoControls
from agents.board.web.dead_letters import NoDeadLetters
from agents.board.web.openapi import document
from agents.board.web.responses import UnavailableError
from agents.settings.settings import default_policy
from schemas.outputs import Factor, ScoreMessage, ScoreValue
from schemas.topics import DAY_MS, ROLLUPS, SCORES
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy
from tests.driving.boards import (
    NOON,
    TOKEN,
    RecordingControls,
    alert,
    board_of,
    change,
    client_of,
    profile,
    score,
    score_history,
    shadow,
)
from tests.driving.boards import settings as settings_of

BEARER = {"Authorization": f"Bearer {TOKEN}"}
SAME = {"Sec-Fetch-Site": "same-origin"}
NESTED = "a/b?c#d%2F e"
ROLLUP = {
    "account_id": "acme",
    "as_of": NOON,
    "children": 1,
    "scores": {
        "health": {
            "mean": 40.0,
            "worst": 40.0,
            "worst_account": NESTED,
            "worst_band": "attention",
            "weighted": None,
            "children": 1,
            "bands": {"attention": 1},
        }
    },
}


def filled() -> Board:
    return board_of(
        profile("acme", name="Acme <b>", owner="ann", tier="gold", arr=12.5, started_at="2025-01-01T00:00:00Z"),
        *score_history("acme", 90.0, 82.0, 30.0),
        alert("acme"),
        alert("acme", "old", ends_at=NOON + 5, severity="info"),
        alert("", "stalled:billing", severity="critical", labels={"source": "billing", "partition": "0"}),
        score(NESTED, 40.0, parent_id="acme", stalled_sources=["billing"], confidence=0.5),
        change("acme", NOON + 1, 30.0, 30.0, cause="override", override={"reason": "r", "since": 1, "expires_at": 2}),
        Record(ROLLUPS, b"acme", msgspec.json.encode(ROLLUP), NOON),
        shadow("acme", 80.0, "low"),
    )


_client = client_of(filled(), board_token=TOKEN, board_hosts="testserver")


async def of_known_accounts(scope: Scope, receive: Receive, send: Send) -> None:
    """The same application, with a document that names the only account and rule there are."""
    if scope["type"] != "http" or scope["path"] != "/openapi.json":
        await _client.app(scope, receive, send)
        return
    made = document()
    for operations in made["paths"].values():
        for operation in operations.values():
            for parameter in operation["parameters"]:
                if parameter["in"] == "path":
                    parameter["schema"] = {
                        "enum": [
                            {"account": "acme", "rule": "low", "topic": "billing.dlq", "reason": "r"}[parameter["name"]]
                        ]
                    }
    await Response(msgspec.json.encode(made), media_type="application/json")(scope, receive, send)


@pytest.fixture
def documented() -> Any:
    return schemathesis.openapi.from_asgi("/openapi.json", _client.app, headers=BEARER)


@pytest.fixture
def about_known_accounts() -> Any:
    return schemathesis.openapi.from_asgi("/openapi.json", of_known_accounts, headers=BEARER)


def schema_from(fixture: str) -> Any:
    """The requests of schemathesis. The stream never ends; test_streaming.py tests it.

    From a fixture, they are drawn when a test begins, and not in every process while tests are collected.
    """
    return schemathesis.pytest.from_fixture(fixture).exclude(path="/api/stream")


@schema_from("documented").parametrize()
@settings(max_examples=20, deadline=None)
def test_answers_match_the_document(case: Any) -> None:
    # A schema cannot say which ids and rules exist: a generated one is rightly not found.
    case.call_and_validate(headers=BEARER, excluded_checks=[schemathesis.checks.positive_data_acceptance])


@schema_from("about_known_accounts").include(path_regex="^/api/accounts/{account}").parametrize()
@settings(max_examples=20, deadline=None)
def test_answers_about_an_existing_account_match_the_document(case: Any) -> None:
    # A cursor or a time of the right type can still be invalid.
    case.call_and_validate(headers=BEARER, excluded_checks=[schemathesis.checks.positive_data_acceptance])


@pytest.mark.parametrize(("path", "media_type"), {"/api/stream": "text/event-stream", "/metrics": "text/plain"}.items())
def test_the_document_names_the_media_type_of_answers_that_are_not_json(path: str, media_type: str) -> None:
    operation = document()["paths"][path]["get"]
    assert list(operation["responses"]["200"]["content"]) == [media_type]


def test_the_document_has_every_route_of_the_api() -> None:
    board = board_of()
    loaded = settings_of()
    api = Api(
        board,
        loaded,
        Access.of(loaded),
        controls=NoControls(),
        inputs=NoInputs(),
        dead_letters=NoDeadLetters(),
    )
    routes = {
        (route.path, method.lower()) for route in api.routes() for method in route.methods or () if method != "HEAD"
    }
    assert {(path, method) for path, item in document()["paths"].items() for method in item} == routes


def test_an_id_can_contain_any_character() -> None:
    client = client_of(filled())
    page = client.get("/api/accounts/a%2Fb%3Fc%23d%252F%20e").json()
    assert page["account"]["account_id"] == NESTED
    assert page["account"]["stalled_sources"] == ["billing"]
    assert page["parent"] == {"account_id": "acme", "name": "Acme <b>", "scored": True}
    assert client.get("/api/accounts/a%2Fb%3Fc%23d%252F%20e/diff").json()["account_id"] == NESTED
    assert client.get("/api/accounts/a/b").status_code == 404
    assert client.get("/api/accounts/%ff").status_code == 400


def test_an_account_page_has_everything_about_an_account() -> None:
    page = client_of(filled()).get("/api/accounts/acme").json()
    health = page["scores"]["health"]
    assert health["history"]["values"] == [90.0, 82.0, 30.0, 30.0, 30.0]
    assert [change["cause"] for change in health["changes"]] == ["override", "event", "event", "event"]
    assert health["changes"][1]["words"] == "-52 to 30, at-risk: usage -52"
    assert page["profile"]["started_at"] == 1_735_689_600_000
    assert [alert["state"] for alert in page["alerts"]["open"] + page["alerts"]["past"]] == ["firing", "resolved"]
    assert [child["account_id"] for child in page["children"]] == [NESTED]
    assert page["rollup"] == ROLLUP
    assert health["explanation"] is None
    assert health["forecast"] is None


def test_a_board_with_the_policy_of_a_score_explains_it() -> None:
    path = default_policy()
    board = Board(compile_plan(parse_policy(path.read_text(encoding="utf-8"), str(path))))
    assert board.plan is not None
    factors = [Factor("product_usage", 8.0, 80.0, 1.0, 60.0)]
    values = {"health": ScoreValue(60.0, "attention", factors)}
    message = ScoreMessage("acme", NOON, 1, board.plan.label, None, values)
    board.apply([Record(SCORES, b"acme", msgspec.json.encode(message), NOON)])
    explanation = client_of(board).get("/api/accounts/acme").json()["scores"]["health"]["explanation"]
    assert explanation["next_band"] == "healthy"
    assert explanation["missing_points"] == 10.0
    assert explanation["words"][0].startswith("product usage: 8 different users")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/api/accounts?limit=0", "limit"),
        ("/api/accounts?limit=501", "limit"),
        ("/api/accounts?limit=\u0661", "limit"),
        ("/api/accounts?sort=luck", "sort"),
        ("/api/accounts?score=luck", "score: expected one of health"),
        ("/api/accounts?cursor=x", "cursor"),
        ("/api/accounts/acme/diff?from=yesterday", "from"),
        ("/api/accounts/acme/diff?from=2026-01-01T00:00:00", "offset"),
        ("/api/accounts/acme/diff?from=99999999999999999999", "from"),
        ("/api/accounts/acme/diff?from=5&to=4", "after to"),
        ("/api/accounts/acme/timeline?kinds=gossip", "kinds"),
        ("/api/accounts/acme/timeline?cursor=x", "cursor"),
        ("/api/alerts?status=odd", "status"),
    ],
)
def test_an_invalid_parameter_is_named(path: str, message: str) -> None:
    answer = client_of(filled()).get(path)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_an_unknown_method_is_answered_in_the_form_of_errors() -> None:
    answer = client_of(filled()).post("/api/summary", headers=SAME)
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"]


def test_an_acknowledgement_is_written_with_the_signed_in_user() -> None:
    controls = RecordingControls()
    options: dict[str, Any] = {"time": "event"}
    client = client_of(filled(), controls, **options)
    answer = client.post("/api/accounts/acme/alerts/low/acknowledge", headers=SAME)
    (sent,) = controls.sent
    assert answer.json() == {"id": sent.id, "time": NOON + 1, "by": "local"}
    assert msgspec.json.decode(msgspec.json.encode(sent)) == {
        "account_id": "acme",
        "time": NOON + 1,  # only events move time: 1 ms after the account's latest
        "kind": "acknowledge",
        "rule": "low",
        "by": "local",
        "id": sent.id,
    }
    assert client.post("/api/accounts/acme/alerts/old/acknowledge", headers=SAME).status_code == 404
    assert client.post("/api/accounts/nobody/alerts/low/acknowledge", headers=SAME).status_code == 404


def test_of_controls_with_one_time_the_later_has_the_greater_id() -> None:
    controls = RecordingControls()
    client = client_of(filled(), controls, time="event")  # every control is just after the account's latest
    for until in (NOON + DAY_MS, None) * 8:
        client.post("/api/accounts/acme/alerts/low/snooze", headers=SAME, json={"until": until})
    assert len({control.time for control in controls.sent}) == 1
    assert sorted(controls.sent, key=lambda control: control.id) == controls.sent


@pytest.mark.parametrize(
    ("until", "status", "ends"),
    [
        (NOON + DAY_MS, 202, NOON + DAY_MS),
        (None, 202, NOON + 1),
        (NOON, 400, None),
        (NOON + 91 * DAY_MS, 400, None),
        ("tomorrow", 400, None),
        (1.5, 400, None),
        (True, 400, None),
    ],
)
def test_a_snooze_ends_within_90_days(until: object, status: int, ends: int | None) -> None:
    controls = RecordingControls()
    client = client_of(filled(), controls, time="event")
    answer = client.post("/api/accounts/acme/alerts/low/snooze", headers=SAME, json={"until": until})
    assert answer.status_code == status
    assert [control.until for control in controls.sent] == ([] if ends is None else [ends])


def test_a_board_of_a_recording_rejects_controls() -> None:
    answer = client_of(filled(), NoControls()).post("/api/accounts/acme/alerts/low/acknowledge", headers=SAME)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_alerts_of_all_accounts_are_sorted_worst_first() -> None:
    client = client_of(filled())
    page = client.get("/api/alerts").json()
    assert [(alert["rule"], alert["name"]) for alert in page["items"]] == [
        ("stalled:billing", None),
        ("low", "Acme <b>"),
    ]
    assert client.get("/api/alerts?rule=low&owner=ann").json()["total"] == 1
    assert client.get("/api/alerts?status=resolved").json()["items"][0]["state"] == "resolved"


@pytest.mark.parametrize(
    "position",
    [
        [2**62, None, {"billing": -1}],
        [2**62, None, {"nothing": 1}],
        [2**62, None, {"health.scores": 1}],
        [1],
        "x",
        None,
    ],
)
def test_a_cursor_that_no_page_gave_is_refused(position: object) -> None:
    cursor = base64.urlsafe_b64encode(msgspec.msgpack.encode(position)).decode().rstrip("=")
    answer = client_of(filled()).get(f"/api/accounts/acme/timeline?cursor={cursor}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")


def test_a_board_that_is_still_reading_is_alive_and_not_ready() -> None:
    assert client_of(Board()).get("/healthz").json() == {"ok": True, "problems": []}
    assert client_of(board_of()).get("/readyz").json() == {"ok": True, "problems": []}
    answer = client_of(Board()).get("/readyz")
    assert answer.status_code == 503
    assert "read from the beginning" in answer.json()["problems"][0]
    assert client_of(Board()).get("/api/summary").json()["ready"] is False


BODIES = st.one_of(
    st.binary(max_size=200),
    st.integers(1, 8_000).map(lambda depth: b"[" * depth),
    st.integers(1, 5_000).map(lambda depth: b'{"until":' + b"[" * depth + b"]" * depth + b"}"),
    st.binary(max_size=20).map(lambda text: b'{"until":"' + text + b'"}'),
    st.integers().map(lambda number: b'{"until":%d}' % number),
)


@pytest.mark.parametrize("action", ["acknowledge", "snooze"])
@given(body=BODIES)
@example(b"[" * 15_000)
@example(b'{"until":' + b"[" * 15_000)
@example(b'{"a":"\xff\xfe"}')
@example(b'{"until":"\xc3\x28"}')
@example(b'{"until":1e400}')
@settings(max_examples=100, deadline=None)
def test_no_body_causes_an_error_of_the_server(action: str, body: bytes) -> None:
    headers = {**BEARER, "Content-Type": "application/json", "Host": "localhost"}
    answer = _client.post(f"/api/accounts/acme/alerts/low/{action}", headers=headers, content=body)
    assert answer.status_code in {202, 400, 413}
    assert answer.status_code == 202 or answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"[" * 15_000, b'{"until":' + b"[" * 15_000, b'{"until":"\xff"}'])
def test_a_body_that_is_nested_too_deeply_or_not_utf_8_is_a_bad_request(body: bytes) -> None:
    headers = {**BEARER, "Content-Type": "application/json", "Host": "localhost"}
    answer = _client.post("/api/accounts/acme/alerts/low/snooze", headers=headers, content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("body: ")


def test_metrics_name_no_account() -> None:
    text = client_of(filled()).get("/metrics").text
    assert "vitals_board_accounts 2.0" in text
    assert "acme" not in text


class Unavailable:
    """Inputs of a broker that is not available."""

    def find(self, *_: Any) -> SearchResult:
        msg = "the broker is not available"
        raise UnavailableError(msg)

    def close(self) -> None:
        pass


def test_without_the_broker_a_timeline_shows_the_items_of_the_state() -> None:
    timeline = client_of(filled(), inputs=Unavailable()).get("/api/accounts/acme/timeline").json()
    assert timeline["problem"] == "the broker is not available"
    assert {item["kind"] for item in timeline["items"]} == {"score", "alert"}

"""Authentication and request checks of a board."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from agents.board.web.auth import Access
from agents.board.web.pages import Pages
from agents.board.web.sessions import SESSION_S
from agents.cli.main import app
from agents.settings.settings import SettingsError
from tests.driving.boards import TOKEN, RecordingControls, alert, board_of, client_of, score, settings

BEARER = {"Authorization": f"Bearer {TOKEN}"}
SAME = {"Sec-Fetch-Site": "same-origin"}
ACKNOWLEDGE = "/api/accounts/a/alerts/low/acknowledge"
HTML = "<form>sign in<!--message--></form>"


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    (tmp_path / "index.html").write_text("<p>page", encoding="utf-8")
    (tmp_path / "sign-in.html").write_text(HTML, encoding="utf-8")
    (tmp_path / "app.js").write_text("1", encoding="utf-8")
    (tmp_path / "secret").mkdir()
    return Pages(tmp_path)


def guarded(pages: Pages | None = None, **options: Any) -> TestClient:
    return client_of(board_of(score("a", 30.0), alert("a")), pages=pages, **{"board_token": TOKEN, **options})


@pytest.mark.parametrize(
    "path", ["/api/summary", "/api/accounts", "/api/accounts/a", "/api/stream", "/openapi.json", "/metrics", "/nothing"]
)
def test_without_a_token_the_answer_is_401_and_has_no_data(path: str) -> None:
    answer = guarded().get(path)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"
    assert TOKEN not in answer.text


@pytest.mark.parametrize(
    "header", ["", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", "Bearer \u00e9"]
)
def test_a_wrong_token_is_401(header: str) -> None:
    assert guarded().get("/api/session", headers={b"Authorization": header.encode()}).status_code == 401


def test_a_bearer_token_signs_in() -> None:
    answer = guarded().get("/api/session", headers=BEARER)
    assert answer.json()["user"] == "token"
    assert answer.json()["auth"] == "token"


def test_health_and_files_are_open_and_pages_show_the_form(pages: Pages) -> None:
    client = guarded(pages)
    assert client.get("/healthz").status_code == 200
    assert client.get("/static/app.js").status_code == 200
    shown = client.get("/accounts/a/b")
    assert (shown.status_code, shown.text) == (401, "<form>sign in</form>")


def test_the_form_sets_a_cookie_that_scripts_cannot_read_and_that_expires(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = guarded(pages)
    fields = {"name": " Ann  Lee ", "token": TOKEN, "next": "/accounts/a?x=1"}
    answer = client.post("/sign-in", data=fields, headers=SAME)
    assert (answer.status_code, answer.headers["location"]) == (303, "/accounts/a?x=1")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    value = cookie.partition(";")[0]
    assert client.get("/api/session", headers={"Cookie": value}).json()["user"] == "Ann Lee"
    assert client.get("/accounts/a", headers={"Cookie": value}).text == "<p>page"
    forged = value[:-2] + ("A" if value[-2] != "A" else "B") + value[-1]
    assert client.get("/api/session", headers={"Cookie": forged}).status_code == 401
    assert guarded(pages).get("/api/session", headers={"Cookie": value}).status_code == 401, "another run of the board"
    until_s = time.monotonic() + SESSION_S + 1
    monkeypatch.setattr("agents.board.web.sessions.time.monotonic", lambda: until_s)
    assert client.get("/api/session", headers={"Cookie": value}).status_code == 401


@pytest.mark.parametrize(
    "value", ["", ".", "a.b.c", "\u00e9", "InVuIg.alxyz.c2ln"], ids=["empty", "dot", "parts", "not ascii", "signed"]
)
def test_a_cookie_that_this_board_did_not_give_is_401(pages: Pages, value: str) -> None:
    headers = {b"Cookie": f"vitals_board={value}".encode("latin-1")}
    assert guarded(pages).get("/api/session", headers=headers).status_code == 401


def test_a_wrong_token_in_the_form_is_rejected_and_sets_no_cookie(pages: Pages) -> None:
    answer = guarded(pages).post("/sign-in", data={"token": "wrong", "name": "<b>"}, headers=SAME)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "The token is wrong" in answer.text


def test_a_form_of_too_many_fields_is_refused(pages: Pages) -> None:
    answer = guarded(pages).post("/sign-in", data={f"field{number}": "x" for number in range(11)}, headers=SAME)
    assert answer.status_code == 400
    assert "at most 10 fields" in answer.json()["error"]["message"]


@pytest.mark.parametrize("elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example", "/\tx", ""])
def test_signing_in_does_not_redirect_to_another_site(pages: Pages, elsewhere: str) -> None:
    answer = guarded(pages).post("/sign-in", data={"token": TOKEN, "next": elsewhere}, headers=SAME)
    assert answer.headers["location"] == "/"


def test_signing_out_ends_the_session_and_no_other(pages: Pages) -> None:
    client = guarded(pages)
    signed_in = [client.post("/sign-in", data={"token": TOKEN}, headers=SAME) for _ in range(2)]
    ended, other = ({"Cookie": answer.headers["set-cookie"].partition(";")[0]} for answer in signed_in)
    client.cookies.clear()
    answer = client.post("/sign-out", headers={**SAME, **ended})
    assert answer.status_code == 303
    assert "Max-Age=0" in answer.headers["set-cookie"]
    client.cookies.clear()
    assert client.get("/api/session", headers=ended).status_code == 401
    assert client.get("/api/session", headers=other).status_code == 200


def behind_proxy(pages: Pages, peer: str = "10.0.0.7", **options: Any) -> TestClient:
    """A client whose requests come from an address; proxies in 10.0.0.0/8 are trusted, and people sign in by token."""
    chosen = {"board_token": TOKEN, "board_proxies": "10.0.0.0/8", **options}
    application = client_of(board_of(score("a", 30.0), alert("a")), pages=pages, **chosen).app
    return TestClient(application, client=(peer, 1), headers={"Host": "localhost"}, follow_redirects=False)


@pytest.mark.parametrize(
    ("peer", "proto", "is_secure"),
    [
        ("10.0.0.7", "https", True),
        ("10.0.0.7", "https, http", True),
        ("::ffff:10.0.0.7", "https", True),
        ("10.0.0.7", "http", False),
        ("192.168.0.1", "https", False),
    ],
)
def test_with_a_token_and_a_trusted_proxy_the_cookie_is_secure_if_the_proxy_reports_https(
    pages: Pages, peer: str, proto: str, is_secure: bool
) -> None:
    headers = {"X-Forwarded-Proto": proto, **SAME}
    answer = behind_proxy(pages, peer).post("/sign-in", data={"token": TOKEN}, headers=headers)
    assert ("Secure" in answer.headers["set-cookie"]) == is_secure


def test_the_origin_has_the_scheme_that_the_trusted_proxy_reports(pages: Pages) -> None:
    client = behind_proxy(pages)
    signed_in = client.post("/sign-in", data={"token": TOKEN}, headers={"X-Forwarded-Proto": "https", **SAME})
    cookie = {"Cookie": signed_in.headers["set-cookie"].partition(";")[0]}
    for proto, origin, status in (
        ("https", "https://localhost", 202),
        ("https", "http://localhost", 403),
        ("http", "https://localhost", 403),
        ("http", "http://localhost", 202),
    ):
        headers = {"X-Forwarded-Proto": proto, "Origin": origin, **cookie}
        assert client.post(ACKNOWLEDGE, headers=headers).status_code == status
    outside = behind_proxy(pages, "192.168.0.1").post(
        ACKNOWLEDGE, headers={"X-Forwarded-Proto": "https", "Origin": "https://localhost", **BEARER}
    )
    assert outside.status_code == 403
    assert "VITALS_BOARD_PROXIES" in outside.text


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "X-Real-IP", "x-forwarded-user"]
)
def test_a_board_without_sign_in_refuses_forwarded_requests(pages: Pages, header: str) -> None:
    client = client_of(board_of(score("a", 30.0)), pages=pages)
    for path in ("/", "/api/summary", "/static/app.js"):
        answer = client.get(path, headers={header: "x"})
        assert answer.status_code == 403
        assert "VITALS_BOARD_TOKEN" in answer.text
    assert client.get("/healthz", headers={header: "x"}).status_code == 200
    assert guarded(pages).get("/api/summary", headers={header: "x", **BEARER}).status_code == 200


def test_the_user_header_is_trusted_from_proxies_only() -> None:
    options: dict[str, Any] = {"board_user_header": "X-User", "board_proxies": "10.0.0.1, 192.168.0.0/16"}
    application = client_of(board_of(score("a", 30.0)), **options).app
    named = {"Host": "localhost", "X-User": "ann"}
    for address, status in {"10.0.0.1": 200, "192.168.7.7": 200, "10.0.0.2": 401, "127.0.0.1": 401}.items():
        client = TestClient(application, client=(address, 5))
        assert client.get("/api/session", headers=named).status_code == status
        assert client.get("/api/session", headers={"Host": "localhost"}).status_code == 401
    proxy = TestClient(application, client=("10.0.0.1", 5))
    assert proxy.get("/api/session", headers=named).json()["user"] == "ann"
    twice = [("Host", "localhost"), ("X-User", "ann"), ("X-User", "bob")]
    assert proxy.get("/api/session", headers=twice).status_code == 401


@pytest.mark.parametrize(
    ("host", "is_ours"),
    {
        "localhost": True,
        "localhost:6080": True,
        "127.0.0.1:6080": True,
        "[::1]:6080": True,
        "10.1.2.3": True,
        "board.example.com": True,
        "BOARD.example.com.:80": True,
        "evil.example": False,
        "localhost.evil.example": False,
        "": False,
        "a b": False,
        "board.example.com@evil.example": False,
    }.items(),
)
def test_only_known_host_names_are_answered(host: str, is_ours: bool) -> None:
    client = client_of(board_of(score("a", 30.0)), board_hosts="board.example.com")
    for path in ("/healthz", "/api/summary"):
        assert client.get(path, headers={"Host": host}).status_code == (200 if is_ours else 421)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 202),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "http://localhost"}, 202),
        ({"Origin": "http://localhost:81"}, 403),
        ({"Origin": "https://localhost"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "localhost"}, 403),
    ],
)
def test_a_request_that_changes_something_must_come_from_the_page(headers: dict[str, str], status: int) -> None:
    controls = RecordingControls()
    client = client_of(board_of(score("a", 30.0), alert("a")), controls)
    assert client.post(ACKNOWLEDGE, headers=headers).status_code == status
    assert len(controls.sent) == (status == 202)


def test_a_bearer_token_may_change_something_from_anywhere() -> None:
    assert guarded().post(ACKNOWLEDGE, headers=BEARER).status_code == 202


def test_a_body_needs_a_length_a_small_size_and_json() -> None:
    client = client_of(board_of(score("a", 30.0), alert("a")))
    assert client.post(ACKNOWLEDGE, headers=SAME, content=b"x" * 20_000).status_code == 413
    assert client.post(ACKNOWLEDGE, headers=SAME, content=iter([b"{}"])).status_code == 413
    assert client.post(ACKNOWLEDGE, headers=SAME, content=b"{}").status_code == 415


@pytest.mark.parametrize("path", ["/healthz", "/", "/api/nothing", "/static/app.js"])
def test_every_answer_has_the_security_headers(path: str, pages: Pages) -> None:
    answer = client_of(board_of(score("a", 30.0)), pages=pages).get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] in {"no-store", "no-cache"}


def test_files_have_a_type_and_an_etag_and_folders_are_not_listed(pages: Pages) -> None:
    client = client_of(board_of(score("a", 30.0)), pages=pages)
    answer = client.get("/static/app.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert client.get("/static/app.js", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    for path in ("/static/", "/static/secret", "/static/../app.py", "/static/%2e%2e/app.py", "/static/nothing.js"):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"board_host": "0.0.0.0"}, "VITALS_BOARD_TOKEN"),  # noqa: S104  the test is that it is refused
        ({"board_host": "::"}, "VITALS_BOARD_TOKEN"),
        ({"board_host": "board.example.com"}, "VITALS_BOARD_TOKEN"),
        ({"board_token": "short"}, "16 characters"),
        ({"board_token": "a" * 15 + "b"}, "different characters"),
        ({"board_token": f" {TOKEN}"}, "white space"),
        ({"board_token": ""}, "is empty"),
        ({"board_token": "", "board_host": "0.0.0.0"}, "is empty"),  # noqa: S104  as above
        ({"board_user_header": "X-User"}, "board_proxies"),
        ({"board_proxies": "10.0.0.1"}, "board_token"),
        ({"board_proxies": "0.0.0.0/0", "board_token": TOKEN}, r"0\.0\.0\.0/0 holds strangers"),
        ({"board_proxies": "10.0.0.1, ::/0", "board_token": TOKEN}, "::/0 holds strangers"),
        ({"board_proxies": "0.0.0.0/1,128.0.0.0/1", "board_user_header": "X-User"}, "128.*holds strangers"),
    ],
)
def test_a_board_that_everybody_could_read_is_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Access.of(settings(**options))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_a_loopback_address_needs_no_token(host: str) -> None:
    assert Access.of(settings(board_host=host)).mode == "none"


def test_a_proxy_that_is_not_an_address_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"board_proxies.*'nonsense'"):
        settings(board_proxies="nonsense", board_user_header="X-User")


def test_the_command_ends_with_2_and_names_the_setting(tmp_path: Path) -> None:
    recording = tmp_path / "r.jsonl"
    recording.write_text("", encoding="utf-8")
    done = CliRunner().invoke(app, ["board", "--from", str(recording), "--host", "0.0.0.0"])  # noqa: S104  see above
    assert done.exit_code == 2
    assert "VITALS_BOARD_TOKEN" in done.output

"""Paths: every id has one, and an unknown path has a page for people and an error for programs."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.driving.boards import TOKEN, alert, board_of, client_of, score

SAME = {"Sec-Fetch-Site": "same-origin"}
NESTED = "a/b?c#d%2F e"


@pytest.mark.parametrize("account", [".", "..", "=..", "a/..", "%2E%2E", "\\", "?", "#", " "])
def test_every_id_has_a_path(account: str) -> None:
    client = client_of(board_of(score(account, 50.0), alert(account)))
    segment = f"={account}" if account in {".", ".."} else quote(account, safe="")
    answer = client.get(f"/api/accounts/{segment}")
    assert answer.json()["account"]["account_id"] == account
    assert client.get(f"/api/accounts/{segment}/diff").json()["account_id"] == account
    sent = client.post(f"/api/accounts/{segment}/alerts/low/acknowledge", headers=SAME)
    assert sent.status_code == 202


@pytest.mark.parametrize("path", ["/nope", "/accounts/a/b", "/alerts/x", "/accounts/a/"])
def test_an_unknown_path_is_a_page_for_people_and_an_error_for_programs(path: str) -> None:
    client = client_of(board_of(score(NESTED, 40.0)))
    page = client.get(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.headers["content-type"].startswith("text/html")
    if path == "/accounts/a/":
        assert page.status_code == 200
        return
    assert page.status_code == 404
    assert "This page does not exist." in page.text
    assert "<script" not in page.text
    error = client.get(path, headers={"Accept": "*/*"})
    assert (error.status_code, error.json()["error"]["code"]) == (404, "not_found")
    missing = client.get("/api/nope", headers={"Accept": "text/html"})
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")


def test_a_path_of_an_account_with_a_slash_is_its_page() -> None:
    assert (
        "app.js"
        in client_of(board_of(score(NESTED, 40.0)))
        .get(f"/accounts/{quote(NESTED, safe='')}", headers={"Accept": "text/html"})
        .text
    )


def test_somebody_without_a_session_sees_the_form_on_any_path() -> None:
    client = client_of(board_of(score(NESTED, 40.0)), board_token=TOKEN, board_hosts="localhost")
    seen = client.get("/nope", headers={"Accept": "text/html"})
    assert (seen.status_code, "<form" in seen.text) == (401, True)
    assert client.get("/nope", headers={"Accept": "*/*"}).json()["error"]["code"] == "unauthorized"

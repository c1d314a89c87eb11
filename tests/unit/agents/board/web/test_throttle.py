"""Wrong tokens: how many are compared, from one client and from all, what is logged, and who can still sign in."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from agents.board.web.throttle import MOST_CLIENTS, OF_ALL_CLIENTS, OF_ONE_CLIENT, Throttle, ThrottledError
from tests.driving.boards import TOKEN, board_of, client_of, score

AT_ONCE, REFILL_S = OF_ONE_CLIENT
ALL_AT_ONCE, _ = OF_ALL_CLIENTS
RIGHT = {"Authorization": f"Bearer {TOKEN}"}


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def attempts(throttle: Throttle, count: int, *addresses: str) -> int:
    """How many of so many wrong tokens of each address are compared."""
    compared = 0
    for _ in range(count):
        for address in addresses:
            try:
                throttle.check(address)
            except ThrottledError:
                continue
            throttle.refused(address)
            compared += 1
    return compared


def test_one_client_tries_ten_tokens_at_once_then_one_each_six_seconds() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    assert attempts(throttle, 3_000, "10.0.0.1") == AT_ONCE
    clock.now_s += REFILL_S
    assert attempts(throttle, 3_000, "10.0.0.1") == 1
    with pytest.raises(ThrottledError, match="try again in 6 seconds"):
        throttle.check("10.0.0.1")
    clock.now_s += 100 * REFILL_S
    assert attempts(throttle, 3_000, "10.0.0.1") == AT_ONCE


def test_the_addresses_of_an_ipv6_network_are_one_client() -> None:
    assert attempts(Throttle(Clock()), 1, *(f"2001:db8::{number:x}" for number in range(100))) == AT_ONCE
    assert attempts(Throttle(Clock()), 20, "10.0.0.1", "::ffff:10.0.0.1") == AT_ONCE


def test_many_clients_together_have_a_limit_that_does_not_stop_those_who_had_the_token() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    throttle.accepted("10.9.9.9")
    strangers = [f"10.0.{number // 250}.{number % 250}" for number in range(500)]
    assert attempts(throttle, 1, *strangers) == ALL_AT_ONCE
    with pytest.raises(ThrottledError):
        throttle.check("10.1.0.1")
    throttle.check("10.9.9.9")


def test_the_right_token_forgets_the_wrong_ones_of_its_client() -> None:
    throttle = Throttle(Clock())
    attempts(throttle, AT_ONCE - 1, "10.0.0.1")
    throttle.accepted("10.0.0.1")
    assert attempts(throttle, AT_ONCE, "10.0.0.1") == AT_ONCE


def test_memory_is_bounded() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for number in range(MOST_CLIENTS + 50):
        clock.now_s += 10
        attempts(throttle, 1, f"{number >> 8}.0.0.{number & 255}")
        throttle.accepted(f"{number >> 8}.1.0.{number & 255}")
    assert len(throttle._clients) == len(throttle._accepted) == MOST_CLIENTS


def try_form(client: TestClient, token: str) -> Any:
    return client.post("/sign-in", data={"token": token}, headers={"Sec-Fetch-Site": "same-origin"})


@pytest.mark.parametrize("how", ["form", "bearer"])
def test_wrong_tokens_are_logged_without_the_token_and_then_not_compared(how: str) -> None:
    client = client_of(board_of(score("a", 30.0)), board_token=TOKEN)
    with capture_logs() as lines:
        statuses = [
            (
                try_form(client, f"wrong-{number}")
                if how == "form"
                else client.get("/api/session", headers={"Authorization": f"Bearer wrong-{number}"})
            ).status_code
            for number in range(50)
        ]
    assert statuses == [401] * AT_ONCE + [429] * (50 - AT_ONCE)
    assert [line["event"] for line in lines].count("sign_in_refused") == AT_ONCE
    assert [line["event"] for line in lines].count("sign_ins_throttled") == 1
    assert "wrong-" not in str(lines)
    answer = try_form(client, TOKEN) if how == "form" else client.get("/api/session", headers=RIGHT)
    assert answer.status_code == 429, "the right token must not be found while guesses are throttled"
    assert 1 <= int(answer.headers["retry-after"]) <= REFILL_S


def test_people_who_are_signed_in_stay_so_while_their_address_is_throttled() -> None:
    client = client_of(board_of(score("a", 30.0)), board_token=TOKEN)
    cookie = {"Cookie": try_form(client, TOKEN).headers["set-cookie"].partition(";")[0]}
    client.cookies.clear()
    assert [try_form(client, "x").status_code for _ in range(20)][-1] == 429
    assert client.get("/api/session", headers=cookie).status_code == 200
    metrics = client.get("/metrics", headers=cookie).text
    assert 'vitals_board_sign_ins_total{outcome="accepted"} 1.0' in metrics
    assert f'vitals_board_sign_ins_total{{outcome="refused"}} {float(AT_ONCE)}' in metrics
    assert f'vitals_board_sign_ins_total{{outcome="throttled"}} {20.0 - AT_ONCE}' in metrics


def test_clients_behind_a_trusted_proxy_are_limited_one_by_one_and_cannot_choose_their_address() -> None:
    options: dict[str, Any] = {"board_token": TOKEN, "board_proxies": "10.0.0.0/8"}
    application = client_of(board_of(score("a", 30.0)), **options).app

    def tried(client: TestClient, forwarded: str) -> int:
        headers = {"Host": "localhost", "Authorization": "Bearer x", "X-Forwarded-For": forwarded}
        return client.get("/api/session", headers=headers).status_code

    proxy = TestClient(application, client=("10.0.0.7", 1))
    assert [tried(proxy, f"1.2.3.{number}, 203.0.113.5, 10.1.1.1") for number in range(20)].count(429) == 10
    assert tried(proxy, "203.0.113.6") == 401
    stranger = TestClient(application, client=("203.0.113.7", 1))
    assert [tried(stranger, f"1.2.3.{number}") for number in range(20)].count(429) == 10

"""Policy changes, statistics and window lengths, forward and back: every value is the oracle's, or named with a date.

The oracle reads the whole log under the policy of the moment. A value that differs must carry `history_since`, the date
must be one that a person can wait for, and the name must go when the window is full.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from stream.columns.panes import UNIT_MS
from stream.engine.engine import Engine, Mode
from stream.recovery import changelog
from tests.driving.engine import CLOSE, Drive, plan_of
from tests.driving.scores import Message, messages_of
from tests.oracle.engine import Record, final_scores_all
from tests.strategies.effort import PROFILE
from tests.strategies.policies import DAY_MS, HOUR_MS, NOW_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

SPAN_DAYS = 170
START_MS = NOW_MS // DAY_MS * DAY_MS - SPAN_DAYS * DAY_MS
EVERY_MS = 17 * HOUR_MS
ACCOUNTS = ("a", "b", "c")
LINE = "normalise = { kind = 'linear', zero_at = 0, hundred_at = 100 }"
BASE = '[measures.other]\nsource = "controls"\nstat = "count"\nwindow = "{longest}"\nweight = 1\n'
HOLD = 'missing = "hold"\nstale_after = "{twice}"'

STATISTICS = {
    "count": 'source = "product-usage"\nstat = "count"',
    "count of a field": 'source = "product-usage"\nstat = "count"\nfield = "count"',
    "count with a filter": 'source = "product-usage"\nstat = "count"\nwhere = { action = ["export"] }',
    "rate": 'source = "product-usage"\nstat = "rate"\nper = "week"',
    "sum": 'source = "product-usage"\nstat = "sum"\nfield = "duration_s"',
    "weighted_count": (
        'source = "support-tickets"\nstat = "weighted_count"\nweights = { priority = { urgent = 4, normal = 1 } }\n'
        'where = { status = ["opened"] }'
    ),
    "tickets": 'source = "support-tickets"\nstat = "count"\nwhere = { status = ["opened"] }',
    "share": 'source = "support-tickets"\nstat = "share"\nof = { priority = ["urgent"] }',
    "mean": 'source = "surveys"\nstat = "mean"\nfield = "score"',
    "min": 'source = "surveys"\nstat = "min"\nfield = "score"',
    "max": 'source = "billing"\nstat = "max"\nfield = "days_late"',
    "last": 'source = "surveys"\nstat = "last"\nfield = "score"',
    "days_since_last": 'source = "engagement"\nstat = "days_since_last"',
    "distinct_users": 'source = "product-usage"\nstat = "distinct_users"',
    "distinct_features": 'source = "product-usage"\nstat = "distinct_features"',
    "distinct_roles": 'source = "engagement"\nstat = "distinct_roles"',
    "distinct": 'source = "billing"\nstat = "distinct"\nfield = "kind"',
    "nps": 'source = "surveys"\nstat = "nps"\nfield = "score"\nwhere = { kind = ["nps"] }',
    "active": 'source = "product-usage"\nstat = "active"',
    "active_share": 'source = "billing"\nstat = "active_share"',
    "streak": 'source = "product-usage"\nstat = "streak"\nwhere = { user_id = { not = ["ann"] } }',
    "percentile": 'source = "billing"\nstat = "percentile"\nfield = "days_late"\npercent = 90',
    "conditions": (
        'source = "surveys"\nstat = "share"\nof = { score = { from = 4 } }\nwhere = { kind = { not = ["ces"] } }'
    ),
    "compared with the window before": 'source = "product-usage"\nstat = "count"\ncompare = "previous"',
    "percentile in its own history": (
        'source = "product-usage"\nstat = "count"\ncompare = "percentile"\nhistory = "{twice}"'
    ),
    "deviation from its own history": (
        'source = "product-usage"\nstat = "sum"\nfield = "duration_s"\ncompare = "z"\nhistory = "{twice}"'
    ),
    "mean that is held": f'source = "surveys"\nstat = "mean"\nfield = "score"\n{HOLD}',
    "last that is held": f'source = "surveys"\nstat = "last"\nfield = "score"\n{HOLD}',
    "quotient": 'value = "i / j"',
    "quotient compared with the window before": 'value = "i / j"\ncompare = "previous"',
    "profile": 'source = "accounts"\nstat = "days_since"\nfield = "started_at"',
}
NONE = "-"
CHANGES = {
    "longer": ("10d", "20d"),
    "shorter": ("20d", "10d"),
    "longer and back": ("10d", "20d", "10d"),
    "shorter and back": ("20d", "10d", "20d"),
    "three times longer": ("5d", "15d", "25d"),
    "shorter, then longest": ("20d", "5d", "25d"),
    "new": (NONE, "15d"),
    "removed and back": ("15d", NONE, "15d"),
    "hours longer": ("8h", "24h"),
    "hours shorter and back": ("24h", "12h", "24h"),
    "hours to days": ("24h", "10d"),
    "days to hours and back": ("10d", "24h", "10d"),
}


def policy_of(statistic: str, window: str) -> str:
    base = BASE.format(longest="1d") + LINE + "\n"
    measure = ""
    if window != NONE:
        twice = f"{2 * int(window[:-1])}{window[-1]}"
        text = STATISTICS[statistic].replace("{twice}", twice)
        span = "" if statistic == "profile" or text.startswith("value") else f'window = "{window}"\n'
        measure = f"[measures.m]\n{text}\n{span}{LINE}\nweight = 3\n"
        if text.startswith("value"):
            inputs = {"i": "count with a filter", "j": "count"}
            tables = [f'[measures.{name}]\n{STATISTICS[each]}\nwindow = "{window}"\n' for name, each in inputs.items()]
            measure += "".join(tables)
    return f'name = "p"\n{base}{measure}[scores.health]\nmin_change = 0\nbands = [{{ name = "all", from = 0 }}]\n'


def log_of_events() -> list[Record]:
    """Events of every source, now and then one that comes days late; accounts that are silent for a while."""
    records: list[Record] = []
    offsets: dict[str, int] = {}

    def add(source: str, account: str, time_ms: int, arrives_ms: int, **fields: Any) -> None:
        offset = offsets[source] = offsets.get(source, -1) + 1
        event = {"id": f"{source}{offset}", "account_id": account, "time": time_ms, **fields}
        records.append(Record(source, 0, offset, arrives_ms, account.encode(), json.dumps(event).encode()))

    for number, account in enumerate(ACCOUNTS):
        add("accounts", account, START_MS, START_MS, started_at=START_MS - number * DAY_MS)
    for step in range(SPAN_DAYS * DAY_MS // EVERY_MS):
        now_ms = START_MS + step * EVERY_MS
        number = step % 3
        account, age = ACCOUNTS[number], (step * 7 % 29) * DAY_MS if step % 5 == 0 else 0
        if account == "c" and 60 < step < 120:
            account = "a"
        time_ms = max(now_ms - age, START_MS)
        add(
            "product-usage",
            account,
            time_ms,
            now_ms,
            user_id=f"u{step % 37}",
            feature=f"f{step % 23}",
            action=("export", "view")[step % 2],
            count=1 + step % 4,
            duration_s=(step * 13 % 50) / 4,
        )
        if step % 7 == 0:
            add("surveys", account, time_ms, now_ms, kind="nps", score=step % 11)
        if step % 4 == 0:
            priority = ("urgent", "normal")[step // 4 % 2]
            add("support-tickets", account, time_ms, now_ms, ticket_id=f"t{step}", status="opened", priority=priority)
        if step % 6 == 0:
            add("billing", account, time_ms, now_ms, kind="invoice_overdue", days_late=step % 17)
        if step % 9 == 0:
            add("engagement", account, time_ms, now_ms, kind="meeting", role=("buyer", "user", "boss")[step % 7 % 3])
        if step % 13 == 0:
            add("controls", account, now_ms, now_ms, kind="pulse", value=50)
    return sorted(records, key=lambda record: record.timestamp_ms)


LOG = log_of_events()


def days(first: int, last: int) -> list[Record]:
    """The records that arrive on these days of the log, the last one excluded."""
    return [record for record in LOG if first <= (record.timestamp_ms - START_MS) // DAY_MS < last]


def restored(drive: Drive, policy_text: str) -> Drive:
    """The next engine, from the changelog of a worker that ends."""
    drive.save()
    engine = Engine(plan_of(policy_text))
    changelog.restore(engine, drive.topic)
    return Drive(engine, topic=drive.topic, mode=drive.mode)


def factors_of(messages: dict[str, Message]) -> dict[str, Any]:
    return {
        account: next((factor for factor in message["scores"]["health"]["factors"] if factor["measure"] == "m"), None)
        for account, message in messages.items()
    }


def assert_right_or_named(engine: Engine, policy_text: str, taken: Sequence[Record], *, full: bool) -> int:
    """Compare every account with the oracle over all records; returns how many values are wrong and named."""
    wrong = 0
    expected = final_scores_all(taken, policy_text, NOW_MS)
    for account, factor in factors_of(messages_of(engine)).items():
        right = {name: value for name, value, *_ in expected[account].scores["health"].factors}.get("m")
        if factor is None:
            assert right is None
            continue
        value, since = factor["value"], factor.get("history_since")
        same = (value is None) == (right is None) and (
            value is None or (right is not None and abs(value - right) <= CLOSE * max(1, abs(right)))
        )
        assert same or since is not None, (account, value, right)
        assert not (full and since is not None), (account, since)
        if since is not None:
            assert engine.as_of is not None
            assert since <= (engine.as_of // UNIT_MS["day"] + 1) * UNIT_MS["day"]
        wrong += not same
    return wrong


def walked(statistic: str, windows: Sequence[str]) -> int:
    """Change the policy from window to window; returns how many values were wrong and named.

    The engine is asked for its values, so it need not publish after every event.
    """
    policies = [policy_of(statistic, window) for window in windows]
    drive, day = Drive(Engine(plan_of(policies[0])), mode=Mode.CONFLATED), 40
    taken = days(0, day)
    drive.take(taken)
    wrong = assert_right_or_named(drive.engine, policies[0], taken, full=True)
    for (before, after), text in zip(pairwise(windows), policies[1:], strict=True):
        drive = restored(drive, text)
        shorter = NONE not in (before, after) and before[-1] == after[-1] and int(before[:-1]) >= int(after[:-1])
        wrong += assert_right_or_named(drive.engine, text, taken, full=shorter and len(windows) == 2)
        for more in (1, 6):
            new = days(day, day + more)
            drive.take(new)
            taken, day = taken + new, day + more
            drive = restored(drive, text)
            wrong += assert_right_or_named(drive.engine, text, taken, full=False)
    new = days(day, day + 111)  # three times the longest window, a day, and the 35 days that an account can be silent
    drive.take(new)
    assert_right_or_named(drive.engine, policies[-1], taken + new, full=True)
    assert not drive.engine.history.since
    return wrong


PAIRS = [
    (statistic, change)
    for row, statistic in enumerate(STATISTICS)
    for column, change in enumerate(CHANGES)
    if PROFILE == "search" or (row + column) % 2 == 0
]
"""Every statistic with every change in `make search`; each with half of the changes in `make test`."""


@pytest.mark.parametrize(("statistic", "change"), PAIRS)
def test_a_value_is_the_oracles_or_named_with_a_date(statistic: str, change: str) -> None:
    windows = CHANGES[change]
    if statistic in {"days_since_last", "active", "active_share", "streak"}:  # their windows are days
        windows = tuple(window.replace("h", "d") for window in windows)
    walked(statistic, windows)


@pytest.mark.parametrize(
    ("statistic", "change"),
    [
        ("count", "longer"),
        ("count", "shorter and back"),
        ("compared with the window before", "longer"),
        ("compared with the window before", "removed and back"),
        ("quotient", "removed and back"),
        ("quotient compared with the window before", "longer"),
        ("distinct_users", "new"),
        ("distinct_users", "shorter and back"),
        ("days_since_last", "new"),
        ("last", "removed and back"),
        ("percentile", "new"),
        ("active", "new"),
    ],
)
def test_it_would_be_wrong_without_the_name(statistic: str, change: str) -> None:
    assert walked(statistic, CHANGES[change]) > 0


def test_percentiles_among_peers_are_right_or_named() -> None:
    """Against an engine that has read everything by the new policy, as peers are made of all accounts' values."""
    old, new = (
        policy_of("count", window).replace("weight = 3", 'compare = "peers"\nleast_peers = 1\nweight = 3')
        for window in ("5d", "20d")
    )
    drive, scratch = Drive(Engine(plan_of(old))), Drive(Engine(plan_of(new)))
    drive.take(days(0, 40))
    scratch.take(days(0, 40))
    drive, named, differed = restored(drive, new), 0, 0
    for day in range(40, 70):
        for each in (drive, scratch):
            each.take(days(day, day + 1))
        right = factors_of(messages_of(scratch.engine))
        for account, factor in factors_of(messages_of(drive.engine)).items():
            assert factor["value"] == right[account]["value"] or "history_since" in factor, (day, account)
            named += "history_since" in factor
            differed += factor["value"] != right[account]["value"]
    assert named
    assert differed
    assert not drive.engine.history.incomplete


def test_a_crash_in_the_first_commit_of_a_policy_and_back_is_named() -> None:
    """Half of the rows, and all pages, were written by the policy in between: the state knows nothing of it."""
    old, between = policy_of("distinct_users", "20d"), policy_of("distinct_users", "5d")
    drive, taken = Drive(Engine(plan_of(old))), days(0, 40)
    drive.take(taken)
    drive.save()
    engine = Engine(plan_of(between))
    changelog.restore(engine, drive.topic)
    crashed = Drive(engine)
    crashed.take(days(40, 41))
    crashed.flush()
    for key, value in changelog.snapshot(engine):
        if key[:1] in (b"l", b"h", b"p") or key == b"ra":
            drive.topic.pop(key, None) if value is None else drive.topic.__setitem__(key, value)
    again = Engine(plan_of(old))
    assert changelog.restore(again, drive.topic).keys() == {"m"}
    replayed = Drive(again, topic=drive.topic)
    replayed.take(days(40, 41))
    assert_right_or_named(replayed.engine, old, taken + days(40, 41), full=False)

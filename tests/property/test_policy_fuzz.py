"""Policies that are changed at random are rejected with messages, or they are valid and give scores.

Owns the ways in which a valid policy is changed: values, keys and whole tables are replaced, removed, renamed, or
copied from another policy. Other tests check the meaning of policies; here scores only have to be consistent.
"""

from __future__ import annotations

import copy
import json
import math
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import event as seen
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.files.replay import replay_files
from schemas.outputs import Alert, ScoreChange, ScoreMessage
from stream.engine.engine import Engine
from stream.plan.plan import Plan, compile_plan
from stream.policy.policy import Policy, PolicyError, Problem, parse_policy
from stream.recovery import changelog
from tests.driving.engine import open_episodes
from tests.pages.blocks import POLICY_PAGES, blocks, policy_files
from tests.strategies.effort import examples

ROOT = Path(__file__).parents[2]
START_MS = 1_774_612_800_000  # 2026-03-27T12:00:00Z
HOUR_MS = 3_600_000


def texts() -> list[str]:
    folders = ("deploy/policies", "tests/unit/stream/policy/policies")
    files = [file for folder in folders for file in policy_files(ROOT / folder)]
    assert {file.parent for file in files} == {ROOT / folder for folder in folders}
    return [
        *(file.read_text(encoding="utf-8") for file in sorted(files)),
        *blocks("toml", *POLICY_PAGES),
    ]


VALID = [tomllib.loads(text) for text in texts()]
Path_ = tuple[str | int, ...]


def paths(value: Any, path: Path_ = ()) -> list[Path_]:
    """The paths of all values of a document: every key of every table, every index of every list."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [inner for key, item in items for inner in ((*path, key), *paths(item, (*path, key)))]


def value_at(document: Any, path: Path_) -> Any:
    for key in path:
        document = document[key]
    return document


VALUES = [value_at(document, path) for document in VALID for path in paths(document)]
KEYS = sorted({key for document in VALID for path in paths(document) for key in path if isinstance(key, str)})
ODD_KEYS = ["", "a.b", "a/b", "health/logins", "base", "redistribution", "ä", '"', "\\", "%s", "\x1f", "\U0001f600"]
NUMBERS = [0, -1, 0.5, 1e308, -1e308, 1e12, 1e-320, math.nan, math.inf, 10**400, 100, 101, True]
KINDS: dict[str, dict[str, Any]] = {
    "below": {"below": 50},
    "band": {},
    "left": {},
    "drop": {"drop": 1, "within": "6h"},
    "measure": {"points_below": 60},
    "forecast": {"within": "30d"},
    "silent": {"silent": "surveys", "within": "1d"},
}
SETTINGS = {"for": "2h", "cooldown": "1d", "max_per_day": 1, "severity": "info", "owner": "csm", "actions": ["call"]}
ANY_KEY = st.sampled_from(KEYS) | st.sampled_from(ODD_KEYS)
ANY_VALUE = (
    st.sampled_from(VALUES)
    | st.sampled_from(NUMBERS)
    | st.sampled_from(["", " ", "hold", "z", "1h", "72h", "1d", "365d", "accounts", "days_until", "arr", "additive"])
    | st.sampled_from(["1m", "60m", "critical", "poor", "healthy", "surveys", "storm", {"below": 50}, {"left": "poor"}])
    | ANY_KEY
    | st.sampled_from([[], {}, [[]], [{}], {"": {}}])
)


def written(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, date):
        return value.isoformat()
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def like(key: str | int, value: Any) -> st.SearchStrategy[Any]:
    """A value that some policy has in the same key, or any number for a number: the policy often stays valid."""
    if isinstance(value, int | float):
        return st.sampled_from(NUMBERS) | st.floats() | st.integers(-10, 1000)
    known = [value_at(document, path) for document in VALID for path in paths(document) if path[-1] == key]
    return st.sampled_from(known) if known else ANY_VALUE


@st.composite
def grafted(draw: st.DrawFn) -> dict[str, Any]:
    """A valid policy, sometimes with alert rules about its bands and measures, storms, and sources that can stall."""
    document: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(VALID)))
    if draw(st.booleans()):
        return document
    score = draw(st.sampled_from(sorted(document["scores"])))
    bands = [band["name"] for band in document["scores"][score]["bands"]]
    for number, kind in enumerate(draw(st.lists(st.sampled_from(sorted(KINDS)), max_size=4))):
        when = dict(KINDS[kind])
        if kind in {"band", "left", "forecast"}:
            when[kind] = draw(st.sampled_from(bands))
        elif kind == "measure":
            when[kind] = draw(st.sampled_from(sorted(document["measures"])))
        keys = draw(st.lists(st.sampled_from(sorted(SETTINGS)), unique=True, max_size=3))
        rule = {"score": score, "when": when, **{key: copy.deepcopy(SETTINGS[key]) for key in keys}}
        document.setdefault("alerts", {})[f"r{number}"] = rule
    if draw(st.booleans()):
        document["storms"] = {"share": 0.5, "least": draw(st.integers(1, 2)), "within": "10m"}
    for source in draw(st.lists(st.sampled_from(["product-usage", "surveys", "billing", "signals"]), unique=True)):
        document.setdefault("sources", {})[source] = {"stall_after": draw(st.sampled_from(["1h", "6h", "2d"]))}
    return document


@st.composite
def broken(draw: st.DrawFn) -> str:
    document = draw(grafted())
    for _ in range(draw(st.integers(0, 3))):
        all_paths = paths(document)
        if not all_paths:
            break
        path = draw(st.sampled_from(all_paths))
        parent, key = value_at(document, path[:-1]), path[-1]
        what = draw(st.sampled_from(("like", "like", "like", "replace", "remove", "rename", "add")))
        if what == "like":
            parent[key] = copy.deepcopy(draw(like(key, parent[key])))
        elif what == "replace":
            parent[key] = copy.deepcopy(draw(ANY_VALUE))
        elif what == "remove":
            del parent[key]
        elif isinstance(parent, dict):
            value = parent.pop(key) if what == "rename" else copy.deepcopy(draw(ANY_VALUE))
            parent[draw(ANY_KEY)] = value
    return "\n".join(f"{json.dumps(key)} = {written(value)}" for key, value in document.items())


def event(number: int, topic: str, account: str = "a", **fields: object) -> str:
    time_ms = START_MS + number * 2 * HOUR_MS
    return json.dumps({"id": f"e{number}", "account_id": account, "time": time_ms, "topic": topic, **fields})


EVENTS = [
    event(0, "accounts", tier="enterprise", arr=250_000, started_at=START_MS - 30 * 24 * HOUR_MS, name="A"),
    event(1, "product-usage", user_id="u1", feature="f", action="login", count=3),
    event(2, "support-tickets", ticket_id="t", status="opened", priority="urgent", first_response_s=60),
    event(3, "surveys", kind="nps", score=9, user_id="u1"),
    event(4, "billing", kind="payment_failed", amount=-5e11, days_late=1e12, currency="EUR"),
    event(5, "engagement", kind="referral", user_id="u2", role="champion"),
    event(6, "controls", kind="pulse", value=80, by="ann"),
    event(7, "signals", name="rating", value=1e12),
    event(8, "product-usage", account="b", user_id="u1", count=1e12),
    event(9, "controls", kind="acknowledge", rule="low", by="ann"),
    event(10, "controls", account="b", kind="snooze", rule="quiet", until=START_MS + 48 * HOUR_MS),
    event(20, "billing", account="b", kind="invoice_paid", amount=1e12),
    event(100, "engagement", kind="meeting"),
]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("fuzz") / "log.jsonl"
    file.write_text("\n".join(EVENTS), encoding="utf-8")
    return file


def close(left: float, right: float, terms: list[float]) -> bool:
    return abs(left - right) <= 1e-9 * (1 + max(map(abs, terms), default=0.0))


def check_scores(log: Path, plan: Plan) -> None:
    """Score some events: scores are finite, contributions and deltas add up, state can be saved and restored."""
    replay = replay_files([log], plan)
    assert not replay.bad
    messages = [msgspec.json.decode(sent.value, type=ScoreMessage) for sent in replay.engine.current().scores]
    assert {message.account_id for message in messages} == {"a", "b"}
    for message in messages:
        assert list(message.scores) == [score.name for score in plan.policy.scores]
        for score, published in zip(plan.policy.scores, message.scores.values(), strict=True):
            contributions = [factor.contribution for factor in published.factors]
            if published.value is None:
                assert published.band is None
                assert not any(contributions)
                continue
            assert math.isfinite(published.value)
            assert close(sum(contributions), published.value, contributions)
            assert published.band in {band.name for band in score.bands}
            assert len({factor.measure for factor in published.factors}) == len(published.factors)
    for change in (msgspec.json.decode(value.value, type=ScoreChange) for value in replay.changes):
        deltas = [factor.delta for factor in change.factors]
        assert close(sum(deltas), change.to - change.from_, [*deltas, change.to, change.from_])
    check_alerts([msgspec.json.decode(value.value, type=Alert) for value in replay.alerts], plan)
    records = changelog.snapshot(replay.engine)
    assert len([key for key, _ in records if key.startswith(b"r")]) == len(messages)
    again = Engine(plan)
    changelog.restore(again, {key: value for key, value in records if value is not None})
    assert open_episodes(again) == open_episodes(replay.engine)
    assert again.accounts.acknowledgements == replay.engine.accounts.acknowledgements


def check_alerts(alerts: list[Alert], plan: Plan) -> None:
    """Alerts belong to rules of the policy, ids are unique, and only alerts that fired are resolved."""
    rules = {rule_plan.name: rule_plan.rule.severity for rule_plan in plan.rules}
    rules |= {"storm": "critical"} | {f"stalled:{stall.source}": "critical" for stall in plan.policy.idle_sources}
    assert len({alert.id for alert in alerts}) == len(alerts)
    open_now: dict[str, int] = {}
    for alert in alerts:
        assert alert.severity == rules[alert.rule]
        assert alert.summary.isprintable()
        if alert.status == "firing":
            assert open_now.setdefault(alert.fingerprint, alert.starts_at) == alert.starts_at
        else:
            assert open_now.pop(alert.fingerprint) == alert.starts_at
            assert alert.ends_at is not None
            assert alert.ends_at >= alert.starts_at


def read(text: str) -> tuple[Policy | None, tuple[Problem, ...]]:
    try:
        return parse_policy(text), ()
    except PolicyError as error:
        return None, error.problems


@given(text=broken())
@example(text=texts()[0])
@settings(max_examples=examples(150))
def test_a_changed_policy_is_rejected_with_messages_or_gives_scores(log: Path, text: str) -> None:
    policy, problems = read(text)
    seen("valid" if policy else "refused")
    if policy is not None:
        check_scores(log, compile_plan(policy))
    else:
        assert problems
        assert all(problem.key and problem.message for problem in problems)


@pytest.mark.parametrize("text", texts())
def test_every_policy_of_the_project_gives_scores(log: Path, text: str) -> None:
    check_scores(log, compile_plan(parse_policy(text)))

"""A profile counts from its own time on: at every window boundary before it, the account is without it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agents.files.replay import replay_files
from schemas.outputs import ScoreMessage
from stream.engine.engine import Mode
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy
from tests.driving.merging import Cluster
from tests.driving.scores import messages_of

if TYPE_CHECKING:
    from pathlib import Path

    from agents.files.replay import Replay

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
FIRST_MS = 20_000 * DAY_MS

SCORE = """
[scores.health]
min_change = 1
bands = [{ name = "fine", from = 50 }, { name = "poor", from = 0 }]
"""
USAGE = """
[measures.usage]
source = "product-usage"
stat = "count"
window = "7d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 1
"""
SEGMENT = '[segments.big]\nwhen = { tier = ["enterprise"] }\n'
PEERS = (
    'name = "p"\n[status]\ndormant_after = "365d"\n'
    + USAGE.replace("= 10", "= 100")
    + 'compare = "peers"\nleast_peers = 1\nmissing = 50\n'
    + SEGMENT
    + SCORE
)
# Two points are poor, and fine in the segment. A band is due for two days before it is shown.
HELD = (
    'name = "p"\n[status]\ndormant_after = "365d"\n'
    + USAGE
    + SEGMENT
    + SCORE.replace("bands", 'dwell = "2d"\nbands')
    + ("[scores.health.segments.big]\nbands = { fine = 10 }\n")
)
RELABEL = (
    'name = "p"\n[status]\ndormant_after = "365d"\n'
    + USAGE
    + SEGMENT
    + SCORE
    + "[scores.health.segments.big]\nbands = { fine = 10 }\n"
)


def replayed(folder: Path, policy: str, records: list[tuple[str, str, float]], as_of: float, mode: Mode) -> Replay:
    """Replay records of (topic, account, days after the first) in one file."""
    lines = [
        json.dumps(
            {
                "topic": topic,
                "id": str(number),
                "account_id": account,
                "time": FIRST_MS + round(days * DAY_MS),
                **({"tier": "enterprise"} if topic == "accounts" else {}),
            }
        )
        for number, (topic, account, days) in enumerate(records)
    ]
    file = folder / "events.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    plan = compile_plan(parse_policy(policy, "policy.toml"))
    return replay_files([file], plan, FIRST_MS + round(as_of * DAY_MS), mode=mode)


def scores(replay: Replay) -> dict[str, ScoreMessage]:
    messages = [msgspec.json.decode(sent.value, type=ScoreMessage) for sent in replay.engine.current().scores]
    return {message.account_id: message for message in messages}


@pytest.mark.parametrize("mode", [Mode.HEAD, Mode.CONFLATED])
@pytest.mark.parametrize(
    ("as_of", "segment", "band"), [(2.5, None, "poor"), (3.0, "big", "fine"), (9.0, "big", "poor")]
)
def test_a_profile_counts_from_its_own_time_on(
    tmp_path: Path, as_of: float, segment: str | None, band: str, mode: Mode
) -> None:
    records = [("product-usage", "a", 0.5), ("product-usage", "a", 1.5), ("accounts", "a", 3.0)]
    message = scores(replayed(tmp_path, RELABEL, records, as_of, mode))["a"]
    assert (message.segment, message.scores["health"].band) == (segment, band)


@pytest.mark.parametrize("mode", [Mode.HEAD, Mode.CONFLATED])
@pytest.mark.parametrize(("days", "band"), [(0.1, "fine"), (0.6, "fine"), (1.2, "fine"), (3.6, "poor"), (4.6, "poor")])
def test_a_sticky_band_does_not_see_a_later_profile(tmp_path: Path, days: float, band: str, mode: Mode) -> None:
    # Fine with the profile from the first boundary on, if it comes before that. If it comes at 1.2, fine is due at
    # boundaries 2, 3 and 4 and is shown from 4 on. If it comes at 3.6 or 4.6, fine was due at one boundary or none.
    records = [("product-usage", "a", 0.5), ("product-usage", "a", 0.5), ("product-usage", "a", 4.7)]
    replay = replayed(tmp_path, HELD, [*records, ("accounts", "a", days)], 4.8, mode)
    assert scores(replay)["a"].scores["health"].band == band


@pytest.mark.parametrize("mode", [Mode.HEAD, Mode.CONFLATED])
@pytest.mark.parametrize(("days", "peers"), [(2.9, 50.0), (3.1, 75.0)])
def test_the_peers_of_a_midnight_do_not_see_a_later_profile(
    tmp_path: Path, days: float, peers: float, mode: Mode
) -> None:
    # At midnight of day 3 the account is alone in its segment if it is known by then: 50. Else it is the larger of two.
    records = [("product-usage", "a", 0.5), ("product-usage", "a", 0.6), ("product-usage", "b", 0.5)]
    records += [("accounts", "a", days), ("product-usage", "b", 3.2)]
    assert scores(replayed(tmp_path, PEERS, records, 3.3, mode))["a"].scores["health"].factors[0].value == peers


def test_changes_of_a_profile_come_after_the_boundaries_before_it(tmp_path: Path) -> None:
    records = [("product-usage", "a", 0.5), ("product-usage", "a", 1.5), ("accounts", "a", 9.2)]
    replay = replayed(tmp_path, RELABEL, records, 10.0, Mode.HEAD)
    changes = [json.loads(change.value) for change in replay.changes_of("a")]
    assert [(change["cause"], change["band_to"], (change["time"] - FIRST_MS) / DAY_MS) for change in changes] == [
        ("event", "poor", 0.5),
        ("event", "poor", 1.5),
        ("window", "poor", 7),
        ("window", "poor", 8),
    ]


@pytest.mark.parametrize("field", ["id", "account_id"])
def test_an_event_that_the_engine_refuses_has_its_file_and_line(tmp_path: Path, field: str) -> None:
    event = {"id": "1", "account_id": "a", "kind": "call"}
    lines = [{**event, "time": FIRST_MS + 2}, {**event, field: " ", "time": FIRST_MS + 1}, {**event, "time": FIRST_MS}]
    file = tmp_path / "engagement.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    (bad,) = replay_files([file], compile_plan(parse_policy(RELABEL, "policy.toml"))).bad
    assert (bad.file, bad.line, bad.reason) == (str(file), 2, "invalid_field")


def aliased(folder: Path, profiles: list[dict[str, Any]], *, days: float, mode: Mode) -> Replay:
    """Replay an event a day of `crm-1` and of `4711`, and profiles, given with the day that each comes on."""
    records: list[dict[str, Any]] = [
        {"topic": "product-usage", "account_id": account, "days": day}
        for day in range(6)
        for account in ("crm-1", "4711")
    ]
    records += [{"topic": "accounts", "account_id": "crm-1", **profile} for profile in profiles]
    lines = [
        json.dumps({"id": str(number), **record, "time": FIRST_MS + round(record["days"] * DAY_MS)})
        for number, record in enumerate(records)
    ]
    file = folder / "events.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    plan = compile_plan(parse_policy(RELABEL, "policy.toml"))
    return replay_files([file], plan, FIRST_MS + round(days * DAY_MS), mode=mode)


def uses(replay: Replay) -> dict[str, float | None]:
    return {
        account: message.scores["health"].factors[0].value
        for account, message in scores(replay).items()
        if message.state != "ended"
    }


@pytest.mark.parametrize("mode", [Mode.HEAD, Mode.CONFLATED])
def test_an_alias_counts_for_the_account_from_the_time_of_its_profile_on(tmp_path: Path, mode: Mode) -> None:
    profiles = [{"days": day, "aliases": ["4711", "unknown"]} for day in (2.5, 3.5)]
    assert uses(aliased(tmp_path, profiles, days=2.4, mode=mode)) == {"crm-1": 3, "4711": 3}
    assert uses(aliased(tmp_path, profiles, days=2.5, mode=mode)) == {"crm-1": 6}
    after = aliased(tmp_path, profiles, days=5, mode=mode)
    assert uses(after) == {"crm-1": 12}
    assert (scores(after)["4711"].merged_into, after.bad) == ("crm-1", [])


def test_an_alias_of_two_accounts_is_a_line_that_is_not_used(tmp_path: Path) -> None:
    profiles = [{"days": 1, "aliases": ["4711"]}, {"days": 2, "account_id": "crm-2", "aliases": ["4711"]}]
    after = aliased(tmp_path, profiles, days=5, mode=Mode.HEAD)
    (bad,) = after.bad
    assert uses(after) == {"crm-1": 12}
    assert bad.line == 14
    assert bad.message == (
        'accounts: "4711" is an alias of "crm-2", but counts for "crm-1" already: merge one of these accounts into '
        "the other, or remove the alias - at `$.aliases`"
    )


def test_aliases_of_files_give_the_scores_of_workers(tmp_path: Path) -> None:
    replay = aliased(tmp_path, [{"days": 2.5, "aliases": ["4711"]}], days=5, mode=Mode.HEAD)
    cluster = Cluster(replay.engine.plan)
    for number, timed in enumerate(replay.records):
        value = msgspec.json.encode(timed.event)
        cluster.append(timed.source, timed.event.account_id.encode(), value, time_ms=number)
    cluster.finish(FIRST_MS + 5 * DAY_MS)
    live = {account: each for engine in cluster.engines() for account, each in messages_of(engine).items()}
    assert live["crm-1"]["scores"] == messages_of(replay.engine)["crm-1"]["scores"]
    assert live["crm-1"]["scores"]["health"]["factors"][0]["value"] == 12

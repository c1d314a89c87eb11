"""The benchmark compares like with like only if policy, rivals and check mean the same, so that is tested."""

from __future__ import annotations

import json
import re
import tomllib
from collections import defaultdict
from pathlib import Path

import msgspec
import numpy as np
import pytest
from aiokafka.partitioner import DefaultPartitioner

from agents.files.replay import replay_files
from schemas.outputs import ScoreMessage
from stream.explain.selector import reading, select_score
from stream.measures import STATS
from stream.plan.plan import compile_plan
from stream.policy.normalise import KINDS
from stream.policy.policy import parse_policy
from tests.bench import rules, workload
from tests.bench.engines import ALERTING, EVERYTHING, POLICY
from tests.bench.everything_new import POLICIES, PolicyRun, apply, records_of
from tests.bench.latency import Latency, Percentiles, answer_times, percentiles
from tests.bench.loading import partition_of, partitions_of_accounts
from tests.bench.progress import EngineError
from tests.bench.report import Results, as_json
from tests.bench.throughput import LEAST_S, Measured, check_scores, check_span
from tests.bench.workloads import KINDS as WORKLOADS
from tests.bench.workloads import TEMPLATE, expected_scores, replayed_scores

ACCOUNTS = 50


def naive_scores(events: workload.Workload) -> dict[str, float]:
    """Scores by plain loops over the JSON."""
    parsed = [json.loads(value) for value in workload.values(events)]
    last_day: dict[int, int] = defaultdict(int)
    for event in parsed:
        home = partition_of(event["account_id"].encode())
        last_day[home] = max(last_day[home], event["time"] // rules.DAY_MS)
    scores = {}
    for account in {event["account_id"] for event in parsed}:
        as_of = last_day[partition_of(account.encode())]
        inside = [
            event
            for event in parsed
            if event["account_id"] == account and as_of - 30 < event["time"] // rules.DAY_MS <= as_of
        ]
        volume = sum(event["count"] for event in inside)
        scores[account] = (min(100, 100 * len(inside) / 80) + min(100, 100 * volume / 160)) / 2
    return scores


def test_expected_scores_equal_plain_loops_over_the_events() -> None:
    events = workload.make_workload(5_000, ACCOUNTS)
    expected = workload.final_scores(events, partitions_of_accounts(ACCOUNTS))
    assert expected == pytest.approx(naive_scores(events))
    assert len(set(expected.values())) > ACCOUNTS / 2


def test_policy_has_the_constants_of_the_rules() -> None:
    policy = tomllib.loads(POLICY.read_text("utf-8"))
    hundred_at = {name: measure["normalise"]["hundred_at"] for name, measure in policy["measures"].items()}
    assert hundred_at == {"events": rules.EVENTS_HUNDRED_AT, "volume": rules.VOLUME_HUNDRED_AT}
    assert {measure["window"] for measure in policy["measures"].values()} == {f"{rules.WINDOW_DAYS}d"}
    assert policy["scores"]["health"]["min_change"] == rules.MIN_CHANGE


def test_events_are_repeatable_in_time_order_and_about_130_bytes() -> None:
    first, again = workload.make_workload(3_000), workload.make_workload(3_000)
    lines = list(workload.values(first))
    assert lines == list(workload.values(again))
    assert np.all(np.diff(first.time_ms) >= 0)
    assert 120 < np.mean([len(line) for line in lines]) < 140
    assert len({json.loads(line)["id"] for line in lines}) == 3_000
    assert first.time_ms[-1] < workload.START_MS + workload.DAYS * rules.DAY_MS


def test_first_events_reach_every_account_and_end_when_told() -> None:
    events = workload.first_events(7, each=2, until_ms=1_000_000)
    assert np.bincount(events.account).tolist() == [2] * 7
    assert events.time_ms[-1] == 1_000_000
    assert np.all(np.diff(events.time_ms) > 0)


def test_partitions_are_the_ones_of_the_default_partitioner() -> None:
    homes = list(range(rules.PARTITIONS))
    for number in range(200):
        key = workload.account_id(number).encode()
        assert partition_of(key) == DefaultPartitioner()(key, homes, homes)


def test_a_wrong_or_missing_score_is_caught() -> None:
    check_scores("right", {"a": 50.9, "b": 1.0}, {"a": 50.0, "b": 1.0})
    with pytest.raises(EngineError, match="1 of 2 accounts"):
        check_scores("wrong", {"a": 51.0, "b": 1.0}, {"a": 50.0, "b": 1.0})
    with pytest.raises(EngineError, match="b: published None"):
        check_scores("short", {"a": 50.0}, {"a": 50.0, "b": 1.0})
    with pytest.raises(EngineError, match="published 2"):
        check_scores("invents", {"a": 50.0, "c": 9.0}, {"a": 50.0})


def test_a_run_that_is_too_short_gives_no_figure() -> None:
    check_span("long", 100.0, 100.0 + LEAST_S, 10_000)
    with pytest.raises(EngineError, match=r"its 10,000 events were done 29\.0 s after the warm-up"):
        check_span("short", 100.0, 129.0, 10_000)


def test_the_same_events_later_end_with_the_same_scores() -> None:
    events = workload.make_workload(5_000, ACCOUNTS)
    later = events.later(workload.DAYS)
    assert int(later.time_ms[0]) - int(events.time_ms[0]) == workload.DAYS * rules.DAY_MS
    homes = partitions_of_accounts(ACCOUNTS)
    assert workload.final_scores(later, homes) == workload.final_scores(events, homes)


def test_latency_is_from_a_probe_to_its_first_score() -> None:
    events = [(b"probe-1", b"", 1_000), (b"probe-2", b"", 37_000), (b"account-1", b"", 37_001)]
    scores = [
        (b"probe-1", b"", 1_500),
        (b"account-1", b"", 37_003),
        (b"probe-2", b"", 37_004),
        (b"probe-2", b"", 39_000),
    ]
    assert answer_times(events, scores) == [4]
    with pytest.raises(EngineError, match="1 of 2 new accounts"):
        answer_times(events, scores[:2])


def test_json_holds_what_was_measured_and_nothing_else() -> None:
    results = Results(
        throughput={
            "ours": Measured(
                "us", [300.0, 100.0, 200.0], [1.0, 3.0, 1.5], [0.2], [300.4], changelog_bytes_per_event=12.34
            ),
            "kafka_streams": Measured("them", [100.0], [4.0], [0.25], [1000.0]),
        }
    )
    assert as_json(results) == {
        "cpu_us_per_event": {"ours": 1.5, "kafka_streams": 4.0},
        "broker_cpu_us_per_event": {"ours": 0.2, "kafka_streams": 0.25},
        "peak_mb": {"ours": 300, "kafka_streams": 1000},
        "events_per_s": {"ours": 200, "kafka_streams": 100},
        "ratio": {"ours/kafka_streams": 2.0},
        "changelog_bytes_per_event": 12.3,
    }


@pytest.mark.parametrize("policy", [POLICY, EVERYTHING, ALERTING])
def test_our_policies_give_the_same_scores(policy: Path, tmp_path: Path) -> None:
    events = workload.make_workload(2_000, ACCOUNTS)
    file = tmp_path / "product-usage.jsonl"
    file.write_bytes(b"\n".join(workload.values(events)))
    replay = replay_files([file], compile_plan(parse_policy(policy.read_text("utf-8"))))
    assert not replay.bad
    messages = [msgspec.json.decode(sent.value, type=ScoreMessage) for sent in replay.engine.current().scores]
    expected = workload.final_scores(events, np.zeros(ACCOUNTS, dtype=np.int64))
    assert {message.account_id: message.scores["health"].value for message in messages} == pytest.approx(expected)


def test_two_policies_use_everything_that_the_language_has() -> None:
    texts = [POLICIES[name].read_text("utf-8") for name in ("everything", "everything_new")]
    measures = [measure for text in texts for measure in tomllib.loads(text)["measures"].values()]
    assert set(STATS) <= {measure.get("stat") for measure in measures}
    assert set(KINDS) <= set(re.findall(r'\bkind = "(\w+)"', "".join(texts)))
    for feature in ("value", "when", "complete", "compare", "weights", "per", "percent", "history"):
        assert any(feature in measure for measure in measures), feature
    assert all(word in texts[1] for word in ("account.arr", "properties.", '"5bd"', '"1mo"', "timezone", "holidays"))


def test_every_measure_of_the_newer_features_tells_accounts_apart() -> None:
    engine, _ = apply(POLICIES["everything_new"].read_text("utf-8"), records_of(24_000, 100))
    selected = select_score(engine.plan.policy)
    scored = reading(engine.plan, selected, engine.score(engine.accounts.alive()))
    values = dict(zip((measure.name for measure in selected.measures), scored.values.T, strict=True))
    assert len(values) == 23
    alike = [name for name, column in values.items() if len(set(column[~np.isnan(column)].tolist())) < 2]
    assert alike == []


def test_json_has_each_policy() -> None:
    run = PolicyRun("template", 10, 2, 5.0, 7.0)
    figures = {"name": "template", "events": 10, "accounts": 2, "events_per_s": 5.0, "score_us": 7.0}
    assert as_json(Results(policies=[run])) == {"policies": [figures]}


def test_json_has_three_percentiles_of_latency_at_each_rate() -> None:
    waited = percentiles([*range(1, 1001), 5_000])
    assert waited.p50 == 501
    assert waited.p99 == 991
    assert waited.p999 == pytest.approx(1000)
    few = Percentiles(1.0, 2.0, 3.04)
    results = Results(
        latency={
            ("ours", 10_000): Latency("us", waited, 1_001, 9_990.0, few),
            ("kafka_streams", 10_000): Latency("them", few, 1_001, 9_990.0, None),
            ("ours", 1_000): Latency("us", few, 1_001, 999.0, None),
        }
    )
    assert as_json(results) == {
        "latency_ms": {
            10_000: {"p50": 501.0, "p99": 991.0, "p99.9": 1000.0},
            1_000: {"p50": 1.0, "p99": 2.0, "p99.9": 3.0},
        },
        "alert_ms": {10_000: {"p50": 1.0, "p99": 2.0, "p99.9": 3.0}},
    }


def test_zipf_gives_the_first_account_a_tenth_of_the_events() -> None:
    counts = np.bincount(workload.make_zipf(200_000).account, minlength=workload.ACCOUNTS)
    assert 0.09 < counts[0] / 200_000 < 0.12
    assert counts[0] == pytest.approx(2 * counts[1], rel=0.1)


def test_three_of_ten_records_repeat_an_earlier_one() -> None:
    sent = workload.make_duplicates(10_000)
    lines = list(workload.values(sent))
    assert len(lines) == 10_000
    assert len(set(lines)) == 7_000
    first = {line: number for number, line in reversed(list(enumerate(lines)))}
    apart = [number - first[line] for number, line in enumerate(lines) if number != first[line]]
    assert len(apart) == 3_000
    assert max(apart) < 2_500
    assert list(workload.values(sent.distinct())) == list(workload.values(workload.make_workload(7_000)))


def test_expected_scores_of_duplicates_are_those_of_their_originals() -> None:
    sent = workload.make_duplicates(10_000, ACCOUNTS)
    expected = WORKLOADS["duplicates"].expected(sent, 1, timers=True)
    assert expected == expected_scores(workload.make_workload(7_000, ACCOUNTS), workload.ACCOUNTS, timers=True)
    assert expected != expected_scores(sent, workload.ACCOUNTS, timers=True)


def test_template_workload_has_every_source_and_scores_that_differ() -> None:
    sent = workload.make_five_sources(4_000, ACCOUNTS)
    assert set(np.unique(sent.source)) == set(range(len(workload.SOURCES)))
    policy = tomllib.loads(TEMPLATE.read_text("utf-8"))
    assert {measure["source"] for measure in policy["measures"].values()} == set(workload.SOURCES)
    expected = replayed_scores(sent, 2)
    assert expected.keys() == {workload.account_id(number) for number in range(ACCOUNTS)}
    assert len(set(expected.values())) > ACCOUNTS / 2
    assert expected != replayed_scores(sent, 1)

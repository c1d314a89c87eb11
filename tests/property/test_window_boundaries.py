"""Scores are exact at every window boundary, at the head and in an exact replay, for any cut into batches."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.outputs import Alert
from stream.engine.engine import Mode
from tests.driving.engine import Watched, assert_same, cuts, driven, open_episodes, partitions, plan_of, plausible_logs
from tests.oracle.engine import AccountScore, Boundaries, Record, band_episodes, boundary_scores
from tests.strategies.effort import examples
from tests.strategies.policies import NOW_MS, policies

DAYS = ("1d", "2d", "7d", "30d", "45d")


def assert_boundaries(engine: Watched, expected: Boundaries, partition: int) -> None:
    """Fail unless all boundaries are the oracle's; the engine skips those at which nothing can change."""
    last: dict[str, AccountScore] = {}
    for (boundary_partition, boundary_ms), scores in sorted(expected.items()):
        if boundary_partition == partition:
            last = engine.boundaries.get(boundary_ms, last)
            assert_same(last, scores, boundary_ms)


def open_alerts(alerts: list[Alert]) -> set[tuple[str, str]]:
    """(account, rule) of every firing alert, after a check that alerts fire and resolve in turn."""
    firing: dict[tuple[str, str], int] = {}
    for alert in alerts:
        key = (alert.account_id, alert.rule)
        if alert.status == "firing":
            assert key not in firing, alert
            assert alert.ends_at is None
            firing[key] = alert.starts_at
        else:
            assert firing.pop(key) == alert.starts_at, alert
            assert alert.ends_at is not None
            assert alert.ends_at >= alert.starts_at
    return set(firing)


@settings(max_examples=examples(40))
@given(
    st.data(),
    plausible_logs(),
    st.one_of(policies(windows=DAYS), policies(windows=DAYS), policies(max_measures=2)),
    st.sampled_from((Mode.HEAD, Mode.EXACT)),
)
def test_scores_and_alerts_at_every_boundary(
    data: st.DataObject, log: list[Record], policy_text: str, mode: Mode
) -> None:
    plan = plan_of(policy_text)
    expected = boundary_scores(log, policy_text, NOW_MS)
    for partition, records in partitions(log).items():
        drive = driven(data.draw(cuts(records, (mode,))), plan, kind=Watched)
        engine = drive.engine
        assert isinstance(engine, Watched)
        assert_boundaries(engine, expected, partition)
        # Alerts may fire and resolve between boundaries; those open at a boundary are the oracle's.
        for (boundary_partition, boundary_ms), _ in sorted(expected.items()):
            if boundary_partition == partition and boundary_ms in engine.boundaries:
                assert engine.open_at[boundary_ms] == _episodes_at(expected, partition, boundary_ms)
        assert open_alerts(drive.alerts) == open_episodes(engine)


def _episodes_at(expected: Boundaries, partition: int, boundary_ms: int) -> set[tuple[str, str]]:
    episodes: set[tuple[str, str]] = set()
    upto = {key: scores for key, scores in expected.items() if key[0] == partition and key[1] <= boundary_ms}
    for account, rule, status, _ in band_episodes(upto):
        (episodes.add if status == "firing" else episodes.discard)((account, rule))
    return episodes

"""Without further events, the forecast at every future window boundary is the oracle's; a forecast changes no state."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.columns.panes import UNIT_MS
from stream.engine.engine import Mode
from stream.explain.forecast import Forecast, Step, forecast, forecast_scores
from stream.explain.selector import select_score
from tests.driving.engine import CLOSE, Cut, cuts, driven, partitions, plan_of, plausible_logs
from tests.oracle.engine import AccountScore, Record, boundary_unit_ms, final_scores, read_policy
from tests.strategies.policies import DAY_MS, NOW_MS, policies


def step_at(prediction: Forecast, moment_ms: int) -> Step:
    return [step for step in prediction.line if step.at <= moment_ms][-1]


def is_as(step: Step, expected: AccountScore) -> bool:
    return abs(step.score - expected.value) <= CLOSE and step.band == expected.band


@settings(max_examples=60)
@given(
    st.data(),
    plausible_logs(max_events=25),
    policies(max_measures=3),
    st.sampled_from(tuple(Mode)),
    st.sampled_from((2, 50, 400)),
)
def test_the_forecast_at_every_future_boundary_is_the_oracles(
    data: st.DataObject, log: list[Record], policy_text: str, mode: Mode, days: int
) -> None:
    plan, unit_ms = plan_of(policy_text), boundary_unit_ms(read_policy(policy_text))
    selected = select_score(plan.policy)
    for records in partitions(log).values():
        engine = driven(data.draw(cuts(records, (mode,))), plan).engine
        if engine.as_of is None:
            continue
        rows = engine.accounts.alive()
        names = [engine.accounts.index.names[row] for row in rows.tolist()]
        predictions = dict(zip(names, forecast(engine, rows, selected, days * DAY_MS), strict=True))
        first = engine.as_of // unit_ms + 1
        last = (engine.as_of + days * DAY_MS) // unit_ms
        boundary_numbers = [first, last, *data.draw(st.lists(st.integers(first, last), max_size=4))]
        turns = [prediction.turn.at // unit_ms for prediction in predictions.values() if prediction.turn is not None]
        boundary_numbers += [boundary + shift for boundary in turns for shift in (-1, 0)]
        for boundary_ms in {boundary * unit_ms for boundary in boundary_numbers} | {engine.as_of}:
            expected = final_scores(records, policy_text, NOW_MS, max(boundary_ms, engine.as_of))
            assert expected.keys() == predictions.keys()
            for account, prediction in predictions.items():
                assert is_as(step_at(prediction, max(boundary_ms, engine.as_of)), expected[account]), (
                    account,
                    boundary_ms,
                )
        for prediction in predictions.values():
            others = [step for step in prediction.line if step.band != prediction.line[0].band]
            turn = prediction.turn
            assert (turn.at if turn else None) == (others[0].at if others else None)
            if turn:
                deltas = sum(factor.delta for factor in turn.factors)
                assert abs(deltas - (turn.score - prediction.line[0].score)) <= CLOSE


@settings(max_examples=30)
@given(plausible_logs(max_events=25), policies(max_measures=3))
def test_scores_do_not_change_after_the_end_of_a_final_forecast(log: list[Record], policy_text: str) -> None:
    plan = plan_of(policy_text)
    for records in partitions(log).values():
        engine = driven([Cut(records, Mode.HEAD, flush=True)], plan).engine
        for prediction in forecast(engine, engine.accounts.alive(), select_score(plan.policy), 400 * DAY_MS):
            assert prediction.final
            assert prediction.line[-1].at <= prediction.until
        if engine.as_of is not None:
            *_, (end_ms, scored) = forecast_scores(
                engine, engine.accounts.alive(), select_score(plan.policy), 400 * DAY_MS
            )
            later = final_scores(records, policy_text, NOW_MS, end_ms + 1000 * DAY_MS)
            assert sorted(later[name].band for name in later) == sorted(
                plan.policy.score.bands[band].name for band in scored.bands.tolist()
            )


@settings(max_examples=40)
@given(plausible_logs(max_events=25), policies(max_measures=3), st.integers(0, 25))
def test_a_forecast_changes_no_state(log: list[Record], policy_text: str, split: int) -> None:
    plan = plan_of(policy_text)
    for records in partitions(log).values():
        halves = [Cut(half, Mode.HEAD, flush=True) for half in (records[:split], records[split:]) if half]
        plain, forecasting = driven(halves[:1], plan), driven(halves[:1], plan)
        engine = forecasting.engine
        before = engine.current().scores
        forecast(engine, engine.accounts.alive(), select_score(plan.policy), 400 * DAY_MS)
        assert engine.current().scores == before
        for drive in (plain, forecasting):
            for half in halves[1:]:
                drive.take(half.records)
            drive.note(drive.engine.tick(NOW_MS + 2 * UNIT_MS["day"]))
            drive.save()
        assert forecasting.raw == plain.raw
        assert forecasting.topic == plain.topic

"""Without further events, the forecast at every future window boundary is the oracle's; a forecast changes no state."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.outputs import ScoreMessage, ScoreValue
from stream.columns.panes import UNIT_MS
from stream.engine.engine import Mode
from stream.explain.forecast import Forecast, Step, forecast, forecast_scores
from stream.explain.selector import select_score
from stream.scoring.scoring import NO_BAND
from tests.driving.engine import CLOSE, Cut, Drive, cuts, driven, partitions, plan_of, plausible_logs
from tests.oracle.engine import AccountScore, Record, boundary_unit_ms, final_scores, read_policy
from tests.strategies.effort import examples
from tests.strategies.policies import DAY_MS, NOW_MS, policies

OUTLOOK_DAYS = 40


def step_at(account_forecast: Forecast, moment_ms: int) -> Step:
    return [step for step in account_forecast.line if step.at <= moment_ms][-1]


def is_as(step: Step, expected: AccountScore) -> bool:
    return expected.value is not None and abs(step.score - expected.value) <= CLOSE and step.band == expected.band


@settings(max_examples=examples(24))
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
        forecasts = dict(zip(names, forecast(engine, rows, selected, days * DAY_MS), strict=True))
        first = engine.as_of // unit_ms + 1
        last = (engine.as_of + days * DAY_MS) // unit_ms
        forecast_day = [first, last, *data.draw(st.lists(st.integers(first, last), max_size=4))]
        turns = [outlook.turn.at // unit_ms for outlook in forecasts.values() if outlook.turn is not None]
        forecast_day += [boundary + shift for boundary in turns for shift in (-1, 0)]
        for boundary_ms in {boundary * unit_ms for boundary in forecast_day} | {engine.as_of}:
            expected = final_scores(records, policy_text, NOW_MS, max(boundary_ms, engine.as_of))
            assert expected.keys() == forecasts.keys()
            for account, outlook in forecasts.items():
                ends_ms = outlook.no_data_at if outlook.line else engine.as_of
                if ends_ms is not None and max(boundary_ms, engine.as_of) >= ends_ms:
                    # Where it ends there is no data; what time alone may bring back later is not looked for.
                    assert expected[account].value is None or boundary_ms > ends_ms, (account, boundary_ms)
                    continue
                assert is_as(step_at(outlook, max(boundary_ms, engine.as_of)), expected[account]), (
                    account,
                    boundary_ms,
                )
        for outlook in forecasts.values():
            others = [step for step in outlook.line if step.band != outlook.line[0].band]
            assert outlook.no_data_at is None or outlook.no_data_at == outlook.until
            assert (outlook.turn.at if outlook.turn else None) == (others[0].at if others else None)
            if outlook.turn:
                deltas = sum(factor.delta for factor in outlook.turn.factors)
                assert abs(deltas - (outlook.turn.score - outlook.line[0].score)) <= CLOSE


@settings(max_examples=examples(30))
@given(plausible_logs(max_events=25), policies(max_measures=3))
def test_scores_do_not_change_after_the_end_of_a_final_forecast(log: list[Record], policy_text: str) -> None:
    plan = plan_of(policy_text)
    for records in partitions(log).values():
        engine = driven([Cut(records, Mode.HEAD, flush=True)], plan).engine
        for outlook in forecast(engine, engine.accounts.alive(), select_score(plan.policy), 400 * DAY_MS):
            assert outlook.final or outlook.no_data_at is not None or not outlook.line
            assert all(step.at <= outlook.until for step in outlook.line)
        if engine.as_of is not None:
            *_, (end_ms, scored) = forecast_scores(
                engine, engine.accounts.alive(), select_score(plan.policy), 400 * DAY_MS
            )
            later = final_scores(records, policy_text, NOW_MS, end_ms + 1000 * DAY_MS)
            assert {score.band for score in later.values()} == {None}
            assert scored.bands.tolist() == [NO_BAND] * len(later)


@settings(max_examples=examples(40))
@given(plausible_logs(max_events=25), policies(max_measures=3), st.integers(0, 25))
def test_looking_ahead_leaves_no_trace(log: list[Record], policy_text: str, cut_at: int) -> None:
    plan = plan_of(policy_text)
    for records in partitions(log).values():
        halves = [Cut(half, Mode.HEAD, flush=True) for half in (records[:cut_at], records[cut_at:]) if half]
        plain, looking = driven(halves[:1], plan), driven(halves[:1], plan)
        engine = looking.engine
        before = engine.current().scores
        forecast(engine, engine.accounts.alive(), select_score(plan.policy), 400 * DAY_MS)
        assert engine.current().scores == before
        for drive in (plain, looking):
            for half in halves[1:]:
                drive.take(half.records)
            drive.note(drive.engine.tick(NOW_MS + 2 * UNIT_MS["day"]))
            drive.save()
        assert looking.raw == plain.raw
        assert looking.topic == plain.topic


@settings(max_examples=examples(30))
@given(plausible_logs(max_events=25), policies(max_measures=3))
def test_an_outlook_is_the_first_change_of_band_that_comes_or_the_day_without_data(
    log: list[Record], policy_text: str
) -> None:
    (line,) = [line for line in policy_text.splitlines() if line.startswith("min_change")]
    plan, days = plan_of(policy_text.replace(line, f'{line}\noutlook = "{OUTLOOK_DAYS}d"')), range(1, OUTLOOK_DAYS + 1)
    for records in partitions(log).values():
        drive = driven([Cut(records, Mode.HEAD, flush=True)], plan)
        if drive.engine.as_of is None:
            continue
        midnight_ms = (drive.engine.as_of // DAY_MS + 1) * DAY_MS
        drive.note(drive.engine.tick(midnight_ms))
        first = scores_at(drive)
        later = dict.fromkeys((midnight_ms + day * DAY_MS for day in days), first)
        for at_ms in later:
            drive.note(drive.engine.tick(at_ms))
            later[at_ms] = scores_at(drive)
        for account, score in first.items():
            if score.band is None:
                assert score.outlook is None
                continue
            changed = [at_ms for at_ms, scores in later.items() if scores[account].band != score.band]
            at_ms = changed[0] if changed else midnight_ms + OUTLOOK_DAYS * DAY_MS
            then = later[at_ms][account]
            assert score.outlook is not None
            turn = score.outlook.turn
            if not changed or then.band is None:
                assert (turn, score.outlook.until) == (None, at_ms)
                continue
            assert turn is not None
            assert (turn.at, turn.band, score.outlook.until) == (at_ms, then.band, max(later))
            assert then.value is not None
            assert abs(turn.score - then.value) <= CLOSE


def scores_at(drive: Drive) -> dict[str, ScoreValue]:
    """The score of each account as it is published now."""
    messages = (msgspec.json.decode(sent.value, type=ScoreMessage) for sent in drive.engine.current().scores)
    return {message.account_id: score for message in messages for score in message.scores.values()}

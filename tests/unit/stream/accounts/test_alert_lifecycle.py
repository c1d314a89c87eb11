"""The two lifecycles of alerts, walked whole: every phase with every input, allowed or not."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from stream.accounts.alert_lifecycle import (
    BOUNDARY,
    FLAP_MS,
    PUBLISHED,
    AlertInput,
    IllegalTransitionError,
    Lifecycle,
    Phase,
    flaps_of,
    is_open,
)

LIFECYCLES = [PUBLISHED, BOUNDARY]
EVERYTHING = list(product(Phase, AlertInput))
IN, P = AlertInput, Phase
OPEN = {P.FIRING, P.ACKNOWLEDGED, P.SNOOZED}


def array(*values: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
    return np.array(values, dtype=np.int8)


def expected(lifecycle: Lifecycle, phase: Phase, alert_input: AlertInput) -> Phase | None:
    """The next phase, written down a second time as rules; None where the transition is illegal."""
    if lifecycle is BOUNDARY:
        if phase in OPEN - {P.FIRING} or alert_input in {IN.ACKNOWLEDGE, IN.SNOOZE}:
            return None
        if alert_input is IN.CLEAR:
            return P.IDLE
        return P.FIRING if alert_input is IN.FIRE or phase is P.FIRING else P.PENDING
    if phase is P.PENDING or alert_input is IN.WAIT:
        return None
    if alert_input is IN.ACKNOWLEDGE:
        return P.ACKNOWLEDGED if phase in OPEN else None
    stays_acknowledged = phase is P.ACKNOWLEDGED and alert_input is IN.FIRE
    return (
        P.ACKNOWLEDGED
        if stays_acknowledged
        else {IN.CLEAR: P.IDLE, IN.FIRE: P.FIRING, IN.SNOOZE: P.SNOOZED}[alert_input]
    )


@pytest.mark.parametrize("lifecycle", LIFECYCLES, ids=lambda lifecycle: lifecycle.name)
@pytest.mark.parametrize(("phase", "alert_input"), EVERYTHING)
def test_every_transition_is_as_the_rules_say_or_raises(
    lifecycle: Lifecycle, phase: Phase, alert_input: AlertInput
) -> None:
    wanted = expected(lifecycle, phase, alert_input)
    assert lifecycle.transitions.get(phase, {}).get(alert_input) == wanted
    if wanted is not None:
        assert lifecycle.next(array(phase), array(alert_input)).tolist() == [wanted]
        return
    message = f"{lifecycle.name} phase of an alert: no transition from {phase.name} on {alert_input.name}"
    with pytest.raises(IllegalTransitionError, match=message):
        lifecycle.next(array(phase), array(alert_input))


@pytest.mark.parametrize("lifecycle", LIFECYCLES, ids=lambda lifecycle: lifecycle.name)
def test_every_phase_of_the_table_is_reached_from_idle_and_goes_back_to_it(lifecycle: Lifecycle) -> None:
    reached, waiting = {P.IDLE}, [P.IDLE]
    while waiting:
        following = set(lifecycle.transitions[waiting.pop()].values()) - reached
        reached |= following
        waiting += following
    assert reached == lifecycle.transitions.keys()
    assert {by_input[IN.CLEAR] for by_input in lifecycle.transitions.values()} == {P.IDLE}


@pytest.mark.parametrize("lifecycle", LIFECYCLES, ids=lambda lifecycle: lifecycle.name)
def test_arrays_move_as_single_alerts_do(lifecycle: Lifecycle) -> None:
    legal = [(p, i, after) for p, by_input in lifecycle.transitions.items() for i, after in by_input.items()]
    phases, inputs, after = (array(*column).reshape(1, -1) for column in zip(*legal, strict=True))
    moved = lifecycle.next(phases, inputs)
    assert moved.dtype == np.int8
    assert moved.shape == (1, len(legal))
    assert (moved == after).all()


def test_one_illegal_transition_among_many_is_named() -> None:
    phases, inputs = array(P.FIRING, P.IDLE, P.FIRING), array(IN.FIRE, IN.ACKNOWLEDGE, IN.FIRE)
    with pytest.raises(IllegalTransitionError, match="from IDLE on ACKNOWLEDGE"):
        PUBLISHED.next(phases, inputs)


def test_no_alerts_have_no_transitions() -> None:
    assert PUBLISHED.next(array(), array()).shape == (0,)


def test_the_open_phases_are_those_after_firing() -> None:
    assert {phase for phase in Phase if is_open(array(phase))[0]} == OPEN


def test_numbers_of_phases_are_those_of_saved_state() -> None:
    assert [phase.value for phase in (P.IDLE, P.PENDING, P.FIRING, P.ACKNOWLEDGED, P.SNOOZED)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("before", "ended_ms", "began_ms", "flaps"),
    [
        (0, 0, FLAP_MS, 0),
        (3, 0, 5, 0),
        (0, 7, 7, 1),
        (3, 7, 6 + FLAP_MS, 4),
        (3, 7, 7 + FLAP_MS, 0),
        (30_000, 7, 8, 30_000),
    ],
)
def test_flaps_count_firings_within_a_day_of_the_last_end(
    before: int, ended_ms: int, began_ms: int, flaps: int
) -> None:
    assert flaps_of(before, ended_ms, began_ms) == flaps

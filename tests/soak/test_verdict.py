"""What a soak makes of its samples."""

from __future__ import annotations

import pytest

from tests.soak.verdict import HOUR_S, Sample, growth

MIB = 1024 * 1024


def samples(percent_an_hour: float, noise: int = 0, extra: int = 0) -> list[Sample]:
    """Two hours of samples whose mean is 200 MiB, and of which the last half have more descriptors."""
    times = [30.0 * number for number in range(241)]
    slope = 200 * MIB * percent_an_hour / 100 / HOUR_S
    return [
        Sample(at_s, round(200 * MIB + slope * (at_s - HOUR_S) + noise * (-1) ** number), 40 + extra * (number > 120))
        for number, at_s in enumerate(times)
    ]


@pytest.mark.parametrize("percent", [-3.0, 0.0, 0.9, 6.6])
def test_the_slope_is_that_of_the_samples(percent: float) -> None:
    judged = growth(samples(percent, noise=100_000))
    assert judged.percent_an_hour == pytest.approx(percent, abs=0.01)
    assert judged.error < 0.01
    assert judged.rss == pytest.approx(200 * MIB, rel=1e-3)


def test_a_leak_of_memory_fails_and_noise_does_not() -> None:
    assert growth(samples(0.9, noise=1_000_000)).problems == []
    assert growth(samples(6.6)).problems == ["memory grows by 6.60 % an hour, more than 1 %"]


def test_a_leak_of_descriptors_fails() -> None:
    assert growth(samples(0.0, extra=2)).problems == ["2 more descriptors are open at the end"]
    assert growth(samples(0.0, extra=-2)).problems == []


def test_too_few_samples_are_no_verdict() -> None:
    with pytest.raises(ValueError, match="too few"):
        growth(samples(0.0)[:2])

"""A storm begins when enough accounts begin to alert, has a digest for what fires in it, and ends when no more do."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.driving.alerts import Observed, WatchedAlerts
from tests.driving.engine import partitions, plan_of
from tests.strategies.effort import examples
from tests.strategies.policies import ACCOUNTS, DAY_MS, HOUR_MS, NOW_MS, Sent, log_of, times_ms

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

    from tests.oracle.engine import Record

WITHIN_MS = 7 * 60_000
POLICY = """
name = "stormy"
[storms]
share = {share}
least = {least}
within = "7m"
[measures.level]
source = "signals"
stat = "last"
field = "value"
window = "{window}"
missing = 0
normalise = {{ kind = "linear", zero_at = 0, hundred_at = 100 }}
weight = 1
[scores.health]
min_change = 1
bands = [{{ name = "good", from = 50 }}, {{ name = "poor", from = 0, alert = "critical" }}]
[alerts.low]
when = {{ below = 30 }}
[alerts.long]
when = {{ below = 60 }}
for = "2h"
"""


@st.composite
def signals(draw: DrawFn) -> list[Record]:
    """Draw signals of five accounts in order of time, in bursts of minutes."""
    burst_ms = draw(st.lists(times_ms(NOW_MS - 2 * DAY_MS, NOW_MS - HOUR_MS), min_size=1, max_size=4))
    sent = []
    for number in range(draw(st.integers(5, 30))):
        time_ms = draw(st.sampled_from(burst_ms)) + draw(st.integers(0, 12 * 60_000))
        account, value = draw(st.sampled_from(ACCOUNTS)), draw(st.sampled_from((10, 40, 80)))
        document = {"id": f"e-{number}", "account_id": account, "time": time_ms, "name": "level", "value": value}
        sent.append(Sent("signals", 0, time_ms, account.encode(), json.dumps(document).encode()))
    return log_of(sent)


class Storms:
    """A model of storms: the open episodes, the time of the last one, and the current storm.

    Only open episodes begin a storm; an episode that has ended still extends the storm.
    """

    def __init__(self, share: Fraction, least: int) -> None:
        self.share, self.least = share, least
        self.open_since_ms: dict[tuple[str, str], int] = {}
        self.last_ms = 0
        self.storm: dict[str, Any] | None = None

    def after(self, published: list[dict[str, Any]], now_ms: int, accounts: int) -> None:
        """Judge what was published at one moment."""
        mine = [alert for alert in published if alert["account_id"]]
        fired = [alert for alert in mine if alert["status"] == "firing"]
        about = [alert["status"] for alert in published if alert["rule"] == "storm"]
        expected = ["resolved"] if self.storm is not None and now_ms - self.last_ms >= WITHIN_MS else []
        if expected:
            self.storm = None
        for alert in mine:
            key = (alert["account_id"], alert["rule"])
            if alert["status"] == "firing":
                self.open_since_ms[key] = self.last_ms = alert["starts_at"]
            else:
                del self.open_since_ms[key]
        lately = {account for (account, _), since in self.open_since_ms.items() if since > now_ms - WITHIN_MS}
        enough = len(lately) >= self.least and len(lately) >= self.share * accounts
        if self.storm is None and fired and enough:
            self.storm = next(
                (alert for alert in published if (alert["rule"], alert["status"]) == ("storm", "firing")), None
            )
            expected.append("firing")
        assert about == expected, (now_ms, lately)
        digests = {alert.get("digest") for alert in fired}
        assert digests <= {None if self.storm is None else self.storm["fingerprint"]}, fired


@settings(max_examples=examples(25))
@given(
    signals(),
    st.sampled_from((Fraction(1, 5), Fraction(2, 5), Fraction(1))),
    st.integers(1, 4),
    st.sampled_from(("1h", "6h")),
)
def test_storms_begin_and_end_as_in_the_model(log: list[Record], share: Fraction, least: int, window: str) -> None:
    text = POLICY.format(share=float(share), least=least, window=window)
    for records in partitions(log).values():
        drive = Observed(WatchedAlerts(plan_of(text)))
        storms = Storms(share, least)
        last_ms = None
        for record in records:
            assert record.value is not None
            time_ms = json.loads(record.value)["time"]
            for boundary_ms in range((last_ms or time_ms) // HOUR_MS * HOUR_MS + HOUR_MS, time_ms + 1, HOUR_MS):
                _check(storms, drive, [], boundary_ms)
            _check(storms, drive, [record], None)
            last_ms = time_ms


def _check(storms: Storms, drive: Observed, records: list[Record], boundary_ms: int | None) -> None:
    """Process records, or advance to a window boundary, and check the published alerts."""
    known = len(drive.raw)
    if boundary_ms is None:
        drive.take(records)
    else:
        drive.tick(boundary_ms)
    alerts = [json.loads(value) for value in drive.raw[known:] if b'"fingerprint":' in value]
    assert drive.engine.as_of is not None
    storms.after(alerts, drive.engine.as_of, len(drive.engine.accounts.listed()))

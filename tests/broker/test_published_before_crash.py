"""An alert that was published before a worker started, and that this worker's state does not have, on a real Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from schemas.codecs import encode
from schemas.outputs import Alert
from tests.faults.deployment import Deployment
from tests.faults.events import DAY_MS, END_MS, USAGE, company, event
from tests.faults.topic_log import Message
from tests.faults.verdict import ALERTS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.broker


@pytest.mark.faults
def test_a_firing_alert_that_no_state_has_is_resolved_once(tmp_path: Path) -> None:
    starts_at = END_MS - 10 * DAY_MS
    left_open = Alert(
        "f1", "f", "ghost", "low", "warning", "firing", starts_at, 1.0, "poor", "Ghost is low", {}, {"account": "Ghost"}
    )
    with Deployment(tmp_path) as deployment:

        def of_ghost() -> list[dict]:
            return [alert for alert in deployment.documents(ALERTS) if alert["account_id"] == "ghost"]

        deployment.send([Message(ALERTS, b"ghost", encode(left_open), starts_at)])
        deployment.send(company(10, 20))
        first = deployment.start()
        deployment.until(lambda: len(of_ghost()) > 1, "the alert that no state has is resolved")
        deployment.until_done()
        deployment.kill(first)
        deployment.start()
        deployment.send([event(USAGE, "later", "acct-1", END_MS)])
        deployment.until_done()
        published = [(alert["status"], alert["starts_at"]) for alert in of_ghost()]
        assert published == [("firing", starts_at), ("resolved", starts_at)]
        assert of_ghost()[1]["ends_at"] >= starts_at
        deployment.judge()

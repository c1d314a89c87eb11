"""Labels that a policy adds to alerts: fields and attributes of the profile."""

from __future__ import annotations

from stream.policy.policy import parse_policy
from tests.driving.alert_histories import POLICY, Scenario

LABELS = '[labels]\ncsm = "account.csm"\nplan = "account.plan"\nmodules = "account.modules"\nseats = "account.seats"\n'
RULE = '[alerts.busy]\nscore = "health"\nwhen = { below = 40 }\nseverity = "warning"\n'
OWN = {"account_id", "rule", "severity", "score", "band", "segment"}


def test_alerts_have_the_fields_that_the_profile_has() -> None:
    scenario = Scenario(RULE + LABELS)
    scenario.use(0, 10)
    scenario.take(0.1, "accounts", csm="ann", modules=["crm", "billing"], seats=40.0, plan=None)
    scenario.pass_to(2)
    alerts = [alert for alert in scenario.drive.alerts if alert.rule == "busy"]
    assert alerts
    added = {name: text for name, text in alerts[-1].labels.items() if name not in OWN}
    assert added == {"csm": "ann", "modules": "crm, billing", "seats": "40"}


def test_an_account_without_a_profile_has_no_more_labels() -> None:
    scenario = Scenario(RULE + LABELS)
    scenario.use(0, 10)
    scenario.pass_to(2)
    alerts = [alert for alert in scenario.drive.alerts if alert.rule == "busy"]
    assert alerts
    assert set(alerts[-1].labels) <= OWN


def test_the_digest_of_a_policy_without_labels_is_what_it_was() -> None:
    text = POLICY.format(rules=RULE, window="1d")
    assert parse_policy(text).digest == parse_policy(text + "\n[labels]\n").digest
    assert parse_policy(text).digest != parse_policy(text + "\n" + LABELS).digest

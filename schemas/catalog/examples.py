"""One example of each record, as it is on the wire.

Owns the examples of schemas; tests validate and decode each of them. Called by `schemas.catalog.records`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from schemas.sources import Source
from schemas.topics import ALERTS, CHANGES, ROLLUPS, SCORE_ROWS, SCORES, SHADOW

Json = dict[str, Any]

_AT: Final = 1795321984437
_POLICY: Final = "template@56be943139eb24a4"
_OF_EVENT: Final[Json] = {"id": "e1", "account_id": "acme", "time": _AT}
_FACTOR: Final[Json] = {
    "measure": "support_tickets",
    "value": 8.0,
    "points": 20.0,
    "weight": 1.0,
    "contribution": 20.0,
}
_SCORES: Final[Json] = {
    "account_id": "acme",
    "as_of": _AT,
    "revision": 498715,
    "policy": _POLICY,
    "segment": "mid-market",
    "scores": {"health": {"value": 20.0, "band": "at-risk", "factors": [_FACTOR]}},
}
_CHANGE: Final[Json] = {
    "id": "854c9c2b6a6d342a06a7040e954e98b2",
    "account_id": "acme",
    "time": _AT,
    "score": "health",
    "from": 60.0,
    "to": 20.0,
    "band_from": "attention",
    "band_to": "at-risk",
    "cause": "event",
    "factors": [{"measure": "support_tickets", "before": 60.0, "after": 20.0, "delta": -40.0}],
    "policy": _POLICY,
    "revision": 498715,
}
_ALERT: Final[Json] = {
    "id": "ff8d7b0c4e895362d0e1404fe06fb7893",
    "fingerprint": "6f1f2de9c97b63af",
    "account_id": "acme",
    "rule": "band:health:at-risk",
    "severity": "critical",
    "status": "firing",
    "starts_at": _AT,
    "score": 20.0,
    "band": "at-risk",
    "summary": "Acme is at-risk: health 20.0 (support tickets -40.0)",
    "labels": {"account_id": "acme", "rule": "band:health:at-risk", "severity": "critical", "score": "health"},
    "annotations": {"reason": "support tickets -40.0", "account": "Acme"},
    "fall": {
        "since": 1795235584438,
        "from": 60.0,
        "to": 20.0,
        "factors": [{"measure": "support_tickets", "delta": -40.0}],
    },
}
_ROLLUP: Final[Json] = {
    "account_id": "acme-group",
    "as_of": _AT,
    "children": 1,
    "scores": {
        "health": {
            "mean": 20.0,
            "worst": 20.0,
            "worst_account": "acme",
            "worst_band": "at-risk",
            "weighted": None,
            "children": 1,
            "bands": {"at-risk": 1},
        }
    },
}
_NO_OVERRIDE: Final[Json] = dict.fromkeys(f"override_{field}" for field in ("reason", "since", "expires_at", "score"))
_ROW: Final[Json] = {
    "change_id": "854c9c2b6a6d342a06a7040e954e98b2",
    "factor_number": 0,
    "account_id": "acme",
    "changed_at": _AT,
    "score": "health",
    "score_from": 60.0,
    "score_to": 20.0,
    "band_from": "attention",
    "band_to": "at-risk",
    "cause": "event",
    "measure": "support_tickets",
    "points_before": 60.0,
    "points_after": 20.0,
    "points_delta": -40.0,
    "policy": _POLICY,
    "revision": 498715,
    "catching_up": False,
    "state": None,
    "state_from": None,
    **_NO_OVERRIDE,
    "override_band": None,
    "override_by": None,
}
OUTPUT_EXAMPLES: Final[Mapping[str, Json]] = MappingProxyType(
    {
        SCORES: _SCORES,
        CHANGES: _CHANGE,
        ALERTS: _ALERT,
        SHADOW: {**_SCORES, "alerts": ["band:health:at-risk"]},
        ROLLUPS: _ROLLUP,
        SCORE_ROWS.name: _ROW,
    }
)
_INPUT_EXAMPLES: Final[Mapping[str, Json]] = MappingProxyType(
    {
        "product-usage": {"user_id": "u7", "feature": "reports", "action": "opened", "count": 3},
        "support-tickets": {"ticket_id": "T2", "status": "opened", "priority": "urgent"},
        "surveys": {"kind": "nps", "score": 9, "user_id": "u7"},
        "billing": {"kind": "invoice_paid", "amount": 1200.5, "currency": "EUR", "days_late": 3},
        "engagement": {"kind": "webinar", "user_id": "u7", "role": "admin"},
        "controls": {"kind": "pulse", "value": 70, "by": "kim"},
        "signals": {"name": "credit_rating", "value": 3},
        "accounts": {
            "name": "Acme",
            "segment": "mid-market",
            "arr": 48000,
            "renewal_at": "2027-03-01T00:00:00Z",
            "region": "emea",
        },
    }
)
_SAMPLES: Final = {"number": 1.5, "text": "value", "flag": True}


def input_example(source: Source) -> Json:
    """A record of a source; of one that a policy adds with a value for each field."""
    fields = _INPUT_EXAMPLES.get(source.name)
    if fields is None:
        flags = set(source.flags)
        texts = {field: _SAMPLES["flag" if field in flags else "text"] for field in source.texts}
        fields = texts | dict.fromkeys(source.numbers, _SAMPLES["number"])
    return {**_OF_EVENT, **fields}

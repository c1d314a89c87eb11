"""Synthetic records in the form in which workers publish them.

Called by the tests of this folder that need no worker.
"""

from __future__ import annotations

DAY_MS = 86_400_000
NOW_MS = 1_795_305_600_000
"""2026-11-22 00:00 UTC."""
POLICY = "synthetic@0123456789abcdef"
Record = tuple[str, str, dict | None, int]


def band_of(value: float) -> str:
    """The template's bands."""
    return "healthy" if value >= 70 else "attention" if value >= 40 else "at-risk"


def factors_of(value: float) -> list[dict]:
    """Two measures of equal weight, one of them always at 100 points or at 0."""
    tickets = 100.0 if value >= 50 else 0.0
    usage = 2 * value - tickets
    return [
        {"measure": name, "value": points / 10, "points": points, "weight": 0.5, "contribution": points / 2}
        for name, points in (("product_usage", usage), ("support_tickets", tickets))
    ]


def score(account: str, value: float, *, as_of: int = NOW_MS, revision: int = 1, **more: object) -> Record:
    """A message of `health.scores`; `more` are further fields of it."""
    scored = {"value": value, "band": band_of(value), "factors": factors_of(value)}
    message = {
        "account_id": account,
        "as_of": as_of,
        "revision": revision,
        "policy": POLICY,
        "segment": "mid-market",
        "scores": {"health": scored},
        **more,
    }
    return "health.scores", account, message, as_of


def change(account: str, before: float, after: float, *, time: int, revision: int = 1, policy: str = POLICY) -> Record:
    """A message of `health.score-changes`."""
    pairs = zip(factors_of(before), factors_of(after), strict=True)
    message = {
        "id": f"{account}-{time}",
        "account_id": account,
        "time": time,
        "score": "health",
        "from": before,
        "to": after,
        "band_from": band_of(before),
        "band_to": band_of(after),
        "cause": "event",
        "factors": [
            {
                "measure": old["measure"],
                "before": old["contribution"],
                "after": new["contribution"],
                "delta": new["contribution"] - old["contribution"],
            }
            for old, new in pairs
        ],
        "policy": policy,
        "revision": revision,
    }
    return "health.score-changes", account, message, time


def profile(account: str, name: str, **fields: object) -> Record:
    """An event of `accounts`."""
    message = {"id": f"p-{account}", "account_id": account, "time": NOW_MS - 90 * DAY_MS, "name": name, **fields}
    return "accounts", account, message, NOW_MS - 90 * DAY_MS


def alert(account: str, name: str, value: float, *, starts_at: int, **more: object) -> Record:
    """A firing alert of the band that the value is in."""
    rule = f"band:health:{band_of(value)}"
    message = {
        "id": f"f-{account}-{starts_at}",
        "fingerprint": f"{abs(hash((account, rule))):016x}"[:16],
        "account_id": account,
        "rule": rule,
        "severity": "critical" if value < 40 else "warning",
        "status": "firing",
        "starts_at": starts_at,
        "score": value,
        "band": band_of(value),
        "summary": f"{name} is {band_of(value)}: health {value}",
        "labels": {"account_id": account, "rule": rule},
        "annotations": {"reason": "support tickets -8.0", "account": name, "actions": "call the champion"},
        **more,
    }
    return "health.alerts", account, message, starts_at

"""Band alerts: one open episode an account, from entering a marked band to leaving it.

Owns the transition and the message. Episodes survive restarts because the engine keeps `alert_band` and `alert_ms` in
the account's row. Pure; called by `stream.publishing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from schemas.outputs import Alert, FactorChange
from stream.policy import Band

NO_BAND = -1


def wanted_alerts(bands: NDArray[np.int8], policy_bands: Sequence[Band]) -> NDArray[np.int8]:
    """The band whose alert should be firing for accounts in `bands`, or -1; int8, same shape."""
    table = np.array([at if band.alert else NO_BAND for at, band in enumerate(policy_bands)], dtype=np.int8)
    return table[bands]


def fingerprint(account: str, rule: str) -> str:
    """The same for every episode of a rule on an account: 16 hex digits."""
    return xxhash.xxh3_64_hexdigest(f"{len(account)}:{account}{rule}".encode())


class Moment(NamedTuple):
    """What there is to say of an account whose score was computed: what was said last, what is true now, and why.

    `band_from` is -1 when nothing was said yet; `time_ms` is since when the score holds; `identity` is a hash of all
    that the message follows from.
    """

    row: int
    account: str
    key: bytes
    from_: float
    score: float
    band_from: int
    band: int
    time_ms: int
    revision: int
    factors: list[FactorChange]
    identity: str


def band_alert(
    identity: str, now: Moment, name: str, *, of: Band, band: Band, started_ms: int | None, reason: str
) -> Alert:
    """The message that fires (`started_ms` None: it starts now) or resolves the alert of band `of`.

    `name` is what people call the account, `band` the one it is in now, `reason` what moved it, in words.
    """
    rule, severity = f"band:{of.name}", of.alert or "info"
    fires = started_ms is None
    what = f"is {band.name}" if fires else f"left {of.name}, is {band.name}"
    return Alert(
        id=identity,
        fingerprint=fingerprint(now.account, rule),
        account_id=now.account,
        rule=rule,
        severity=severity,
        status="firing" if fires else "resolved",
        starts_at=now.time_ms if started_ms is None else started_ms,
        score=now.score,
        band=band.name,
        summary=f"{name} {what}: health {now.score:.1f}" + (f" ({reason})" if reason else ""),
        labels={"account_id": now.account, "rule": rule, "severity": severity, "band": band.name},
        annotations={"reason": reason, "account": name},
        ends_at=None if fires else now.time_ms,
    )

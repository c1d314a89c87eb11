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

from schemas.outputs import Alert
from stream.policy import Band

NO_BAND = -1


def alert_table(bands: Sequence[Band]) -> NDArray[np.int8]:
    """By band of a score: the band whose alert should be firing then, or -1; int8 (bands,)."""
    return np.array([at if band.alert else NO_BAND for at, band in enumerate(bands)], dtype=np.int8)


def fingerprint(account: str, rule: str) -> str:
    """The same for every episode of a rule on an account: 16 hex digits."""
    return xxhash.xxh3_64_hexdigest(f"{len(account)}:{account}{rule}".encode())


class Turn(NamedTuple):
    """An account whose alert turns: who it is (`name` is what people call it), the score that turns it, and why."""

    account: str
    name: str
    of_score: str
    score: float
    band: Band
    time_ms: int
    reason: str


def band_alert(identity: str, turn: Turn, *, of: Band, started_ms: int | None) -> Alert:
    """The message that fires (`started_ms` None: it starts now) or resolves the alert of band `of`."""
    rule, severity = f"band:{turn.of_score}:{of.name}", of.alert or "info"
    fires = started_ms is None
    what = f"is {turn.band.name}" if fires else f"left {of.name}, is {turn.band.name}"
    return Alert(
        id=identity,
        fingerprint=fingerprint(turn.account, rule),
        account_id=turn.account,
        rule=rule,
        severity=severity,
        status="firing" if fires else "resolved",
        starts_at=turn.time_ms if started_ms is None else started_ms,
        score=turn.score,
        band=turn.band.name,
        summary=f"{turn.name} {what}: {turn.of_score} {turn.score:.1f}" + (f" ({turn.reason})" if turn.reason else ""),
        labels={
            "account_id": turn.account,
            "rule": rule,
            "severity": severity,
            "score": turn.of_score,
            "band": turn.band.name,
        },
        annotations={"reason": turn.reason, "account": turn.name, **_playbook(of)},
        ends_at=None if fires else turn.time_ms,
    )


def _playbook(band: Band) -> dict[str, str]:
    """Who does what about a band, where the policy says so."""
    found = {"actions": "; ".join(band.actions), "owner": band.owner or ""}
    return {name: text for name, text in found.items() if text}

"""What a replay of files gives: the scores of all accounts, and the explanation of one account.

Owns which moment scores name, and what an explanation over files has beyond that of a score record: what moved the
score, and the forecast. Called by the commands and by `account_vitals`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from agents.files.replay import Replay, Watch
from schemas.events import PROFILE_SOURCE
from schemas.outputs import ScoreChange, ScoreMessage, ScoreValue
from stream.columns.columns import Rows
from stream.columns.panes import UNIT_MS
from stream.engine.engine import Engine
from stream.explain.explain import Explanation, explain_message
from stream.explain.forecast import forecast
from stream.explain.selector import SelectedScore
from stream.explain.since import moved_since


class NoScoreError(LookupError):
    """An account without any event up to the moment."""


class SinceError(ValueError):
    """The earlier moment is after the moment of the score."""


def score_messages(engine: Engine, rows: Rows | None = None) -> list[ScoreMessage]:
    """The score messages of `rows` (None: of every account that has had an event), as of now, sorted by account."""
    messages = [msgspec.json.decode(message.value, type=ScoreMessage) for message in engine.current(rows).scores]
    for message in messages:
        # A worker's record has the account's last event or the last window boundary; here a moment was asked for.
        message.as_of = engine.time.current_ms()
    return sorted(messages, key=lambda message: message.account_id)


class Unlisted(NamedTuple):
    """How many accounts of the files have no score as of the moment, by the reason."""

    without_event: int
    """They have a profile, and no event up to the moment."""
    later: int
    """All that they have is later than the moment."""


def unlisted(replay: Replay) -> Unlisted:
    """Count the accounts that the scores of a replay leave out because they have had no event."""
    accounts, now_ms, records = replay.engine.accounts, replay.engine.time.as_of_ms, replay.records
    if now_ms is None:
        later = {timed.event.account_id for timed in records if timed.source != PROFILE_SOURCE}
        return Unlisted(len({event.account_id for event in records.events} - later), len(later))
    without_event = sum(not accounts.applied[row] and row not in accounts.merges for row in accounts.profiles)
    later = {event.account_id for event in records.events[records.count_until(now_ms) :]}
    return Unlisted(without_event, len(later.difference(accounts.index.names)))


@dataclass(frozen=True, slots=True)
class Question:
    """Why an account has its score: what moved it since a time (epoch ms or None), and a forecast of so many days.

    A replay that `watch` watches answers it.
    """

    account: str
    selected: SelectedScore
    since_ms: int | None
    days: int
    _earlier: list[ScoreValue | None] = field(default_factory=list)

    def watch(self) -> Watch | None:
        """What a replay has to look at on its way; None: nothing."""
        if self.since_ms is None:
            return None
        moment_ms = self.since_ms
        return Watch(lambda _first, _end: [moment_ms], self._look)

    def answer(self, replay: Replay) -> Explanation:
        """The explanation, after the replay. Raises NoScoreError and SinceError."""
        engine, account, selected = replay.engine, self.account, self.selected
        message = _score_of(engine, account)
        if message is None:
            raise NoScoreError(f"no score for account {account!r}: check its id, and that it has an event")
        explanation = explain_message(message, engine.plan, selected, _readings(engine, account))
        if explanation.value is None:
            return explanation
        if self.since_ms is not None:
            if not self._earlier:
                raise SinceError("since is after the time of the score: give an earlier since or a later as-of")
            changes = [msgspec.json.decode(change.value, type=ScoreChange) for change in replay.changes_of(account)]
            own = [change for change in changes if change.score == selected.name]
            explanation.since = moved_since(self.since_ms, self._earlier[0], message.scores[selected.name], own)
        rows = engine.accounts.index.rows([account])
        (explanation.ahead,) = forecast(engine, rows, selected, self.days * UNIT_MS["day"])
        return explanation

    def _look(self, _moment: int, engine: Engine) -> None:
        message = _score_of(engine, self.account)
        self._earlier.append(None if message is None else message.scores[self.selected.name])


def _score_of(engine: Engine, account: str) -> ScoreMessage | None:
    alive, names = engine.accounts.alive(), engine.accounts.index.names
    rows = alive[[names[row] == account for row in alive.tolist()]]
    return next(iter(score_messages(engine, rows)), None)


def _readings(engine: Engine, account: str) -> dict[str, float | None]:
    """The value of every measure, also of those that only exceptions use."""
    values = engine.score(engine.accounts.index.rows([account])).values[0].tolist()
    names = [measure_plan.measure.name for measure_plan in engine.plan.measures]
    return {name: None if value != value else value for name, value in zip(names, values, strict=False)}  # noqa: PLR0124

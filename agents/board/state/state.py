"""What the board knows: the latest of every account, its line, what moved it, its alerts.

Owns the reading of output records into memory, whose bounds are stated where they are set. Knows no broker and no
clock. Touched by the event loop alone: fed by `agents.board.state.reader`, read by everything that answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from agents.board.state.alerts import Episodes, key_of
from agents.board.state.change_history import ChangeHistory, NameTables
from agents.board.state.series import NO_BAND, Point, Series
from agents.board.views.types import ShortScore
from schemas.codecs import instant_ms
from schemas.events import PROFILE_SOURCE, ProfileEvent
from schemas.outputs import Alert, Override, RollupMessage, ScoreChange, ScoreMessage, ShadowMessage
from schemas.topics import ALERTS, CHANGES, ROLLUPS, SCORES, SHADOW

TOPICS = (SCORES, PROFILE_SOURCE, ALERTS, CHANGES, ROLLUPS, SHADOW)
"""What a board reads; the last two may lack."""
OPTIONAL = frozenset({ROLLUPS, SHADOW})
CHANGES_IN_ALL = 1_000_000
MOST_CHANGES, FEWEST_CHANGES = 200, 20
"""An account keeps so many changes a score: `CHANGES_IN_ALL` shared among all, within these limits."""
MOST_UNSCORED = 100_000
"""Accounts whose changes were read before their score."""

OnChange = Callable[[str], None]
"""Is told the key of what changed: see `account_key`, `alert_key`."""


def account_key(account: str) -> str:
    """What the stream calls an account."""
    return f"a{account}"


def alert_key(alert: Alert) -> str:
    """What the stream calls an episode: its account, fingerprint and partition."""
    fingerprint, partition = key_of(alert)
    return f"e{fingerprint}/{partition}/{alert.account_id}"


class CurrentScore:
    """One score as it stands."""

    __slots__ = ("band", "confidence", "value")

    def __init__(self, value: float, band: str, confidence: float) -> None:
        """Keep."""
        self.value, self.band, self.confidence = value, band, confidence


class Account:
    """One account that has a score. `raw` is its latest record of `health.scores` as it came."""

    __slots__ = (
        "account_id",
        "as_of",
        "catching_up",
        "histories",
        "override",
        "parent_id",
        "policy",
        "raw",
        "revision",
        "scores",
        "segment",
        "series",
        "stalled",
    )

    def __init__(self, account_id: str) -> None:
        """Empty, until a message is taken."""
        self.account_id = account_id
        self.as_of = 0
        self.revision = -1
        self.policy = ""
        self.segment: str | None = None
        self.parent_id: str | None = None
        self.catching_up = False
        self.stalled: tuple[str, ...] = ()
        self.override: Override | None = None
        self.scores: dict[str, CurrentScore] = {}
        self.raw = b""
        self.series: dict[str, Series] = {}
        self.histories: dict[str, ChangeHistory] = {}

    def update(self, message: ScoreMessage, raw: bytes) -> None:
        """The account's latest score."""
        self.as_of, self.revision, self.policy = message.as_of, message.revision, message.policy
        self.segment, self.parent_id = message.segment, message.parent_id
        self.catching_up, self.override = message.catching_up, message.override
        self.stalled = tuple(message.stalled_sources or ())
        self.scores = {
            name: CurrentScore(score.value, score.band, 1.0 if score.confidence is None else score.confidence)
            for name, score in message.scores.items()
        }
        self.raw = raw

    def message(self) -> ScoreMessage:
        """The latest record of `health.scores`."""
        return _scores.decode(self.raw)


class Shadow:
    """What a candidate policy says of an account."""

    __slots__ = ("alerts", "as_of", "policy", "scores")

    def __init__(self, message: ShadowMessage) -> None:
        """Keep what is compared."""
        self.as_of, self.policy = message.as_of, message.policy
        self.scores = {name: ShortScore(score.value, score.band) for name, score in message.scores.items()}
        self.alerts = tuple(message.alerts)


_scores = msgspec.json.Decoder(ScoreMessage)
_changes = msgspec.json.Decoder(ScoreChange)
_alerts = msgspec.json.Decoder(Alert)
_profiles = msgspec.json.Decoder(ProfileEvent)
_rollups = msgspec.json.Decoder(RollupMessage)
_shadows = msgspec.json.Decoder(ShadowMessage)


class State:
    """Everything that was read; `take` a record at a time, in the order of each partition."""

    def __init__(self, policy: str = "", scores: Sequence[str] = ()) -> None:
        """Empty. `scores` are the names of the board's own `policy` (its label), in its order."""
        self._own, self._own_scores = policy, tuple(scores)
        self._policies: set[str] = set()
        self.accounts: dict[str, Account] = {}
        self.profiles: dict[str, ProfileEvent] = {}
        self.children: dict[str, set[str]] = {}
        self.rollups: dict[str, RollupMessage] = {}
        self.shadows: dict[str, Shadow] = {}
        self.episodes = Episodes()
        self.tables = NameTables()
        self.unreadable: Counter[str] = Counter()
        """Records that are not what this version publishes, by topic."""
        self.time = 0
        """The newest `as_of` of any account, epoch ms."""
        self.version = 0
        """Grows whenever something changed."""
        self.on_change: OnChange = _ignore
        self._bands: dict[str, dict[str, tuple[float, int]]] = {}
        self._unscored: dict[str, dict[str, tuple[Series, ChangeHistory]]] = {}
        self._apply_by_topic: Mapping[str, Callable[[str, bytes | None], None]] = MappingProxyType(
            {
                SCORES: self._score,
                CHANGES: self._change,
                ALERTS: self._alert,
                PROFILE_SOURCE: self._profile,
                ROLLUPS: self._rollup,
                SHADOW: self._shadow,
            }
        )

    def apply(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Take in one record; what can not be read is counted and left out."""
        try:
            self._apply_by_topic[topic]((key or b"").decode(), value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.unreadable[topic] += 1
        else:
            self.version += 1

    def drop_unscored(self) -> None:
        """All topics were read to their end: what belongs to accounts without a score (erased ones) is dropped."""
        self._unscored.clear()
        for account in self.episodes.accounts() - self.accounts.keys() - {""}:
            self.episodes.forget(account)

    def score_names(self) -> list[str]:
        """Every score: those of the board's own policy, while it is in force or nothing is scored yet, then others."""
        own = self._own_scores if not self.accounts or self._own in self._policies else ()
        return [*own, *(name for name in self._bands if name not in own)]

    def bands(self, score: str) -> list[str]:
        """The bands of a score that were seen, best first: by the mean of the scores in them."""
        known = self._bands.get(score, {})
        return sorted(known, key=lambda band: (-known[band][0] / known[band][1], band))

    def profile_name(self, account: str) -> str | None:
        """What people call an account, if a profile says it."""
        profile = self.profiles.get(account)
        return None if profile is None else profile.name

    def owner(self, account: str) -> str:
        """Whose account it is, empty where no profile says it."""
        profile = self.profiles.get(account)
        return "" if profile is None else profile.owner or ""

    def changes_limit(self) -> int:
        """How many changes a score of an account keeps."""
        shares = max(len(self.accounts) * max(len(self._bands), 1), 1)
        return min(max(CHANGES_IN_ALL // shares, FEWEST_CHANGES), MOST_CHANGES)

    def _score(self, key: str, value: bytes | None) -> None:
        if value is None:
            self._forget(key)
            return
        message = _scores.decode(value)
        account = self.accounts.get(key)
        if account is None:
            account = self.accounts[key] = Account(key)
            for name, (series, history) in self._unscored.pop(key, {}).items():
                account.series[name], account.histories[name] = series, history
        elif account.parent_id != message.parent_id:
            self._remove_from_parent(account)
        account.update(message, value)
        self._policies.add(message.policy)
        if message.parent_id is not None and message.parent_id != key:
            self.children.setdefault(message.parent_id, set()).add(key)
        for name, score in message.scores.items():
            self._add_to_band(name, score.band, score.value)
        self.time = max(self.time, message.as_of)
        self.on_change(account_key(key))

    def _forget(self, key: str) -> None:
        account = self.accounts.pop(key, None)
        self._unscored.pop(key, None)
        if account is not None:
            self._remove_from_parent(account)
            self.episodes.forget(key)
            self.on_change(account_key(key))

    def _remove_from_parent(self, account: Account) -> None:
        """The account is no longer a child of its parent."""
        siblings = self.children.get(account.parent_id or "")
        if siblings is not None and account.parent_id is not None:
            siblings.discard(account.account_id)
            if not siblings:
                del self.children[account.parent_id]

    def _change(self, _key: str, value: bytes | None) -> None:
        if value is None:
            return
        change = _changes.decode(value)
        series, history = self._series_and_history(change.account_id, change.score)
        replaced = history.add(change, self.tables, self.changes_limit())
        if replaced is None:
            return
        if replaced:
            series.pop(replaced)
        if not len(series) and change.band_from is not None and series.before_band == NO_BAND:
            series.before, series.before_band = change.from_, self.tables.bands.number(change.band_from)
        band, policy = self.tables.bands.number(change.band_to), self.tables.policies.number(change.policy)
        series.append(Point(change.time, change.to, band, policy))
        self._add_to_band(change.score, change.band_to, change.to)
        if change.account_id in self.accounts:
            self.on_change(account_key(change.account_id))

    def _series_and_history(self, key: str, score: str) -> tuple[Series, ChangeHistory]:
        """Of an account without a score yet they are kept until its score comes, which is another topic's record."""
        account = self.accounts.get(key)
        if account is None:
            early = self._unscored.setdefault(key, {})
            if len(self._unscored) > MOST_UNSCORED:
                del self._unscored[next(iter(self._unscored))]
            if score not in early:
                early[score] = (Series(), ChangeHistory())
            return early[score]
        if score not in account.histories:
            account.series[score], account.histories[score] = Series(), ChangeHistory()
        return account.series[score], account.histories[score]

    def _add_to_band(self, score: str, band: str, value: float) -> None:
        known = self._bands.setdefault(score, {})
        total, count = known.get(band, (0.0, 0))
        known[band] = (total + value, count + 1)

    def _alert(self, _key: str, value: bytes | None) -> None:
        if value is None:
            return
        alert = _alerts.decode(value)
        if self.episodes.add(alert):
            self.on_change(alert_key(alert))
            if alert.account_id in self.accounts:
                self.on_change(account_key(alert.account_id))

    def _profile(self, key: str, value: bytes | None) -> None:
        if value is None:
            self.profiles.pop(key, None)
        else:
            profile = _profiles.decode(value)
            key = profile.account_id
            known = self.profiles.get(key)
            if known is not None and instant_ms(known.time) > instant_ms(profile.time):
                return
            self.profiles[key] = profile
        if key in self.accounts:
            self.on_change(account_key(key))

    def _rollup(self, key: str, value: bytes | None) -> None:
        if value is None:
            self.rollups.pop(key, None)
        else:
            self.rollups[key] = _rollups.decode(value)

    def _shadow(self, key: str, value: bytes | None) -> None:
        if value is None:
            self.shadows.pop(key, None)
        else:
            self.shadows[key] = Shadow(_shadows.decode(value))


def _ignore(_key: str) -> None:
    """Nobody listens."""

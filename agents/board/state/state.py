"""The state of a board: the latest score of every account, its series, its changes, its alerts.

Owns the decoding of output records into memory; each bound of memory is a constant with its size. Knows no broker and
no clock. Only the event loop uses it: `agents.board.state.reader` applies records, views read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from agents.board.state.alerts import Episodes, key_of
from agents.board.state.change_history import ChangeHistory, NameTables
from agents.board.state.series import NO_BAND, Point, Series
from agents.board.views.types import ShortScore
from schemas.events import PROFILE_SOURCE, ProfileEvent
from schemas.outputs import Alert, Override, RollupMessage, ScoreChange, ScoreMessage, ShadowMessage
from schemas.outputs import State as Status
from schemas.profiles import merge
from schemas.records import UnreadableError, read_key, read_message
from schemas.topics import ALERTS, CHANGES, ROLLUPS, SCORES, SHADOW

TOPICS = (SCORES, PROFILE_SOURCE, ALERTS, CHANGES, ROLLUPS, SHADOW)
"""Topics that a board reads; the last two may be missing."""
OPTIONAL = frozenset({ROLLUPS, SHADOW})
CHANGES_IN_ALL = 1_000_000
MOST_CHANGES, FEWEST_CHANGES = 200, 20
"""Changes in a history: `CHANGES_IN_ALL` shared by all histories, within these limits."""
MOST_UNSCORED = 100_000
"""Accounts whose changes were read before their score, at most."""

OnChange = Callable[[str], None]
"""Called with the key of what changed: see `account_key` and `alert_key`."""


def account_key(account: str) -> str:
    """The key of an account in the journal."""
    return f"a{account}"


def alert_key(alert: Alert) -> str:
    """The key of an episode in the journal: fingerprint, partition and account."""
    fingerprint, partition = key_of(alert)
    return f"e{fingerprint}/{partition}/{alert.account_id}"


class CurrentScore:
    """The latest value of one score."""

    __slots__ = ("band", "confidence", "shown", "value")

    def __init__(self, value: float, band: str, confidence: float, shown: str | None) -> None:
        """Store the values."""
        self.value, self.band, self.confidence, self.shown = value, band, confidence, shown


class Account:
    """One account of `health.scores`. `raw` is its latest record, not decoded.

    `scores` has those with a value: without data, and after its end, an account has none, and counts in no figure.
    """

    __slots__ = (
        "account_id",
        "as_of",
        "catching_up",
        "ended_at",
        "histories",
        "last_event_at",
        "merged_into",
        "new_until",
        "override",
        "parent_id",
        "partition",
        "policy",
        "raw",
        "revision",
        "scores",
        "segment",
        "series",
        "stalled",
        "status",
    )

    def __init__(self, account_id: str) -> None:
        """Create an account without scores; `update` sets them."""
        self.account_id = account_id
        self.as_of = 0
        self.revision = -1
        self.partition = 0
        self.policy = ""
        self.segment: str | None = None
        self.parent_id: str | None = None
        self.catching_up = False
        self.stalled: tuple[str, ...] = ()
        self.override: Override | None = None
        self.new_until: int | None = None
        self.status: Status | None = None
        self.ended_at: int | None = None
        self.last_event_at: int | None = None
        self.merged_into: str | None = None
        self.scores: dict[str, CurrentScore] = {}
        self.raw = b""
        self.series: dict[str, Series] = {}
        self.histories: dict[str, ChangeHistory] = {}

    def update(self, message: ScoreMessage, raw: bytes) -> None:
        """Apply the latest record of `health.scores`."""
        self.as_of, self.revision, self.policy = message.as_of, message.revision, message.policy
        self.segment, self.parent_id = message.segment, message.parent_id
        self.catching_up, self.override, self.new_until = message.catching_up, message.override, message.new_until
        self.stalled = tuple(message.stalled_sources or ())
        self.status, self.ended_at, self.last_event_at = message.state, message.ended_at, message.last_event_at
        self.merged_into = message.merged_into
        self.scores = {
            name: CurrentScore(
                score.value, score.band, 1.0 if score.confidence is None else score.confidence, score.shown
            )
            for name, score in message.scores.items()
            if score.value is not None and score.band is not None
        }
        self.raw = raw

    def message(self) -> ScoreMessage:
        """The latest record of `health.scores`."""
        return read_message(ScoreMessage, self.raw)


class Shadow:
    """The scores and alerts of an account by a candidate policy."""

    __slots__ = ("alerts", "as_of", "policy", "scores")

    def __init__(self, message: ShadowMessage) -> None:
        """Store what is compared with the live policy."""
        self.as_of, self.policy = message.as_of, message.policy
        self.scores = {
            name: ShortScore(score.value, score.band)
            for name, score in message.scores.items()
            if score.value is not None and score.band is not None
        }
        self.alerts = tuple(message.alerts)


class State:
    """Everything that was read. Call `apply` with each record, in the order of each partition."""

    def __init__(self, policy: str = "", bands: Mapping[str, Sequence[str]] = MappingProxyType({})) -> None:
        """Create an empty state. `policy` is the label of the board's own policy.

        `bands` has its scores in order, and the bands of each, best first.
        """
        self._own, self._own_bands = policy, bands
        self._policies: set[str] = set()
        self.accounts: dict[str, Account] = {}
        self.profiles: dict[str, ProfileEvent] = {}
        self.children: dict[str, set[str]] = {}
        self.rollups: dict[str, RollupMessage] = {}
        self.shadows: dict[str, Shadow] = {}
        self.episodes = Episodes()
        self.tables = NameTables()
        self.unreadable: Counter[str] = Counter()
        """Records that could not be decoded, by topic."""
        self.older = 0
        """Records of `health.scores` that are older than the one the account has, by revision."""
        self.time = 0
        """The newest `as_of` of any account, epoch ms."""
        self.version = 0
        """Grows with every record."""
        self.on_change: OnChange = _ignore
        self._bands: dict[str, dict[str, tuple[float, int]]] = {}
        self._unscored: dict[str, dict[str, tuple[Series, ChangeHistory]]] = {}
        self._all_read = False
        self._apply_by_topic: Mapping[str, Callable[[bytes | None, bytes | None], None]] = MappingProxyType(
            {
                CHANGES: self._change,
                ALERTS: self._alert,
                PROFILE_SOURCE: self._profile,
                ROLLUPS: self._rollup,
                SHADOW: self._shadow,
            }
        )

    def apply(self, topic: str, key: bytes | None, value: bytes | None, partition: int = 0) -> None:
        """Apply one record. A record that cannot be decoded is counted and skipped."""
        try:
            if topic == SCORES:
                self._score(key, value, partition)
            else:
                self._apply_by_topic[topic](key, value)
        except UnreadableError:
            self.unreadable[topic] += 1
        else:
            self.version += 1

    def drop_unscored(self) -> None:
        """Drop changes and alerts of accounts without a score, which were erased. Call it when all topics are read."""
        self._all_read = True
        self._unscored.clear()
        for account in self.episodes.accounts() - self.accounts.keys() - {""}:
            self.episodes.drop(account)

    def score_names(self) -> list[str]:
        """Every score, first those of the board's own policy if accounts are scored by it or none has a score yet."""
        own = self._own_bands if not self.accounts or self._own in self._policies else ()
        return [*own, *(name for name in self._bands if name not in own)]

    def bands(self, score: str) -> list[str]:
        """The bands of a score, best first: those of the board's own policy if accounts are scored by it.

        Of other policies, those that were read, in the order of the mean score in them.
        """
        own = self._own_bands.get(score, ()) if self._own in self._policies else ()
        sums = self._bands.get(score, {})
        others = [band for band in sums if band not in own]
        return [*own, *sorted(others, key=lambda band: (-sums[band][0] / sums[band][1], band))]

    def scored(self) -> Iterator[Account]:
        """Accounts with a score: not those that have ended or have no data."""
        return (account for account in self.accounts.values() if account.scores)

    def account_of(self, key: str) -> Account | None:
        """The account with an id, or the one whose profile has the id as an alias."""
        account = self.accounts.get(key)
        if account is None:
            owners = (name for name, profile in self.profiles.items() if profile.aliases and key in profile.aliases)
            account = next((self.accounts[name] for name in owners if name in self.accounts), None)
        return account

    def profile_name(self, account: str) -> str | None:
        """The name of an account, if its profile has one."""
        profile = self.profiles.get(account)
        return None if profile is None else profile.name

    def owner(self, account: str) -> str:
        """The owner of an account, empty if its profile has none."""
        profile = self.profiles.get(account)
        return "" if profile is None else profile.owner or ""

    def changes_limit(self) -> int:
        """The present limit of changes in a history."""
        shares = max(len(self.accounts) * max(len(self._bands), 1), 1)
        return min(max(CHANGES_IN_ALL // shares, FEWEST_CHANGES), MOST_CHANGES)

    def _score(self, record_key: bytes | None, value: bytes | None, partition: int) -> None:
        key = read_key(record_key)
        account = self.accounts.get(key)
        if value is None:
            if account is None or account.partition == partition:  # else another partition has the account now
                self._drop_account(key)
            return
        message = read_message(ScoreMessage, value)
        if account is not None and message.revision < account.revision:
            self.older += 1  # after a repartition, another partition can have it
            return
        if account is None:
            account = self.accounts[key] = Account(key)
            for name, (series, history) in self._unscored.pop(key, {}).items():
                account.series[name], account.histories[name] = series, history
        elif account.parent_id != message.parent_id:
            self._remove_from_parent(account)
        account.update(message, value)
        account.partition = partition
        self._policies.add(message.policy)
        if message.parent_id is not None and message.parent_id != key:
            self.children.setdefault(message.parent_id, set()).add(key)
        for name, score in account.scores.items():
            self._add_to_band(name, score.band, score.value)
        self.time = max(self.time, message.as_of)
        self.on_change(account_key(key))

    def _drop_account(self, key: str) -> None:
        account = self.accounts.pop(key, None)
        self._unscored.pop(key, None)
        self.profiles.pop(key, None)
        if account is not None:
            self._remove_from_parent(account)
            self.episodes.drop(key)
            self.on_change(account_key(key))

    def _remove_from_parent(self, account: Account) -> None:
        """Remove the account from the children of its parent."""
        siblings = self.children.get(account.parent_id or "")
        if siblings is not None and account.parent_id is not None:
            siblings.discard(account.account_id)
            if not siblings:
                del self.children[account.parent_id]

    def _change(self, _key: bytes | None, value: bytes | None) -> None:
        if value is None:
            return
        change = read_message(ScoreChange, value)
        series, history = self._series_and_history(change.account_id, change.score)
        replaced = history.add(change, self.tables, self.changes_limit())
        if replaced is None:
            return
        if replaced:
            series.pop(replaced)
        if not len(series) and change.band_from is not None and series.before_band == NO_BAND:
            series.before, series.before_band = change.from_, self.tables.bands.number(change.band_from)
        band, policy = self.tables.bands.number(change.band_to), self.tables.policies.number(change.policy)
        if change.state is not None:
            band = NO_BAND
        series.append(Point(change.time, change.to, band, policy))
        self._add_to_band(change.score, change.band_to, change.to)
        if change.account_id in self.accounts:
            self.on_change(account_key(change.account_id))

    def _series_and_history(self, key: str, score: str) -> tuple[Series, ChangeHistory]:
        """The series and history of a score. Scores are in another topic, so an account may not have its score yet."""
        account = self.accounts.get(key)
        if account is None:
            waiting = self._unscored.setdefault(key, {})
            if len(self._unscored) > MOST_UNSCORED:
                del self._unscored[next(iter(self._unscored))]
            if score not in waiting:
                waiting[score] = (Series(), ChangeHistory())
            return waiting[score]
        if score not in account.histories:
            account.series[score], account.histories[score] = Series(), ChangeHistory()
        return account.series[score], account.histories[score]

    def _add_to_band(self, score: str, band: str, value: float) -> None:
        sums = self._bands.setdefault(score, {})
        total, count = sums.get(band, (0.0, 0))
        sums[band] = (total + value, count + 1)

    def _alert(self, _key: bytes | None, value: bytes | None) -> None:
        if value is None:
            return
        alert = read_message(Alert, value)
        if self._all_read and alert.status == "resolved" and self._is_erased(alert.account_id):
            return
        if self.episodes.add(alert):
            self.on_change(alert_key(alert))
            if alert.account_id in self.accounts:
                self.on_change(account_key(alert.account_id))

    def _is_erased(self, account: str) -> bool:
        """Whether nothing of an account is known. The ends of its alerts can come after the end of its score."""
        return bool(account) and account not in self.accounts and not self.episodes.open_of(account)

    def _profile(self, record_key: bytes | None, value: bytes | None) -> None:
        if value is None:
            key = read_key(record_key)
            self.profiles.pop(key, None)
        else:
            profile = read_message(ProfileEvent, value)
            key = profile.account_id
            merged = merge(self.profiles.get(key), profile)
            if merged is None:
                return
            self.profiles[key] = merged
        if key in self.accounts:
            self.on_change(account_key(key))

    def _rollup(self, record_key: bytes | None, value: bytes | None) -> None:
        key = read_key(record_key)
        if value is None:
            self.rollups.pop(key, None)
        else:
            self.rollups[key] = read_message(RollupMessage, value)

    def _shadow(self, record_key: bytes | None, value: bytes | None) -> None:
        key = read_key(record_key)
        if value is None:
            self.shadows.pop(key, None)
        else:
            self.shadows[key] = Shadow(read_message(ShadowMessage, value))


def _ignore(_key: str) -> None:
    """No stream yet."""

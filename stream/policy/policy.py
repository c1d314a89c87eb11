"""Read a policy: the TOML file that defines the health of an account (docs/reference/policy).

Owns `Policy` and `parse_policy`, the only way to make one from the text of a file: every mistake in the file is
reported, and a `Policy` that exists is valid. Must not know where the text comes from, nor of events and accounts.
Called by the commands that check or load a policy; `stream.plan` compiles the result.

The tables of a file have modules of their own (`measures`, `scores` and so on); the names that others need are here.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from dataclasses import asdict, dataclass, field
from typing import Any

from schemas.hints import closest
from schemas.sources import BUILT_IN, Sources
from stream.columns.calendar import Calendar
from stream.policy.alerts import AlertRule, Names, Storms, read_alerts, read_storms
from stream.policy.bands import Band
from stream.policy.calendar import check_calendar, read_calendar
from stream.policy.errors import Findings, PolicyError, Problem
from stream.policy.fields import Label, read_labels
from stream.policy.formulas.derived import check_derived
from stream.policy.inputs.sources import IdleSource, PolicySources, read_sources
from stream.policy.lines import key_lines
from stream.policy.measures import Measure, read_measures
from stream.policy.own.extension import Extensions, NoExtensions
from stream.policy.scores import Score, read_scores
from stream.policy.segments import Segment, read_segments
from stream.policy.status import NewAccounts, StatusRules, read_new_accounts, read_status
from stream.policy.table import Table
from stream.policy.usage import check_use, measure_keys
from stream.policy.windows import Window

__all__ = ["Band", "Measure", "Policy", "PolicyError", "Problem", "Score", "Segment", "Window", "parse_policy"]

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_KEYS = (
    "name",
    "segments",
    "measures",
    "scores",
    "alerts",
    "new_accounts",
    "status",
    "storms",
    "sources",
    "labels",
    "calendar",
)
_DIGEST_LENGTH = 16
_BYTE_ORDER_MARK = "\ufeff"  # some editors on Windows begin a file with it

_SYNTAX_LINE = re.compile(r" \(at line (?P<line>[0-9]+), column [0-9]+\)$")
_SYNTAX_END = " (at end of document)"
_SYNTAX_HINTS = {
    "Unclosed array": "a comma or ] is missing before this line",
    "Invalid initial character for a key part": "a key is letters, digits, - and _; a { table } must be on one line",
    "Unclosed inline table": "a comma or } is missing, or the { table } is on more than one line",
    "Invalid value": 'text needs quotes, as in "30d"',
    "Cannot overwrite a value": "the table has this key twice",
}
_LONGEST_SEARCHED = 1000  # lines; in a longer file the start of an unclosed value is not searched


@dataclass(frozen=True, slots=True)
class Policy:
    """A valid policy: measures, scores and segments in the order of the file, alert rules by name.

    `digest` is 16 hexadecimal digits of the meaning: comments, spacing, the order of keys and bands, and defaults that
    are written out do not change it.
    """

    name: str
    measures: tuple[Measure, ...]
    scores: tuple[Score, ...]
    segments: tuple[Segment, ...]
    digest: str
    alerts: tuple[AlertRule, ...] = ()
    storms: Storms = field(default_factory=Storms)
    idle_sources: tuple[IdleSource, ...] = ()
    new_accounts: NewAccounts | None = None
    status: StatusRules = field(default_factory=StatusRules)
    labels: tuple[Label, ...] = ()
    calendar: Calendar = field(default_factory=Calendar)
    sources: Sources = BUILT_IN

    @property
    def score(self) -> Score:
        """The first score, which is the default wherever a score can be named."""
        return self.scores[0]


def parse_policy(text: str, file: str = "policy.toml", extensions: Extensions | None = None) -> Policy:
    """The policy in the text of a file, which messages call `file`. PolicyError with every mistake in it.

    `extensions` are the statistics and normalisers of other packages that it can name; None: there is none.
    """
    try:
        return _read(text.removeprefix(_BYTE_ORDER_MARK), file, extensions or NoExtensions())
    except RecursionError as error:
        raise PolicyError([Problem(file, None, "TOML", "lists or tables are nested too deeply")]) from error


def _read(text: str, file: str, extensions: Extensions) -> Policy:
    try:
        document = tomllib.loads(text)
    except ValueError as error:
        raise PolicyError([_syntax_problem(text, file, error)]) from error
    findings = Findings()
    root = Table(document, (), findings, _KEYS)
    name = _read_name(root)
    segments, of_sources = read_segments(root), _sources_of(root, findings, file, text)
    sources = of_sources.sources
    names = Names(
        _names(root, "measures"),
        [measure for measure, keys in measure_keys(root).items() if "normalise" not in keys],
        _names(root, "segments"),
        sources.of_events,
    )
    calendar = read_calendar(root)
    measures = read_measures(root, names.segments, sources, calendar, extensions)
    scores = read_scores(root, names.measures, names.segments)
    check_derived(root, measures)
    check_use(root, findings, measures, scores)
    alerts = read_alerts(root, scores, names)
    storms, new_accounts, status = read_storms(root), read_new_accounts(root), read_status(root, sources)
    labels = read_labels(root)
    if not findings:
        check_calendar(root, calendar, measures, alerts)
    if findings or name is None:
        raise PolicyError(findings.located(file, key_lines(text)))
    others: dict[str, tuple[Any, ...]] = {"segments": segments, "alerts": alerts, "sources": of_sources.idle}
    others["added_sources"] = of_sources.definitions
    others["new_accounts"] = () if new_accounts is None else (new_accounts,)
    others["status"] = () if status == StatusRules() else (status,)
    others["labels"] = labels
    others["calendar"] = () if calendar == Calendar() else (calendar,)
    digest = _digest(name, measures, scores, others, storms)
    return Policy(
        name,
        measures,
        scores,
        segments,
        digest,
        alerts,
        storms or Storms(),
        of_sources.idle,
        new_accounts,
        status,
        labels,
        calendar,
        sources,
    )


def _sources_of(root: Table, findings: Findings, file: str, text: str) -> PolicySources:
    """The sources of a policy. Raises PolicyError where nothing that names one could be read."""
    of_sources = read_sources(root, findings)
    if not of_sources.is_whole:
        raise PolicyError(findings.located(file, key_lines(text)))
    return of_sources


def _names(root: Table, key: str) -> tuple[str, ...]:
    """Names of the measures or segments in the file, valid or not, and also those in a table with a misspelled key."""
    keys = [word for word in root if word == key or (word not in _KEYS and closest(word, (key,)))]
    tables = [root.value(word) for word in keys]
    return tuple(name for table in tables if isinstance(table, dict) for name in table)


def _read_name(root: Table) -> str | None:
    expected = "a string of letters (a to z, A to Z), digits, - and _"
    name = root.text("name", expected)
    if name is not None and not _NAME.fullmatch(name):
        root.wrong("name", expected)
        return None
    return name


def _digest(
    name: str,
    measures: tuple[Measure, ...],
    scores: tuple[Score, ...],
    others: dict[str, tuple[Any, ...]],
    storms: Storms | None,
) -> str:
    # Absent keys are left out, so that a new key of the language does not change the digest of policies without it.
    score_values = [asdict(score, dict_factory=_set_values) for score in scores]
    content: dict[str, object] = {
        "name": name,
        "measures": [asdict(measure, dict_factory=_set_values) for measure in measures],
        "score": score_values[0],
    }
    if score_values[1:]:
        content["more_scores"] = score_values[1:]
    for key, records in others.items():
        if records:
            content[key] = [asdict(record, dict_factory=_set_values) for record in records]
    if storms is not None and storms != Storms():
        content["storms"] = asdict(storms)
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_DIGEST_LENGTH]


_DIGEST_NAMES = {"forecast_days": "outlook_days"}
"""Fields that had another name when digests were first computed: a renamed field must not change a policy's digest."""


def _set_values(pairs: list[tuple[str, object]]) -> dict[str, object]:
    return {_DIGEST_NAMES.get(key, key): value for key, value in pairs if value is not None and value != ()}


def _syntax_problem(text: str, file: str, error: ValueError) -> Problem:
    message = str(error)
    position = _SYNTAX_LINE.search(message)
    if position is not None:
        reason = message[: position.start()]
        hint = _SYNTAX_HINTS.get(reason)
        return Problem(file, int(position["line"]), "TOML", f"{reason}: {hint}" if hint else reason)
    if message.endswith(_SYNTAX_END):
        reason = message.removesuffix(_SYNTAX_END)
        return Problem(file, _open_line(text), "TOML", f"{reason}: the value that begins here is never closed")
    return Problem(file, None, "TOML", message)  # such as a whole number with thousands of digits


def _open_line(text: str) -> int:
    """Line of the statement that the end of the file cuts off: the lines before it are a valid file."""
    lines = text.split("\n")
    if len(lines) > _LONGEST_SEARCHED:
        return len(lines)
    return next(count + 1 for count in range(len(lines) - 1, -1, -1) if _is_toml("\n".join(lines[:count])))


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except ValueError:
        return False
    return True

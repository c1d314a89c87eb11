"""Policies: what healthy means, as docs/reference/policy defines it.

Owns `Policy` and the one way to make it, from the text of a TOML file: every mistake in the file is found and named,
and a `Policy` that exists is valid. Must not know where the text comes from, nor of events and accounts. Called by
the commands that check or load a policy; the engine compiles what it gives.

The parts of a file have modules of their own (`policy_measure` and the rest); the names others need are here.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from dataclasses import asdict, dataclass, field
from typing import Any

from stream.policy.alerts import AlertRule, IdleSource, Names, Storms, read_alerts, read_idle_sources, read_storms
from stream.policy.bands import Band
from stream.policy.errors import Findings, PolicyError, Problem, closest
from stream.policy.lines import key_lines
from stream.policy.measures import Measure, read_measures
from stream.policy.scores import Score, read_scores
from stream.policy.segments import Segment, read_segments
from stream.policy.table import Table
from stream.policy.usage import check_use
from stream.policy.windows import Window

__all__ = ["Band", "Measure", "Policy", "PolicyError", "Problem", "Score", "Segment", "Window", "parse_policy"]

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_KEYS = ("name", "segments", "measures", "scores", "alerts", "storms", "sources")
_DIGEST_LENGTH = 16
_MARK = "\ufeff"  # some editors on Windows begin a file with it

_SYNTAX_LINE = re.compile(r" \(at line (?P<line>[0-9]+), column [0-9]+\)$")
_SYNTAX_END = " (at end of document)"
_SYNTAX_HINTS = {
    "Unclosed array": "a comma or ] is missing before this",
    "Invalid initial character for a key part": "a key is letters, digits, - and _; a { table } stands on one line",
    "Unclosed inline table": "a comma or } is missing, or the { table } is on more than one line",
    "Invalid value": 'text needs quotes, as in "30d"',
    "Cannot overwrite a value": "this key is here twice",
}
_LONGEST_SEARCHED = 1000  # lines of a file that is searched for what was left open


@dataclass(frozen=True, slots=True)
class Policy:
    """A valid policy: measures, scores and segments in the order of the file, alert rules by name.

    `digest` is 16 hexadecimal digits of what the policy means: comments, spacing, the order of keys and bands, and
    defaults written out make no difference to it.
    """

    name: str
    measures: tuple[Measure, ...]
    scores: tuple[Score, ...]
    segments: tuple[Segment, ...]
    digest: str
    alerts: tuple[AlertRule, ...] = ()
    storms: Storms = field(default_factory=Storms)
    idle_sources: tuple[IdleSource, ...] = ()

    @property
    def score(self) -> Score:
        """The first score: the one that is meant where nobody names one."""
        return self.scores[0]


def parse_policy(text: str, file: str = "policy.toml") -> Policy:
    """The policy that a file's text holds; `file` is how problems name it. PolicyError with every problem there is."""
    try:
        return _read(text.removeprefix(_MARK), file)
    except RecursionError as error:
        raise PolicyError([Problem(file, None, "TOML", "lists or tables are nested too deeply")]) from error


def _read(text: str, file: str) -> Policy:
    try:
        document = tomllib.loads(text)
    except ValueError as error:
        raise PolicyError([_syntax_problem(text, file, error)]) from error
    findings = Findings()
    root = Table(document, (), findings, _KEYS)
    name = _read_name(root)
    segments = read_segments(root)
    names = Names(_names(root, "measures"), _names(root, "segments"))
    measures = read_measures(root, names.segments)
    scores = read_scores(root, names.measures, names.segments)
    check_use(root, findings, measures, scores)
    alerts = read_alerts(root, scores, measures, names)
    storms, idle_sources = read_storms(root), read_idle_sources(root)
    if findings or name is None:
        raise PolicyError(findings.located(file, key_lines(text)))
    digest = _digest(name, measures, scores, {"segments": segments, "alerts": alerts, "sources": idle_sources}, storms)
    return Policy(name, measures, scores, segments, digest, alerts, storms or Storms(), idle_sources)


def _names(root: Table, key: str) -> tuple[str, ...]:
    """Names that segments or measures have in the file, right or wrong, also those under a key that is nearly right."""
    tables = [root.value(given) for given in root if given == key or (given not in _KEYS and closest(given, (key,)))]
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
    # What is not set is left out, so that a setting added to the language changes no digest of a policy without it.
    found = [asdict(score, dict_factory=_set_values) for score in scores]
    content: dict[str, object] = {
        "name": name,
        "measures": [asdict(measure, dict_factory=_set_values) for measure in measures],
        "score": found[0],
    }
    if found[1:]:
        content["more_scores"] = found[1:]
    for key, parts in others.items():
        if parts:
            content[key] = [asdict(part, dict_factory=_set_values) for part in parts]
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
    found = _SYNTAX_LINE.search(message)
    if found is not None:
        reason = message[: found.start()]
        hint = _SYNTAX_HINTS.get(reason)
        return Problem(file, int(found["line"]), "TOML", f"{reason}: {hint}" if hint else reason)
    if message.endswith(_SYNTAX_END):
        reason = message.removesuffix(_SYNTAX_END)
        return Problem(file, _open_line(text), "TOML", f"{reason}: what begins here is never closed")
    return Problem(file, None, "TOML", message)  # such as a whole number of thousands of digits


def _open_line(text: str) -> int:
    """Line of the statement that the end of the file cuts off: what stands before it is a valid file."""
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

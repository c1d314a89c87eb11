"""Propose a policy: the measures that tell accounts apart in event files, or the usual ones where there are none.

Owns which measures are chosen, and why the others are not. The values of accounts are those that the engine computes.
Called by `vitals init`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.files.playback import BadLine
from agents.files.replay import Reading, replay_files
from agents.files.timeline import TimedEvent
from agents.proposal.candidates import CANDIDATES, SHORTEST_WINDOW, SOURCES, Candidate
from agents.proposal.spread import Spread, Thresholds, spread_of, text, thresholds_of
from stream.columns.panes import UNIT_MS, date_text
from stream.engine.engine import Mode
from stream.explain.selector import reading, select_score
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy
from stream.scoring.scoring import NO_BAND

_MOST_MISSING = 0.5
_POINTS_OF_SOURCE = 60
_FEWEST_FOR_STALL, _LONGEST_STALL = 3, 98
DAY_MS = UNIT_MS["day"]


class ShortData(NamedTuple):
    """How much data there is of a source whose window is longer: its first event, and its days."""

    first_ms: int
    days: int


class Proposed(NamedTuple):
    """A measure of the policy: its keys in TOML, its weight, and how accounts are distributed (None: not known).

    `short` is set where the source has fewer days of events than the window.
    """

    candidate: Candidate
    fields: Mapping[str, str]
    thresholds: Thresholds
    weight: int
    spread: Spread | None = None
    short: ShortData | None = None


class LeftOut(NamedTuple):
    """A measure that the policy does not have, and why."""

    name: str
    reason: str


class Proposal(NamedTuple):
    """What a policy is written from. `stalls` are the days after which each source counts as idle.

    `accounts` and `as_of_ms` are of the files, None without files. `bad` are the lines that could not be used.
    """

    measures: list[Proposed]
    left_out: list[LeftOut]
    stalls: Mapping[str, int]
    accounts: int | None = None
    as_of_ms: int | None = None
    bad: Sequence[BadLine] = ()

    @property
    def is_usual(self) -> bool:
        """Whether the measures are the usual ones, since there are no files or these tell no accounts apart."""
        return all(measure.spread is None for measure in self.measures)


def by_reason(left_out: Sequence[LeftOut]) -> dict[str, str]:
    """The names of measures that are left out, by the reason that they share."""
    names: dict[str, list[str]] = {}
    for each in left_out:
        names.setdefault(each.reason, []).append(each.name)
    return {reason: ", ".join(of_reason) for reason, of_reason in names.items()}


class NothingToProposeError(ValueError):
    """The files have nothing that a score can be made of; the message says what."""


def usual_proposal(sources: Sequence[str]) -> Proposal:
    """The usual measures of some sources with usual thresholds; nothing is known of the accounts."""
    chosen = [candidate for candidate in CANDIDATES if candidate.source in sources]
    fields = {
        candidate.name: _fields(
            candidate,
            candidate.windows[0] if candidate.windows else None,
            candidate.where[1] if candidate.where else (),
        )
        for candidate in chosen
    }
    return Proposal(_usual(fields, {}), [], {})


def _usual(fields: Mapping[str, Mapping[str, str]], why: Mapping[str, str]) -> list[Proposed]:
    """Measures with usual thresholds, by their keys in TOML; `why` the data gave none, by measure (empty: no data)."""
    chosen = [candidate for candidate in CANDIDATES if candidate.name in fields]
    measures = []
    for candidate in chosen:
        zero, hundred = (text(value) for value in candidate.usual)
        toml = f'{{ kind = "linear", zero_at = {zero}, hundred_at = {hundred} }}'
        reason = f"since {why[candidate.name]}" if why else "no data was looked at"
        thresholds = Thresholds(toml, f"0 points at {zero}, 100 at {hundred}: a guess, {reason}")
        measures.append(Proposed(candidate, fields[candidate.name], thresholds, _weight(candidate, chosen)))
    return measures


def proposal_of(paths: Sequence[Path], how: Reading) -> Proposal:
    """The measures that vary between the accounts of event files. Raises OSError, NothingToProposeError."""
    trial = _trial({candidate.name: _fields(candidate, 1, ("opened",)) for candidate in CANDIDATES[:1]})
    first = replay_files(paths, trial, reading=how, mode=Mode.CONFLATED)
    times = [record for record in first.records if record.source in SOURCES]
    if not times:
        raise NothingToProposeError(
            f"the files have no event of {', '.join(SOURCES)}, of which measures can be made; "
            "`vitals map` shows what their records are"
        )
    as_of_ms = max(record.time_ms for record in first.records if record.source != "accounts")
    left_out: list[LeftOut] = []
    possible = dict(_possible(times, as_of_ms, left_out))
    proposal = _chosen(paths, how, possible, left_out) if possible else None
    sources = list(dict.fromkeys(record.source for record in times))
    if proposal is None or not proposal.measures:
        usual = possible or {each.candidate.name: dict(each.fields) for each in usual_proposal(sources).measures}
        measures = _usual(usual, {each.name: each.reason for each in left_out})
        left_out = [each for each in left_out if each.name not in usual]
        proposal = Proposal(measures, left_out, {}, _accounts(times))
    used = {measure.candidate.source for measure in proposal.measures}
    stalls = {source: days for source in sources if source in used and (days := _stall(times, source)) is not None}
    measures = [measure._replace(short=_short(measure, times, as_of_ms)) for measure in proposal.measures]
    return proposal._replace(measures=measures, stalls=stalls, as_of_ms=as_of_ms, bad=first.bad)


def _short(measure: Proposed, records: Sequence[TimedEvent], as_of_ms: int) -> ShortData | None:
    """How much data there is, if that is less than the window."""
    first_ms = next(record.time_ms for record in records if record.source == measure.candidate.source)
    days = _days(first_ms, as_of_ms)
    window = measure.fields.get("window")
    return ShortData(first_ms, days) if window is not None and days < int(window.strip('"d')) else None


def _days(first_ms: int, last_ms: int) -> int:
    """How many days have the two moments and what is between them."""
    return last_ms // DAY_MS - first_ms // DAY_MS + 1


def _accounts(records: Sequence[TimedEvent]) -> int:
    return len({record.event.account_id for record in records})


def _possible(
    records: Sequence[TimedEvent], as_of_ms: int, left_out: list[LeftOut]
) -> Iterator[tuple[str, dict[str, str]]]:
    """The keys of each candidate whose source has events in its window, and whose `where` has values that occur."""
    for candidate in CANDIDATES:
        of_source = [record for record in records if record.source == candidate.source]
        if not of_source:
            left_out.append(LeftOut(candidate.name, f"{candidate.source} has no event"))
            continue
        days = _days(of_source[0].time_ms, as_of_ms)
        window = next((each for each in candidate.windows if each <= days), SHORTEST_WINDOW)
        silent = as_of_ms // DAY_MS - of_source[-1].time_ms // DAY_MS
        if candidate.windows and silent >= window:
            latest = date_text(of_source[-1].time_ms)
            left_out.append(LeftOut(candidate.name, f"the latest event of {candidate.source} is of {latest}"))
            continue
        values: tuple[str, ...] = ()
        if candidate.where is not None:
            name, wanted = candidate.where
            present = {getattr(record.event, name) for record in of_source}
            values = tuple(value for value in wanted if value in present)
            if not values:
                listed = " or ".join(wanted)
                left_out.append(LeftOut(candidate.name, f"{candidate.source} has no event of {name} {listed}"))
                continue
        yield candidate.name, _fields(candidate, window if candidate.windows else None, values)


def _fields(candidate: Candidate, window: int | None, values: Sequence[str]) -> dict[str, str]:
    fields = {"source": f'"{candidate.source}"', **candidate.fields}
    if candidate.where is not None:
        listed = ", ".join(f'"{value}"' for value in values)
        fields["where"] = f"{{ {candidate.where[0]} = [{listed}] }}"
    if window is not None:
        fields["window"] = f'"{window}d"'
    return fields


def _trial(measures: Mapping[str, Mapping[str, str]]) -> Any:
    """A policy that has these measures and whose scores mean nothing; an account has a score where it will have one."""
    missing = {candidate.name: candidate.missing for candidate in CANDIDATES}
    tables = [
        "\n".join(
            [
                f"[measures.{name}]",
                *(f"{key} = {value}" for key, value in fields.items()),
                'normalise = { kind = "linear", zero_at = 0, hundred_at = 1 }',
                "weight = 1",
                *([f"missing = {missing[name]}"] if missing[name] else []),
            ]
        )
        for name, fields in measures.items()
    ]
    score = '[scores.trial]\nmin_change = 1\nbands = [{ name = "any", from = 0 }]'
    return compile_plan(parse_policy("\n\n".join(['name = "trial"', *tables, score])))


def _chosen(
    paths: Sequence[Path], how: Reading, possible: Mapping[str, Mapping[str, str]], left_out: list[LeftOut]
) -> Proposal:
    """The measures that tell accounts apart; which accounts have a score depends on the measures, so it asks again."""
    by_name = {candidate.name: candidate for candidate in CANDIDATES}
    chosen: dict[str, tuple[Spread, NDArray[np.float64]]] = {}
    accounts, fields, has_changed = 0, dict(possible), True
    while fields and has_changed:
        values, accounts = _values(paths, how, fields)
        chosen = {}
        for name, column in values.items():
            spread = spread_of(column)
            reason = _reason_against(name, column, spread, chosen, by_name)
            if reason is None:
                chosen[name] = spread, column
            else:
                left_out.append(LeftOut(name, reason))
        has_changed = len(chosen) < len(fields)
        fields = {name: fields[name] for name in chosen}
    candidates = [by_name[name] for name in chosen]
    measures = []
    for candidate in candidates:
        spread, column = chosen[candidate.name]
        thresholds = thresholds_of(column, spread, more_is_better=candidate.more_is_better)
        weight = _weight(candidate, candidates)
        measures.append(Proposed(candidate, fields[candidate.name], thresholds, weight, spread))
    order = [candidate.name for candidate in CANDIDATES]
    return Proposal(measures, sorted(left_out, key=lambda each: order.index(each.name)), {}, accounts)


def _reason_against(
    name: str,
    column: NDArray[np.float64],
    spread: Spread,
    chosen: Mapping[str, tuple[Spread, NDArray[np.float64]]],
    by_name: Mapping[str, Candidate],
) -> str | None:
    """Why a measure is not in the policy; None if it is."""
    if spread.with_value < (1 - _MOST_MISSING) * spread.accounts or not spread.with_value:
        return f"{spread.accounts - spread.with_value:,} of {spread.accounts:,} accounts have no value"
    if not spread.varies:
        return f"every account with a value has {text(spread.min)}"
    if text(spread.min) == text(spread.max):
        return "it varies by less than a millionth"
    for other, (_, values) in chosen.items():
        if by_name[other].source == by_name[name].source and np.array_equal(values, column, equal_nan=True):
            return f"it is the same as {other} in every account"
    return None


def _values(
    paths: Sequence[Path], how: Reading, measures: Mapping[str, Mapping[str, str]]
) -> tuple[dict[str, NDArray[np.float64]], int]:
    """The values of each measure in the accounts that have a score, and how many these are."""
    plan = _trial(measures)
    engine = replay_files(paths, plan, reading=how, mode=Mode.CONFLATED).engine
    selected = select_score(plan.policy)
    scored = reading(plan, selected, engine.score(engine.accounts.alive()))
    has_score = scored.bands != NO_BAND
    names = [measure.name for measure in selected.measures]
    return dict(zip(names, scored.values[has_score].T, strict=True)), int(has_score.sum())


def _weight(candidate: Candidate, chosen: Sequence[Candidate]) -> int:
    """Each source has the same weight, which its measures share."""
    return _POINTS_OF_SOURCE // sum(other.source == candidate.source for other in chosen)


def _stall(records: Sequence[TimedEvent], source: str) -> int | None:
    """Days of silence of a source after which it counts as broken: twice its longest silence. None: too few events."""
    times = np.array([record.time_ms for record in records if record.source == source])
    if len(times) < _FEWEST_FOR_STALL:
        return None
    days = 2 * float(np.diff(times).max()) / DAY_MS
    return min(max(2, int(days) + 1), _LONGEST_STALL) if days < _LONGEST_STALL else None

"""Hypothesis strategy for policies that use all of the policy language: every feature of docs/reference/policy.

Owns which features are drawn together, and that what is drawn is valid: every measure is used by a score, every
measure of a weighted score has a normaliser, bands that exceptions name exist wherever the exceptions go.
Must not know the engine or how anything is scored. Called by the property tests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.strategies.completeness import completeness
from tests.strategies.conditions import whens
from tests.strategies.derived import MOST, derived_measures, grids
from tests.strategies.policies import (
    ALL_SOURCES,
    DAYS,
    HOURS,
    amounts,
    bands_of,
    measures,
    normalisers,
)
from tests.strategies.tables import Table, new_accounts, statuses, written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn

LONGEST = {"h": 72, "d": 365}
HELD = ("mean", "min", "max", "last", "share", "nps")
TALLIES = ("count", "sum", "weighted_count")
PERCENT = (0, 100)
SPANS = {"percentile": PERCENT, "z": (-3, 3), "previous": (-100, 100)}
FACTS = {"days_since": (-10, 400), "days_until": (-100, 400), "value": (0, 100_000)}
SEGMENTS = ("onboarding", "enterprise", "rest")
SCORES = ("health", "churn", "upsell")
GROUPS = ("product", "voice", "money")
DWELLS = ("1h", "5h", "30h", "1d", "2d", "7d")


@dataclass
class Draft:
    """A policy on its way: tables by name, in the order in which they are written."""

    measures: dict[str, Table] = field(default_factory=dict)
    segments: dict[str, Table] = field(default_factory=dict)
    scores: dict[str, Table] = field(default_factory=dict)

    def weighted(self) -> list[str]:
        """Return the weighted scores."""
        return [name for name, table in self.scores.items() if "model" not in table]


# ---------------------------------------------------------------------------------------------------------------------
# Measures


@st.composite
def _missing(draw: DrawFn, table: Table) -> Table:
    words = ["redistribute", "neutral", "zero", "number", "nothing"]
    window = table.get("window", "365d")
    panes, unit = int(window[:-1]), window[-1]
    if table["stat"] in HELD and "window" in table and panes < LONGEST[unit]:
        words += ["hold"] * 5
    word = draw(st.sampled_from(words))
    if word == "nothing":
        return {}
    if word == "number":
        return {"missing": draw(amounts(*PERCENT))}
    if word != "hold" or draw(st.booleans()):
        return {"missing": word}
    stale_after = min(panes + draw(st.sampled_from((1, 2, 5, 30))), LONGEST[unit])
    return {"missing": word, "stale_after": f"{stale_after}{unit}"}


@st.composite
def _comparison(draw: DrawFn, window: str) -> Table:
    """Draw how a tally is compared with earlier windows; nothing where its window leaves them no room."""
    panes, unit = int(window[:-1]), window[-1]
    room = LONGEST[unit] // panes - 1
    kinds = ["none", *(("previous",) if room >= 1 else ()), *(("percentile", "z") if room >= 2 else ())]
    kind = draw(st.sampled_from(kinds))
    if kind == "none":
        return {}
    if kind == "previous":
        return {"compare": kind}
    # A history that is no whole number of windows holds as many as fit.
    history = panes * draw(st.integers(2, min(room, 8))) + draw(st.integers(0, panes - 1))
    return {"compare": kind, "history": f"{min(history, LONGEST[unit] - panes)}{unit}"}


@st.composite
def event_measures(draw: DrawFn, windows: Sequence[str]) -> Table:
    """Draw a measure of events, with every way to compare, to hold and to fade."""
    table = draw(measures(windows, ("product-usage", *ALL_SOURCES)))
    for name in ("compare", "complete", "missing", "normalise", "weight"):
        table.pop(name, None)
    if table["source"] == "engagement" and table["stat"] in ("count", "distinct_users") and draw(st.booleans()):
        table["stat"] = "distinct_roles"
    if table["stat"] in TALLIES:
        table |= draw(_comparison(table["window"]))
    table |= draw(completeness(table))
    span = SPANS.get(table.get("compare", ""))
    if span is None and table["source"] == "controls" and table["stat"] in HELD:
        span = PERCENT
    table["normalise"] = draw(normalisers(span, decay=True))
    return table | draw(_missing(table))


@st.composite
def facts(draw: DrawFn) -> Table:
    """Draw a measure of the profile."""
    stat = draw(st.sampled_from(tuple(FACTS)))
    known = ("arr", "account.seats") if stat == "value" else ("started_at", "renewal_at", "account.trained")
    of = draw(st.sampled_from(known))
    table = {"source": "accounts", "stat": stat, "field": of, "normalise": draw(normalisers(FACTS[stat], decay=True))}
    return table | draw(_missing({"stat": stat}))


@st.composite
def _derived(draw: DrawFn, draft: Draft) -> None:
    """Draw measures that are computed from others into a draft, and let points depend on a second measure."""
    for number in range(draw(st.sampled_from((0, 0, 1, MOST)))):
        draft.measures[f"d{number}"] = draw(derived_measures(draft.measures))
    names = list(draft.measures)
    for name in names:
        if draw(st.integers(0, 5)) == 0:
            draft.measures[name]["normalise"] = draw(grids(draw(st.sampled_from(names))))


@st.composite
def _for_some(draw: DrawFn, draft: Draft) -> None:
    """Draw measures of a draft that are for some accounts only."""
    for table in draft.measures.values():
        if draw(st.integers(0, 5)) == 0:
            table["when"] = draw(whens())


# ---------------------------------------------------------------------------------------------------------------------
# Segments


# ---------------------------------------------------------------------------------------------------------------------
# Scores

WEIGHTS = st.one_of(st.integers(1, 100), amounts(1, 10))
IMPACTS = st.one_of(st.integers(1, 10), amounts(-10, -1), amounts(1, 20))


@st.composite
def _weights(draw: DrawFn, names: Sequence[str], *, groups: bool) -> Table:
    """Draw weights of measures, in groups or not."""
    if not groups:
        return {"weights": {name: draw(WEIGHTS) for name in names}}
    tables: dict[str, Table] = {}
    for name in names:
        group = tables.setdefault(draw(st.sampled_from(GROUPS)), {"weight": draw(WEIGHTS), "measures": {}})
        group["measures"][name] = draw(WEIGHTS)
    return {"groups": tables}


def _subset(names: Sequence[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(list(names)), min_size=1, max_size=4, unique=True)


@st.composite
def _made_of(draw: DrawFn, draft: Draft, name: str, selected: Sequence[str]) -> Table:
    """Draw the model of a score and its bands; only the first may be made of all measures that have a weight."""
    if draw(st.integers(0, 2)) == 0:
        table: Table = {"model": "additive", "impacts": {measure: draw(IMPACTS) for measure in selected}}
        bands = draw(bands_of())
        if draw(st.booleans()):
            ends = draw(st.lists(amounts(-200, 200), min_size=2, max_size=2, unique=True))
            table["map"] = {"zero_at": ends[0], "hundred_at": ends[1]}
        else:
            starts = draw(_starts(len(bands), anywhere=True))
            bands = [band | {_edge(band): start} for band, start in zip(bands, starts, strict=True)]
        return table | {"bands": bands}
    form = draw(st.sampled_from(("weights", "groups", *(("all",) if name == SCORES[0] else ()))))
    if form == "all":
        for measure in selected:
            draft.measures[measure]["weight"] = draw(WEIGHTS)
        return {"bands": draw(bands_of())}
    return draw(_weights(selected, groups=form == "groups")) | {"bands": draw(bands_of())}


def _edge(band: Table) -> str:
    return "above" if "above" in band else "from"


def start_of(band: Table) -> Any:
    """Return the number at which a band begins, or which it is above."""
    return band[_edge(band)]


@st.composite
def _starts(draw: DrawFn, count: int, *, anywhere: bool) -> list[Any]:
    numbers = amounts(-60, 160) if anywhere else amounts(1, 99)
    return sorted(draw(st.lists(numbers, min_size=count, max_size=count, unique=True)), reverse=True)


def members_of(draft: Draft, name: str) -> list[str]:
    """Return the measures that a weighted score is made of, segments aside."""
    table = draft.scores[name]
    if "weights" in table:
        return list(table["weights"])
    if "groups" in table:
        return [measure for group in table["groups"].values() for measure in group["measures"]]
    return [measure for measure, fields in draft.measures.items() if "weight" in fields]


@st.composite
def _exceptions(draw: DrawFn, names: Sequence[str], bands: Sequence[str]) -> list[Table]:
    exceptions = []
    for measure in draw(st.lists(st.sampled_from(list(names)), min_size=1, max_size=3)):
        exception = {"measure": measure, "points_below": draw(amounts(1, 100))}
        limit = draw(st.one_of(amounts(*PERCENT), st.sampled_from(list(bands))))
        exceptions.append(exception | ({"band": limit} if isinstance(limit, str) else {"cap": limit}))
    return exceptions


@st.composite
def _in_segment(draw: DrawFn, draft: Draft, name: str, rated: Sequence[str], used: Sequence[str]) -> Table:
    """Draw what a score is in a segment; `rated` are measures with a normaliser, `used` the scores to use there."""
    table = draft.scores[name]
    weighted = "model" not in table
    ways = ["bands", "parts", "both", *(("use",) if used and weighted else ())]
    way = draw(st.sampled_from(ways))
    if way == "use":
        return {"use": draw(st.sampled_from(list(used)))}
    changes: Table = {}
    if way != "bands" and weighted:
        limiting = [exception["measure"] for exception in table.get("exceptions", ())]
        selected = list(dict.fromkeys([*limiting, *draw(_subset(rated))]))
        changes |= draw(_weights(selected, groups=draw(st.booleans())))
    elif way != "bands":
        changes["impacts"] = {measure: draw(IMPACTS) for measure in draw(_subset(list(table["impacts"])))}
    anywhere = not weighted and "map" not in table
    bands = [band["name"] for band in table["bands"]][: None if anywhere else -1]
    if way != "parts" and bands:
        changes["bands"] = dict(zip(bands, draw(_starts(len(bands), anywhere=anywhere)), strict=True))
    return changes


@st.composite
def _scores(draw: DrawFn, draft: Draft) -> None:
    """Draw the scores into a draft; the first takes the measures that no other one does."""
    names = SCORES[: draw(st.sampled_from((1, 1, 2, 3)))]
    selected = {name: draw(_subset(list(draft.measures))) for name in names}
    others = {measure for name in names[1:] for measure in selected[name]}
    selected[names[0]] += [
        measure for measure in draft.measures if measure not in others and measure not in selected[names[0]]
    ]
    for name in names:
        draft.scores[name] = {"min_change": draw(amounts(0, 5))} | draw(_made_of(draft, name, selected[name]))
    weighted = draft.weighted()
    shared = [
        band
        for band in ("healthy", "steady", "attention", "at-risk")
        if all(band in [table["name"] for table in draft.scores[name]["bands"]] for name in weighted)
    ]
    for name in weighted:
        if draw(st.booleans()):
            draft.scores[name]["exceptions"] = draw(_exceptions(members_of(draft, name), shared))
    for table in draft.scores.values():
        if draw(st.integers(0, 3)) == 0:
            table["bands"][-1] |= {"actions": ["call the sponsor", "look"], "owner": "csm"}


@st.composite
def _steadiness(draw: DrawFn, draft: Draft) -> None:
    """Draw what keeps bands from changing to and fro into a draft: `leave` of some bands, `dwell` of some scores."""
    for table in draft.scores.values():
        way = draw(st.sampled_from(("neither", "neither", "leave", "dwell", "both")))
        bounded = "model" not in table or "map" in table
        for band in table["bands"][:-1] if way in ("leave", "both") else ():
            if draw(st.integers(0, 3)) > 0:
                leave = start_of(band) - draw(amounts(0, 40))
                band["leave"] = max(leave, 0) if bounded else leave
        if way in ("dwell", "both"):
            table["dwell"] = draw(st.sampled_from(DWELLS))


@st.composite
def _segmented(draw: DrawFn, draft: Draft) -> None:
    """Draw what segments change into a draft. A score that another one uses in a segment is as usual there."""
    weighted = draft.weighted()
    rated = [measure for measure in draft.measures if any(measure in members_of(draft, name) for name in weighted)]
    for segment in draft.segments:
        for measure in rated:
            if draw(st.integers(0, 3)) == 0:
                rule = draw(normalisers(decay=True))
                draft.measures[measure].setdefault("segments", {})[segment] = {"normalise": rule}
        used: set[str] = set()
        for name, table in draft.scores.items():
            if name in used or draw(st.booleans()):
                continue
            usual = [
                other for other in weighted if other != name and segment not in draft.scores[other].get("segments", {})
            ]
            if changes := draw(_in_segment(draft, name, rated, usual)):
                table.setdefault("segments", {})[segment] = changes
                used |= {changes["use"]} if "use" in changes else set()
    for name, fields in draft.measures.items():
        if name not in rated and draw(st.booleans()):
            # Only additive scores use it.
            del fields["normalise"]
            if fields.get("missing") != "hold":
                fields.pop("missing", None)


@st.composite
def rich_policies(
    draw: DrawFn,
    *,
    windows: Sequence[str] | None = None,
    max_measures: int = 5,
    never_late: bool = False,
    kept_bands: bool = True,
) -> str:
    """Draw a valid policy as TOML text that uses any feature, its windows among `windows` (None: all, or a kind).

    With `never_late`, one window is longer than SPAN_MS, so nothing is late. Without `kept_bands` there is no `leave`
    and no `dwell`: bands follow from the scores of one moment, in whatever order events came.
    """
    if windows is None:
        windows = draw(st.sampled_from((HOURS + DAYS, HOURS, HOURS[:3], DAYS, DAYS[:3])))
    draft = Draft()
    for table in draw(st.lists(facts(), max_size=2)):
        draft.measures[f"f{len(draft.measures)}"] = table
    for table in draw(st.lists(event_measures(windows), min_size=1, max_size=max_measures)):
        draft.measures[f"m{len(draft.measures)}"] = table
    if never_late:
        draft.measures["long"] = draw(event_measures(("45d", "60d")))
    draw(_derived(draft))
    draw(_for_some(draft))
    for name in SEGMENTS[: draw(st.sampled_from((0, 1, 2, 2, 3)))]:
        draft.segments[name] = {"when": draw(whens())}
    draw(_scores(draft))
    draw(_segmented(draft))
    if kept_bands:
        draw(_steadiness(draft))
    lines = ['name = "drawn"', *draw(new_accounts(("1d", "2d", "7d", "60d")))]
    lines += draw(statuses(("1d", "3d", "20d", "365d")))
    for kind, tables in (("segments", draft.segments), ("measures", draft.measures), ("scores", draft.scores)):
        for name, table in tables.items():
            lines += written(f"{kind}.{name}", table)
    return "\n".join(lines) + "\n"

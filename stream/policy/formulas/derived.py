"""Check the measures of a policy that are computed from other measures, against these.

Owns the rules that need several measures: no expression reads itself, and inputs can be read as their expression needs
them. Called by the policy parser after the measures are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream.policy.errors import listed, shown
from stream.policy.measures import FACTS_SOURCE
from stream.policy.windows import COMPARABLE_STATS, LONGEST_WINDOW

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stream.policy.measures import Measure
    from stream.policy.table import Table


def check_derived(root: Table, measures: Sequence[Measure]) -> None:
    """Record what does not fit; measures that could not be read are not in `measures`."""
    by_name = {measure.name: measure for measure in measures}
    tables = root.names("measures", "")
    in_circles: set[str] = set()
    for measure in measures:
        table = tables.table(measure.name, "", None) if measure.formula is not None else None
        if table is None or measure.name in in_circles:
            continue
        circle = _circle(measure, by_name)
        in_circles.update(circle)
        message = f"reads itself: {' reads '.join(map(shown, circle))}" if circle else _mistake(measure, by_name)
        if message is not None:
            table.problem("value", message)


def _mistake(measure: Measure, by_name: Mapping[str, Measure]) -> str | None:
    for name in measure.formula.inputs if measure.formula is not None else ():
        read = by_name.get(name)
        if read is not None and read.compare == "peers":
            return f'{shown(name)} has compare = "peers", which is computed after expressions: read another measure'
    if measure.compare is None:
        return None
    return next((message for leaf in _leaves(measure, by_name) if (message := _cannot_look_back(leaf))), None)


def _circle(measure: Measure, by_name: Mapping[str, Measure]) -> list[str]:
    """The names from the measure through its inputs back to it; empty if there is no such way."""
    ways, seen = [[measure.name]], {measure.name}
    while ways:
        way = ways.pop()
        last = by_name.get(way[-1])
        for name in last.formula.inputs if last is not None and last.formula is not None else ():
            if name == measure.name:
                return [*way, name]
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []


def _leaves(measure: Measure, by_name: Mapping[str, Measure], seen: frozenset[str] = frozenset()) -> Iterator[Measure]:
    """The measures of events that it is computed from, and derived ones that are compared themselves."""
    for name in measure.formula.inputs if measure.formula is not None else ():
        read = by_name.get(name)
        if read is None or name in seen:
            continue
        if read.formula is None or read.compare is not None:
            yield read
        else:
            yield from _leaves(read, by_name, seen | {name})


def _cannot_look_back(measure: Measure) -> str | None:
    """Why a measure cannot be read over the window before its own; None if it can."""
    if measure.source == FACTS_SOURCE:
        return None  # of the profile, which has no history: its value now counts for both
    able = listed(COMPARABLE_STATS)
    if measure.compare is not None:
        return f'compare = "previous" needs inputs that are not compared themselves, and {shown(measure.name)} is'
    if measure.stat not in COMPARABLE_STATS:
        needs = f'compare = "previous" needs inputs with stat {able}'
        return f'{needs}, and {shown(measure.name)} has stat "{measure.stat}"'
    unit, longest = measure.window.unit, LONGEST_WINDOW[measure.window.pane]
    if unit == "month":
        needs = 'compare = "previous" needs windows of equal length, and months differ'
        return f"{needs}: write the window of {shown(measure.name)} in days"
    if 2 * measure.window.panes > longest:
        most = f"{longest // 2}{measure.window.pane[0]}"
        return f'compare = "previous" needs windows of at most "{most}", and that of {shown(measure.name)} is longer'
    return None

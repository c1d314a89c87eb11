"""Hypothesis strategy for policies whose bands would often change without `leave` and `dwell`.

Owns how short windows, steep normalisers and many bands go together; `tests.strategies.rich_policies` draws every
other part of a policy, but its bands seldom change. Must not know the engine or how anything is scored. Called
by the property tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.strategies.policies import amounts
from tests.strategies.tables import written

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

Table = dict[str, Any]

WINDOWS = {"h": ("1h", "2h", "6h", "24h"), "d": ("1d", "2d", "5d")}
DWELLS = {"h": ("1h", "2h", "3h", "1d"), "d": ("1h", "1d", "30h", "2d", "3d")}
NAMES = ("healthy", "steady", "attention", "at-risk")
RESTLESS: dict[str, Any] = {"sources": ("product-usage", "product-usage", "billing"), "many_profiles": True}
"""Disturbances of logs that go with `restless_policies`."""


@st.composite
def _bands(draw: DrawFn, *, bare: bool) -> list[Table]:
    """Draw four bands; of a bare sum the lowest starts below 0."""
    starts = sorted(draw(st.lists(amounts(5, 99), min_size=3, max_size=3, unique=True)), reverse=True)
    bands: list[Table] = []
    for name, start in zip(NAMES, [*starts, -20 if bare else 0], strict=True):
        band: Table = {"name": name, "from": start}
        if name != NAMES[-1] and draw(st.integers(0, 3)):
            leave = start - draw(amounts(0, 50))
            band["leave"] = leave if bare else max(leave, 0)
        if draw(st.booleans()):
            band["alert"] = "warning"
        bands.append(band)
    return bands


@st.composite
def _score(draw: DrawFn, names: list[str], unit: str) -> Table:
    model = draw(st.sampled_from(("weighted", "weighted", "bare", "mapped")))
    table: Table = {"min_change": draw(amounts(0, 5)), "bands": draw(_bands(bare=model == "bare"))}
    if draw(st.booleans()):
        table["dwell"] = draw(st.sampled_from(DWELLS[unit]))
    if model != "weighted":
        table |= {"model": "additive", "impacts": {name: draw(st.integers(10, 40)) for name in names}}
        return table | ({"map": {"zero_at": 0, "hundred_at": 100}} if model == "mapped" else {})
    table["weights"] = {name: draw(st.integers(1, 3)) for name in names}
    if draw(st.booleans()):
        limit: Table = draw(st.sampled_from(({"band": NAMES[1]}, {"band": NAMES[2]}, {"band": NAMES[3]}, {"cap": 50})))
        table["exceptions"] = [{"measure": draw(st.sampled_from(names)), "points_below": 50, **limit}]
    return table


@st.composite
def restless_policies(draw: DrawFn) -> str:
    """Draw a valid policy as TOML text with `leave` or `dwell`, whose bands change with few events."""
    unit = draw(st.sampled_from(("h", "d", "d")))
    lines = ['name = "restless"']
    segmented = draw(st.booleans())
    if segmented:
        lines += written("segments.one", {"when": {draw(st.sampled_from(("tier", "plan"))): ["one"]}})
    names = ["uses", "features", "bills"][: draw(st.integers(1, 3))]
    for name in names:
        ends = draw(st.sampled_from(((0, 1), (0, 2), (0, 3), (0, 5), (2, 0))))
        table: Table = {
            "source": "billing" if name == "bills" else "product-usage",
            "stat": "distinct_features" if name == "features" else "count",
            "window": draw(st.sampled_from(WINDOWS[unit])),
            "normalise": {"kind": "linear", "zero_at": ends[0], "hundred_at": ends[1]},
        }
        lines += written(f"measures.{name}", table)
    for number in range(draw(st.integers(1, 2))):
        table = draw(_score(names, unit))
        if number == 0 and "dwell" not in table and not any("leave" in band for band in table["bands"]):
            table["bands"][0]["leave"] = 0
        if segmented and draw(st.booleans()):
            starts = sorted(draw(st.lists(amounts(1, 99), min_size=3, max_size=3, unique=True)), reverse=True)
            table["segments"] = {"one": {"bands": dict(zip(NAMES, starts, strict=False))}}
        # Every score is made of every measure, so that none is without use.
        lines += written(f"scores.{('health', 'churn')[number]}", table)
    return "\n".join(lines) + "\n"

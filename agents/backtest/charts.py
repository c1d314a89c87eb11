"""Draw small charts as SVG text: grouped bars, lines, points with intervals, and sparklines.

Every chart has a title and a description for screen readers. Colours are classes (`s0`, `s1`, `s2`), so the page
decides on light and dark; series differ in shape as well. Does not know what figures mean. Pure; called by
`agents.backtest.page`.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH = 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 10, 8, 40
_TICKS = 5
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


class Series(NamedTuple):
    """A line, or a bar in each group: its name, its style (0, 1 or 2) and its values, None where missing."""

    name: str
    style: int
    values: Sequence[float | None]


class Span(NamedTuple):
    """A value with its interval; None without one."""

    label: str
    style: int
    value: float
    low: float | None
    high: float | None


class _Frame:
    """A plot area with a value axis from 0 to `highest`, and the marks in it."""

    def __init__(self, height: int, highest: float, *, percent: bool) -> None:
        self.height = height
        self.step = tick_step(highest)
        self.top = max(self.step, -(-highest // self.step) * self.step)
        self.percent = percent
        self.parts: list[str] = []
        self._axis()

    def y(self, value: float) -> float:
        return round(_TOP + (1 - value / self.top) * (self.height - _TOP - _BOTTOM), 1)

    @staticmethod
    def x(share: float) -> float:
        return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)

    def _axis(self) -> None:
        for number in range(round(self.top / self.step) + 1):
            value = number * self.step
            y = self.y(value)
            label = f"{value * 100:.3g}%" if self.percent else f"{value:.3g}"
            self.parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
            self.parts.append(f'<text x="{_LEFT - 5}" y="{y + 4}" text-anchor="end">{label}</text>')

    def level(self, value: float, label: str = "") -> None:
        """A dashed horizontal line, with a label at its right end."""
        y = self.y(value)
        self.parts.append(f'<line class="level" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        if label:
            self.parts.append(f'<text x="{WIDTH - _RIGHT}" y="{y - 4}" text-anchor="end">{escape(label)}</text>')

    def label_x(self, share: float, label: str) -> None:
        y = self.height - _BOTTOM + 16
        self.parts.append(f'<text x="{self.x(share)}" y="{y}" text-anchor="middle">{escape(label)}</text>')

    def name_x(self, label: str) -> None:
        x = (_LEFT + WIDTH - _RIGHT) / 2
        self.parts.append(f'<text x="{x}" y="{self.height - 5}" text-anchor="middle">{escape(label)}</text>')


def tick_step(highest: float) -> float:
    """A round distance that gives at most six ticks from 0 to `highest`; 1 if `highest` is 0."""
    if highest <= 0:
        return 1.0
    magnitude = 1.0
    while magnitude * 10 <= highest:
        magnitude *= 10
    while magnitude > highest:
        magnitude /= 10
    return next(
        step * magnitude / 10 for step in (*_STEPS, 20.0, 25.0, 50.0) if step * magnitude / 10 * _TICKS >= highest
    )


def bars(title: str, groups: Sequence[str], series: Sequence[Series], axis: str, level: float) -> str:
    """Groups of bars from 0 up; `level` is the value of a dashed line, without a label, which would cover bars."""
    values = [value for line in series for value in line.values if value is not None]
    frame = _Frame(230, max([*values, level]), percent=False)
    width = 1 / max(len(groups), 1)
    bar = width * 0.8 / max(len(series), 1)
    for column, group in enumerate(groups):
        frame.label_x((column + 0.5) * width, group)
        for number, line in enumerate(series):
            value = line.values[column]
            if value is None:
                continue
            x, y = frame.x(column * width + width * 0.1 + number * bar), frame.y(value)
            wide = round(bar * (WIDTH - _LEFT - _RIGHT) - 0.5, 1)
            tall = round(frame.y(0) - y, 1)
            frame.parts.append(f'<rect class="s{line.style}" x="{x}" y="{y}" width="{wide}" height="{tall}"/>')
    frame.level(level)
    frame.name_x(axis)
    return _svg(title, _described(groups, series, "{:.2f}"), 230, frame.parts)


def lines(
    title: str, positions: Sequence[float], series: Sequence[Series], axis: str, level: tuple[float, str] | None = None
) -> str:
    """Shares (0 to 1) over positions (0 to 100) as lines with a mark at each value."""
    values = [value for line in series for value in line.values if value is not None]
    frame = _Frame(230, max([*values, level[0] if level else 0.0]), percent=True)
    for tick in range(0, 101, 20):
        frame.label_x(tick / 100, str(tick))
    if level:
        frame.level(*level)
    for line in series:
        points = [
            (frame.x(position / 100), frame.y(value))
            for position, value in zip(positions, line.values, strict=True)
            if value is not None
        ]
        path = " ".join(f"{x},{y}" for x, y in points)
        frame.parts.append(f'<polyline class="l{line.style}" points="{path}"/>')
        frame.parts += [_mark(line.style, x, y) for x, y in points]
    frame.name_x(axis)
    return _svg(title, _described([f"{position:g}" for position in positions], series, "{:.1%}"), 230, frame.parts)


def spans(title: str, groups: Sequence[tuple[str, Sequence[Span]]], chance: tuple[float, str]) -> str:
    """Values between 0 and 1 with their intervals, a row for each, in named groups.

    `chance` is the value and the label of a dashed line.
    """
    row, gap, left = 20, 12, 112
    known = [
        edge for _, group in groups for span in group for edge in (span.value, span.low, span.high) if edge is not None
    ]
    lowest = min([*known, chance[0]]) // 0.1 * 0.1
    height = _TOP + 18 + sum(gap + row * len(group) for _, group in groups) + 22

    def x(value: float) -> float:
        return round(left + (value - lowest) / (1 - lowest) * (WIDTH - left - _RIGHT - 8), 1)

    shapes = [
        f'<line class="level" x1="{x(chance[0])}" x2="{x(chance[0])}" y1="{_TOP + 14}" y2="{height - 22}"/>',
        f'<text x="{x(chance[0])}" y="{_TOP + 8}" text-anchor="middle">{escape(chance[1])}</text>',
    ]
    shapes += [
        f'<text x="{x(number / 10)}" y="{height - 6}" text-anchor="middle">{number / 10:g}</text>'
        for number in range(round(lowest * 10), 11)
    ]
    y = _TOP + 18.0
    words = []
    for name, group in groups:
        y += gap
        shapes.append(f'<text class="strong" x="0" y="{y + row / 2 + 4}">{escape(name)}</text>')
        for span in group:
            middle = y + row / 2
            shapes.append(f'<text x="{left - 6}" y="{middle + 4}" text-anchor="end">{escape(span.label)}</text>')
            if span.low is not None and span.high is not None:
                shapes.append(
                    f'<line class="l{span.style}" x1="{x(span.low)}" x2="{x(span.high)}" y1="{middle}" y2="{middle}"/>'
                )
            shapes.append(_mark(span.style, x(span.value), middle))
            words.append(f"{name}, {span.label}: {span.value:.3f}")
            y += row
    return _svg(title, "; ".join(words), height, shapes)


def spark(title: str, values: Sequence[float | None]) -> str:
    """A small line of scores (0 to 100), the latest on the right."""
    width, height = 90, 26
    count = max(len(values) - 1, 1)
    points = [
        (round(4 + number / count * (width - 8), 1), round(3 + (1 - value / 100) * (height - 6), 1))
        for number, value in enumerate(values)
        if value is not None
    ]
    parts = [f'<line class="grid" x1="0" x2="{width}" y1="{height - 3}" y2="{height - 3}"/>']
    if points:
        path = " ".join(f"{x},{y}" for x, y in points)
        parts.append(f'<polyline class="l0" points="{path}"/>')
        parts.append(f'<circle class="s0" cx="{points[-1][0]}" cy="{points[-1][1]}" r="2.5"/>')
    words = ", ".join("none" if value is None else f"{value:.0f}" for value in values)
    return _svg(title, words, height, parts, width=width, kind="spark")


def _mark(style: int, x: float, y: float) -> str:
    """A dot, a square or a diamond, by style."""
    if style == 0:
        return f'<circle class="s0" cx="{x}" cy="{y}" r="4"/>'
    if style == 1:
        return f'<rect class="s1" x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7"/>'
    corners = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in ((0, -5), (5, 0), (0, 5), (-5, 0)))
    return f'<polygon class="s{style}" points="{corners}"/>'


def legend(names: Sequence[tuple[str, int]]) -> str:
    """A legend as HTML: names with the marks of their styles."""
    items = "".join(
        f'<li><svg width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">{_mark(style, 6, 6)}</svg> '
        f"{escape(name)}</li>"
        for name, style in names
    )
    return f'<ul class="legend">{items}</ul>'


def _described(labels: Sequence[str], series: Sequence[Series], form: str) -> str:
    descriptions = []
    for line in series:
        values = (
            f"{label}: {form.format(value)}"
            for label, value in zip(labels, line.values, strict=True)
            if value is not None
        )
        descriptions.append(f"{line.name}: {', '.join(values)}")
    return "; ".join(descriptions)


def _svg(
    title: str, description: str, height: float, parts: Sequence[str], *, width: int = WIDTH, kind: str = "chart"
) -> str:
    return (
        f'<svg class="{kind}" viewBox="0 0 {width} {height:g}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>{''.join(parts)}</svg>"
    )

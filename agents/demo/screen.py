"""Show the demo's progress: one live table on a terminal, plain lines elsewhere.

Renders a `View` and a `Status`; does not compute them. Called by `agents.demo.session`. The table fits 80 columns, and
nothing depends on colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from agents.demo.status import Move, Status
from schemas.outputs import Alert
from schemas.topics import DAY_MS

WIDTH = 80
BAR_CELLS = 34
MOVES_SHOWN = 5
ALERTS_SHOWN = 6
NAME_CELLS = 22
PLAIN_EVERY_S = 1.0
_BEST, _MIDDLE, _WORST = "green", "yellow", "red"


@dataclass(frozen=True, slots=True)
class View:
    """The state of the demo at one time, without the scores."""

    phase: str
    hint: str
    """What the user can do now; may be empty."""
    sent: int
    settled: int
    events_per_second: float
    lag: int
    kills: int
    start_ms: int
    end_ms: int
    time_ms: int | None
    """Time of the last event sent, epoch milliseconds."""


class Screen:
    """`with Screen(console, names) as screen:`, then call `show` regularly.

    On a terminal, the table is updated in place. Elsewhere, a line is printed when the phase changes and, at most once
    a second, when a figure has changed.
    """

    def __init__(self, console: Console, names: Mapping[str, str]) -> None:
        self._console = console
        self._names = names
        self._live: Live | None = None
        self._phase = ""
        """Phase of the last line printed."""
        self._line = ""
        self._next_line_s = 0.0
        if console.is_terminal:
            self._live = Live(console=console, auto_refresh=False, transient=False)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, view: View, status: Status, now_s: float) -> None:
        """Show the current state; `now_s` is a monotonic clock in seconds."""
        if self._live is not None:
            self._live.update(picture(view, status, self._names, ascii_only=self._ascii), refresh=True)
            return
        line = plain_line(view, status)
        if view.phase != self._phase or (line != self._line and now_s >= self._next_line_s):
            self._phase, self._line, self._next_line_s = view.phase, line, now_s + PLAIN_EVERY_S
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    @property
    def _ascii(self) -> bool:
        return self._console.options.ascii_only


def plain_line(view: View, status: Status) -> str:
    """The current state in one line, for logs and pipes: only the phase until there are figures."""
    if not (view.sent or view.settled or status.accounts):
        return view.phase
    bands = " ".join(f"{band} {count}" for band, count in status.bands().items()) or "none yet"
    return (
        f"{view.phase}: sent {view.sent:,}, settled {view.settled:,} ({view.events_per_second:,.0f}/s), "
        f"{status.accounts:,} accounts: {bands}; {status.changes:,} changes, {status.firing:,} alerts firing"
    )


def picture(view: View, status: Status, names: Mapping[str, str], *, ascii_only: bool = False) -> RenderableType:
    """The current state as a table of at most 80 columns."""
    parts: list[RenderableType] = [_title(view), _figures(view, status), Text()]
    parts += [_heading(f"Accounts by band: {status.accounts:,}", ascii_only), _bands(status, ascii_only), Text()]
    parts += [_heading("Biggest moves of the last 7 days", ascii_only), _moves(status, names), Text()]
    fired = f"Alerts: {status.firing:,} firing, {status.alerts_fired:,} so far"
    parts += [_heading(fired, ascii_only), _alerts(status, names)]
    if view.hint:
        parts += [Text(), Text(view.hint, style="dim")]
    frame = Table.grid(expand=False)
    frame.add_column(width=WIDTH - 1, no_wrap=True)
    frame.add_row(Group(*parts))
    return frame


def _title(view: View) -> Text:
    days = (view.end_ms - view.start_ms) // DAY_MS
    if view.time_ms is None:
        when = f"{days} days of events"
    else:
        day = min(days, (view.time_ms - view.start_ms) // DAY_MS + 1)
        when = f"day {day} of {days}, {_instant(view.time_ms)} UTC"
    text = Text("account-vitals demo", style="bold")
    text.append(f"  {view.phase}", style="not bold")
    if view.kills:
        text.append(f", killed {view.kills} x")
    return _apart(text, Text(when))


def _figures(view: View, status: Status) -> Text:
    left = Text(f"{view.events_per_second:>9,.0f} events/s   lag {view.lag:,}")
    return _apart(left, Text(f"sent {view.sent:,}  settled {view.settled:,}  changes {status.changes:,}"))


def _apart(left: Text, right: Text) -> Text:
    gap = max(2, WIDTH - 1 - left.cell_len - right.cell_len)
    line = left + Text(" " * gap) + right
    line.truncate(WIDTH - 1)
    return line


def _heading(text: str, ascii_only: bool) -> Rule:  # noqa: FBT001  private, always named by its variable
    return Rule(Text(text, style="bold"), align="left", style="dim", characters="-" if ascii_only else "─")


def _bands(status: Status, ascii_only: bool) -> RenderableType:  # noqa: FBT001  as above
    bands = status.bands()
    if not bands:
        return Text("No scores yet.", style="dim")
    table = Table.grid(padding=(0, 1))
    most = max(1, *bands.values())
    for rank, (band, count) in enumerate(bands.items()):
        colour, shape = _look(rank, len(bands), ascii_only)
        cells = round(BAR_CELLS * count / most) or (1 if count else 0)
        bar = Text(("#" if ascii_only else "█") * cells, style=colour)
        share = count / max(1, status.accounts)
        table.add_row(Text(shape, style=colour), f"{band[:NAME_CELLS]:<14}", f"{count:>7,}", f"{share:>5.0%}", bar)
    return table


def _look(rank: int, bands: int, ascii_only: bool) -> tuple[str, str]:  # noqa: FBT001  as above
    """Colour and shape of a band, by its rank from the best one."""
    if rank == 0:
        return _BEST, "+" if ascii_only else "●"
    if rank == bands - 1:
        return _WORST, "!" if ascii_only else "■"
    return _MIDDLE, "~" if ascii_only else "▲"


def _moves(status: Status, names: Mapping[str, str]) -> RenderableType:
    moves = status.biggest_moves(MOVES_SHOWN)
    if not moves:
        return Text("None yet.", style="dim")
    table = Table.grid(padding=(0, 1))
    for move in moves:
        table.add_row(*_move_cells(move, names))
    return table


def _move_cells(move: Move, names: Mapping[str, str]) -> tuple[RenderableType, ...]:
    measure, points = move.main_reason()
    arrow = Text(f"{move.delta:>+6.1f}", style="green" if move.delta > 0 else "red")
    reason = f"{_words(measure)} {points:+.1f}" if measure else ""
    return _name(move.account_id, names), arrow, f"to {move.score:>5.1f}", f"{move.band[:10]:<10}", _short(reason, 27)


def _alerts(status: Status, names: Mapping[str, str]) -> RenderableType:
    newest = list(status.alerts)[-ALERTS_SHOWN:]
    if not newest:
        return Text("None yet.", style="dim")
    table = Table.grid(padding=(0, 1))
    for alert in reversed(newest):
        table.add_row(*_alert_cells(alert, names))
    return table


def _alert_cells(alert: Alert, names: Mapping[str, str]) -> tuple[RenderableType, ...]:
    firing = alert.status == "firing"
    style = ("red" if alert.severity == "critical" else "yellow") if firing else "green"
    when = alert.starts_at if firing or alert.ends_at is None else alert.ends_at
    what = f"{alert.severity} {alert.status}" if firing else "resolved"
    subject = alert.rule if alert.score is None else f"{alert.band} at {alert.score:.1f}"
    return _instant(when), Text(f"{what[:18]:<18}", style=style), _name(alert.account_id, names), _short(subject, 24)


def _name(account_id: str, names: Mapping[str, str]) -> str:
    return f"{_short(names.get(account_id, account_id), NAME_CELLS):<{NAME_CELLS}}"


def _short(text: str, cells: int) -> str:
    return text if len(text) <= cells else text[: cells - 1] + "."


def _words(measure: str) -> str:
    return measure.replace("_", " ")


def _instant(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%m-%d %H:%M")

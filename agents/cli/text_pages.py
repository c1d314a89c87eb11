"""Pages of text for people: an explanation that can be read aloud, and how a policy spreads accounts.

Owns layout and order; the figures come ready. Times are UTC. Called by the commands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from schemas.outputs import FactorChange, Override, ScoreChange
from stream.columns.panes import UNIT_MS
from stream.explain.distribution import Distribution, Quartiles
from stream.explain.explain import Explanation
from stream.explain.forecast import Forecast
from stream.explain.since import Since, main_changes
from stream.explain.text import label_of, number
from stream.plan.plan import Plan

_TELLING = 0.05
"""Smaller shifts would read as 0.0."""
_MAIN_CHANGES = 5
_FACTORS = 3
_STEPS = 8
_BAR = 40
_CAUSES = {
    "event": "an event came",
    "window": "time passed",
    "late": "an event came late",
    "pulse": "somebody gave a pulse",
    "override": "an override began or ended",
    "segment": "the account came into another segment",
    "policy": "the policy changed",
    "peers": "its peers changed",
}


def explanation_page(told: Explanation, need_files: Mapping[str, str]) -> str:
    """The page, without a last line break; `need_files` says in words what each missing part is."""
    lines = [f"{told.account_id}: {told.score} {told.value:.1f}, {told.band} (as of {_minute(told.as_of)})"]
    if told.segment is not None:
        lines += [f"It is in segment {told.segment}, which is scored in its own way."]
    if told.override is not None:
        lines += [_override(told.override)]
    if told.exceptions:
        lines += [f"Limited, whatever the average, by: {', '.join(map(label_of, told.exceptions))}."]
    lines += [""]
    lines += ["What it is made of:", *(f"  {words}" for words in told.words), ""]
    if told.since is not None:
        lines += [*_since(told.since, told), ""]
    lines += list(_lifts(told))
    if told.ahead is not None:
        lines += ["", *_ahead(told.ahead)]
    if told.needs_files:
        lines += ["", "Not known from the latest score alone; give the event files after the account to see:"]
        lines += [f"  {need_files[part]}" for part in told.needs_files]
    return "\n".join(lines)


def _override(override: Override) -> str:
    word = f"band {override.band}" if override.score is None else f"score {override.score:.1f}"
    who = f" by {override.by}" if override.by else ""
    return f"Overridden{who} with {word} until {_minute(override.expires_at)}: {override.reason}."


def _since(since: Since, told: Explanation) -> Iterator[str]:
    yield f"What moved it since {_minute(since.at)}:"
    was = "no score yet" if since.value is None else f"{since.value:.1f}, {since.band}"
    yield f"  {was} then; {told.value:.1f}, {told.band} now: {since.delta:+.1f}."
    for factor in since.factors:
        if abs(factor.delta) >= _TELLING:
            yield f"  {label_of(factor.measure)}: {factor.before:.1f} then, {factor.after:.1f} now: {factor.delta:+.1f}"
    main = main_changes(since, _MAIN_CHANGES)
    if main:
        yield (
            "  The changes on the way:"
            if len(main) == len(since.changes)
            else (f"  The {len(main)} largest of {len(since.changes)} changes on the way:")
        )
        yield from (f"    {_change(change)}" for change in main)


def _change(change: ScoreChange) -> str:
    band = "" if change.band_from in {None, change.band_to} else f", {change.band_from} to {change.band_to}"
    moved = f"{change.from_:.1f} to {change.to:.1f}{band}"
    return f"{_minute(change.time)}: {moved}; {_CAUSES[change.cause]} ({_reasons(change.factors)})"


def _reasons(factors: list[FactorChange]) -> str:
    telling = sorted((factor for factor in factors if abs(factor.delta) >= _TELLING), key=lambda one: -abs(one.delta))
    return ", ".join(f"{label_of(one.measure)} {one.delta:+.1f}" for one in telling[:_FACTORS]) or "small shifts"


def _lifts(told: Explanation) -> Iterator[str]:
    if told.next_band is None:
        yield f"It is in the best band, {told.band}."
        return
    yield f"{told.missing_points:.1f} points are missing to {told.next_band}. Any one of these would do:"
    for lift in told.lifts:
        now = "no value" if lift.value is None else f"{lift.value:.4g}"
        unit = " % of its peers" if lift.of_peers else ""
        yield f"  {label_of(lift.measure)}: {now} -> {lift.needed:.4g}{unit}"
    if told.exceptions and not told.lifts:
        yield "  first that which limits the score has to go"
    elif not told.lifts:
        yield "  no single measure is enough: more than one has to improve"


def _ahead(ahead: Forecast) -> Iterator[str]:
    now = ahead.line[0]
    yield "If nothing happens:"
    if ahead.turn is not None:
        turn = ahead.turn
        when = f"{_minute(turn.at)} ({_days(turn.at - now.at)} ahead)"
        yield f"  It becomes {turn.band} at {when}, with {turn.score:.1f}: {_reasons(turn.factors)}."
    elif ahead.final:
        when = f"from {_minute(ahead.until)} on" if ahead.until > now.at else "already"
        yield f"  It stays {now.band} for good: {when} no event is in any window."
    else:
        yield f"  It stays {now.band} until {_minute(ahead.until)} at least."
    steps = ahead.line[1:]
    if steps:
        shown = [f"{step.score:.1f} from {_minute(step.at)[:10]}" for step in steps[:_STEPS]]
        more = f", and {len(steps) - _STEPS} more steps" if len(steps) > _STEPS else ""
        yield f"  {now.score:.1f} now, {', '.join(shown)}{more}."


def _days(span_ms: int) -> str:
    days = span_ms / UNIT_MS["day"]
    return f"{days:.0f} days" if days >= 2 else f"{span_ms / UNIT_MS['hour']:.0f} hours"  # noqa: PLR2004


def _minute(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def check_page(plan: Plan, problems: list[str], *, asked_broker: bool) -> str:
    """What a policy holds, and what is wrong around it."""
    spans = ", ".join(f"{panes} {unit}s" for unit, panes in plan.longest.items())
    head = f"policy {plan.label}: {len(plan.measures)} measures on {len(plan.columns)} columns, longest window {spans}"
    state = "settings and broker: ok" if asked_broker else "settings: ok"
    return "\n".join([head, *(problems or [state])])


def distribution_page(distribution: Distribution) -> None:
    """Print how a policy spreads accounts: histogram, bands, measures, warnings."""
    console = Console(highlight=False)
    console.print(f"\n{distribution.score} of {distribution.accounts} accounts: {_quartiles(distribution.scores)}")
    most = max((one.accounts for one in distribution.histogram), default=0)
    for one in distribution.histogram:
        bar = "█" * round(_BAR * one.accounts / max(most, 1))
        console.print(f"  {one.from_:>3} to {one.to:>3} {one.accounts:>7,} {bar}".rstrip())
    bands = ", ".join(f"{band.band} {band.accounts:,} ({band.share:.0%})" for band in distribution.bands)
    console.print(f"\nbands: {bands}\n")
    table = Table("measure", "missing", "at 0", "at 100", "min", "q1", "median", "q3", "max")
    for measure in distribution.measures:
        figures = ["-"] * 5
        if measure.values is not None:
            values = measure.values
            figures = [number(one) for one in (values.min, values.q1, values.median, values.q3, values.max)]
        shares = (f"{share:.0%}" for share in (measure.missing, measure.at_zero, measure.at_hundred))
        table.add_row(label_of(measure.measure), *shares, *figures)
    console.print(table)
    for warning in distribution.warnings:
        console.print(f"warning: {warning}", soft_wrap=True)


def _quartiles(values: Quartiles | None) -> str:
    if values is None:
        return "none"
    return f"{values.min:.1f} to {values.max:.1f}, quartiles {values.q1:.1f}, {values.median:.1f}, {values.q3:.1f}"

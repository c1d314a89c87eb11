"""The text that `vitals explain` prints.

Owns layout, order and wording; the figures come from `stream.explain`. Times are UTC. Called by `agents.cli.explain`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from agents.process.terminal import printable
from schemas.outputs import FactorChange, Override, ScoreChange
from stream.columns.panes import UNIT_MS, date_text
from stream.explain.explain import Explanation
from stream.explain.forecast import Forecast
from stream.explain.since import Since, main_changes
from stream.explain.text import exact_number, label_of, number

_SMALLEST_SHOWN = 0.05
"""A smaller shift would be printed as 0.0."""
_MAIN_CHANGES = 5
_FACTORS = 3
_STEPS = 8
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


def explanation_text(explanation: Explanation, need_files: Mapping[str, str]) -> str:
    """The text, without a final newline; `need_files` describes what is missing without event files, by name."""
    lines = [f"{explanation.account_id}: {_value(explanation)} (as of {_minute(explanation.as_of)})"]
    if explanation.last is not None:
        lines += [f"Its last score was {explanation.last.value:.1f}, {explanation.last.band}."]
    if explanation.segment is not None:
        lines += [f"It is in segment {explanation.segment}, which is scored in its own way."]
    if explanation.override is not None:
        lines += [_override(explanation.override)]
    if explanation.new_until is not None:
        lines += [f"It is new until {date_text(explanation.new_until)}: alerts about its score begin then."]
    if explanation.exceptions:
        lines += [f"Limited, whatever the average, by: {', '.join(map(label_of, explanation.exceptions))}."]
    if explanation.value is None:
        return "\n".join(map(printable, lines))
    lines += [""]
    lines += ["What it is made of:", *(f"  {words}" for words in explanation.words), ""]
    if explanation.since is not None:
        lines += [*_since(explanation.since, explanation.value, explanation.band), ""]
    lines += list(_lifts(explanation))
    if explanation.ahead is not None:
        lines += ["", *_ahead(explanation.ahead)]
    if explanation.needs_files:
        lines += ["", "Not known from the latest score alone; give the event files after the account to see:"]
        lines += [f"  {need_files[name]}" for name in explanation.needs_files]
    return "\n".join(map(printable, lines))


def _value(explanation: Explanation) -> str:
    """The score and its band, or why there is none."""
    if explanation.merged_into is not None and explanation.ended_at is not None:
        merged = f"the account was merged into {explanation.merged_into} on {date_text(explanation.ended_at)}"
        return f"{explanation.score} is not scored: {merged}"
    if explanation.state == "ended" and explanation.ended_at is not None:
        return f"{explanation.score} is not scored: the account ended on {date_text(explanation.ended_at)}"
    if explanation.value is None:
        since = explanation.last_event_at
        last = "" if since is None else f": the last event was on {date_text(since)}"
        return f"{explanation.score} has no data{last}"
    shown = "" if explanation.shown is None else f" (shown as {explanation.shown})"
    return f"{explanation.score} {explanation.value:.1f}{shown}, {explanation.band}"


def _override(override: Override) -> str:
    target = f"band {override.band}" if override.score is None else f"score {override.score:.1f}"
    author = f" by {override.by}" if override.by else ""
    return f"Overridden{author} with {target} until {_minute(override.expires_at)}: {override.reason}."


def _since(since: Since, value: float, band: str | None) -> Iterator[str]:
    yield f"What moved it since {_minute(since.at)}:"
    was = "no score yet" if since.value is None else f"{since.value:.1f}, {since.band}"
    yield f"  {was} then; {value:.1f}, {band} now: {since.delta:+.1f}."
    for factor in since.factors:
        if abs(factor.delta) >= _SMALLEST_SHOWN:
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
    shown = [factor for factor in factors if abs(factor.delta) >= _SMALLEST_SHOWN]
    largest = sorted(shown, key=lambda factor: -abs(factor.delta))[:_FACTORS]
    return ", ".join(f"{label_of(factor.measure)} {factor.delta:+.1f}" for factor in largest) or "small shifts"


def _lifts(explanation: Explanation) -> Iterator[str]:
    if explanation.next_band is None:
        yield f"It is in the best band, {explanation.band}."
        yield from explanation.notes
        return
    yield from explanation.notes
    if explanation.due_band is not None and not explanation.lifts and not explanation.missing_points:
        return  # the next band is due already
    missing = explanation.missing_points
    points = f"{missing:.1f}" if missing >= _SMALLEST_SHOWN else number(missing)
    begins = f"{points} points are missing to" if missing else "Its points are enough for"
    if not explanation.lifts:
        yield f"{begins} {explanation.next_band}."
        yield "  no single measure is enough: more than one has to improve"
        return
    yield f"{begins} {explanation.next_band}. Any one of these would do:"
    for lift in explanation.lifts:
        now = "no value" if lift.value is None else number(lift.value)
        unit = " % of its peers" if lift.of_peers else ""
        yield f"  {label_of(lift.measure)}: {now} -> {exact_number(lift.needed)}{unit}"


def _ahead(ahead: Forecast) -> Iterator[str]:
    now = ahead.line[0]
    yield "If nothing happens:"
    if ahead.turn is not None:
        turn = ahead.turn
        when = f"{_minute(turn.at)} ({_days(turn.at - now.at)} ahead)"
        yield f"  It becomes {turn.band} at {when}, with {turn.score:.1f}: {_reasons(turn.factors)}."
    elif ahead.no_data_at is not None:
        yield f"  It stays {now.band} until {_minute(ahead.until)}."
    elif ahead.final:
        when = f"from {_minute(ahead.until)} on" if ahead.until > now.at else "already"
        yield f"  It stays {now.band} for good: {when} no event is in any window."
    else:
        yield f"  It stays {now.band} until {_minute(ahead.until)} at least."
    if ahead.no_data_at is not None:
        yield f"  It has no data from {_minute(ahead.no_data_at)} on."
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

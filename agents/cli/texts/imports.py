"""The text that `vitals import` prints: what is in the files, and what becomes of it.

Owns layout and wording. Called by `agents.cli.onboarding.import_files`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from schemas.plausible_times import date_of
from stream.explain.text import counted

if TYPE_CHECKING:
    from agents.imports.plan import Plan, SourcePlan


def plan_text(plan: Plan, files: int) -> str:
    """What is in the files: the events of each topic with their first and last time, and what is left out."""
    head = f"{counted(plan.records, 'record')} in {counted(files, 'file')}: {counted(plan.events, 'event')}"
    rows = [("topic", "events", "first", "last")]
    sources = [each for each in plan.sources.values() if each.events]
    rows += [
        (each.topic, f"{each.events:,}", date_of(each.first_ms or 0), date_of(each.last_ms or 0)) for each in sources
    ]
    width, digits = (max(len(row[column]) for row in rows) for column in (0, 1))
    table = [
        f"  {topic:<{width}}  {events:>{digits}}  {first:<20}  {last}".rstrip() for topic, events, first, last in rows
    ]
    lines = [head, *(table if sources else []), *(note for each in sources for note in _notes(each))]
    lines += [f"skipped by rule {rule}: {counted(count, 'record')}" for rule, count in plan.skipped.items()]
    lines += [f"left out: {counted(count, 'record')} ({reason})" for reason, count in plan.refused.items()]
    if plan.incomplete:
        lines.append(f"sent without some of their fields: {counted(plan.incomplete, 'profile')}")
    return "\n".join(lines)


def _notes(source: SourcePlan) -> Iterator[str]:
    if source.deletions:
        records = "record deletes its profile" if source.deletions == 1 else "records delete their profiles"
        yield f"{source.topic}: {source.deletions:,} {records}"
    if source.expired:
        yield (
            f"warning: {counted(source.expired, 'event')} of {source.topic} older than the topic keeps records "
            "(retention.ms): the broker deletes them, perhaps before the workers read them; raise it first"
        )

"""The text that `vitals check` prints: what a policy contains, and how it distributes the accounts of event files.

Owns layout and wording; the figures come from `stream.explain.distribution`. Called by `agents.cli.check`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from agents.cli.texts.hints import hints
from agents.process.console import SafeConsole
from schemas.sources import BUILT_IN
from stream.explain.distribution import Distribution, Quartiles
from stream.explain.text import counted, label_of, number
from stream.plan.plan import Plan
from stream.policy.own.used import used_extensions

if TYPE_CHECKING:
    from agents.files.data_check import Warned

_BAR_WIDTH = 40


def check_text(plan: Plan, problems: list[str], *, asked_broker: bool) -> str:
    """What a policy contains, and the problems of settings and topics."""
    spans = ", ".join(counted(panes, unit) for unit, panes in plan.longest_windows.items())
    measures, columns = (
        counted(len(plan.measures), "measure"),
        counted(len({index for measure in plan.measures for index in measure.columns}), "column"),
    )
    head = f"policy {plan.label}: {measures} on {columns}, longest window {spans}"
    state = "settings and broker: ok" if asked_broker else "settings: ok"
    advice = [f"hint: {hint}" for hint in hints(plan.policy.measures)]
    return "\n".join(
        [head, *_added_sources(plan), *_extensions(plan), *_new_accounts(plan), *advice, *(problems or [state])]
    )


def data_text(warnings: Sequence[Warned]) -> str:
    """What the policy expects and the event files do not have, a line for each."""
    if not warnings:
        return "data: nothing that the policy expects is missing"
    return "\n".join(f"warning: {warned.message}" for warned in warnings)


def _added_sources(plan: Plan) -> list[str]:
    """The sources that the policy adds, and the built-in ones that have other topics by it."""
    own = [source for source in plan.sources if source != BUILT_IN.get(source.name)]
    topics = ", ".join(
        source.name if source.name == source.topic else f"{source.name} (topic {source.topic})" for source in own
    )
    return [f"sources of the policy: {topics}"] if own else []


def _extensions(plan: Plan) -> list[str]:
    """The statistics and normalisers of other packages."""
    used = used_extensions(plan.policy.measures)
    names = ", ".join(f"{group} {own.name} ({own.package} {own.version})" for group, own in used)
    return [f"extensions: {names}"] if used else []


def _new_accounts(plan: Plan) -> list[str]:
    new_accounts = plan.policy.new_accounts
    if new_accounts is None:
        return []
    days = counted(new_accounts.min_age_days, "day")
    return [f"an account is new for {days} from its first event: alerts about its score begin then"]


def print_distribution(distribution: Distribution) -> None:
    """Print how a policy distributes accounts: histogram, bands, measures, warnings."""
    console = SafeConsole()
    console.print(
        f"\n{distribution.score} of {counted(distribution.accounts, 'account')}: {_quartiles(distribution.scores)}"
    )
    most = max((bin_.accounts for bin_ in distribution.histogram), default=0)
    for bin_ in distribution.histogram:
        bar = "█" * round(_BAR_WIDTH * bin_.accounts / max(most, 1))
        console.print(f"  {bin_.from_:>3} to {bin_.to:>3} {bin_.accounts:>7,} {bar}".rstrip())
    bands = ", ".join(f"{band.band} {band.accounts:,} ({band.share:.0%})" for band in distribution.bands)
    console.print(f"\nbands: {bands}\n")
    table = Table("measure", "missing", "at 0", "at 100", "min", "q1", "median", "q3", "max")
    for measure in distribution.measures:
        figures = ["-"] * 5
        if measure.values is not None:
            values = measure.values
            figures = [number(value) for value in (values.min, values.q1, values.median, values.q3, values.max)]
        shares = (f"{share:.0%}" for share in (measure.missing, measure.at_zero, measure.at_hundred))
        table.add_row(label_of(measure.measure), *shares, *figures)
    console.print(table)
    for warning in distribution.warnings:
        console.print(f"warning: {warning}", soft_wrap=True)


def _quartiles(values: Quartiles | None) -> str:
    if values is None:
        return "none"
    return f"{values.min:.1f} to {values.max:.1f}, quartiles {values.q1:.1f}, {values.median:.1f}, {values.q3:.1f}"

"""The text of a proposed policy: TOML with the reasons as comments.

Owns wording and layout. Called by `agents.proposal.directory`.
"""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from agents.proposal.proposal import Proposal, Proposed, by_reason
from agents.proposal.spread import spread_text
from stream.columns.panes import date_text
from stream.explain.text import counted

_WIDTH = 118
_HOW = """\
#   1. Each [measures.…] table turns what an account did into one number.
#   2. `normalise` turns the number into points, from 0 (bad) to 100 (good).
#   3. The score is the average of the points; a measure with twice the `weight` matters twice as much.
#   4. `bands` say which score is healthy.
#
# Weights, thresholds and bands are a beginning, not a finding: the data say what is usual, not what is good. Every
# source has the same weight, which its measures share. If you know which accounts churned, `vitals backtest --fit`
# fits the weights.
"""
_SCORE = """\
[scores.health]
min_change = 1.0 # publish a change of at least this many points, and every change of band
bands = [
  { name = "healthy", from = 70 },
  { name = "attention", from = 40, alert = "warning" },
  { name = "at-risk", from = 0, alert = "critical" },
]
"""


def policy_text(name: str, proposal: Proposal) -> str:
    """The policy as a TOML file."""
    lines = [*_head(proposal), "#", *_HOW.splitlines(), "", f'name = "{name}"', ""]
    for measure in proposal.measures:
        lines += [*_measure(measure), ""]
    lines += _SCORE.splitlines()
    if proposal.stalls:
        lines += ["", "# A source that is silent for twice as long as it ever was is broken, and not the customers."]
    for source, days in proposal.stalls.items():
        lines += [f"[sources.{source}]", f'stall_after = "{days}d"']
    if proposal.left_out:
        lines += ["", "# Measures that were looked at and left out:"]
        lines += [f"#   {names}: {reason}" for reason, names in by_reason(proposal.left_out).items()]
    return "\n".join(lines) + "\n"


def _head(proposal: Proposal) -> Iterator[str]:
    if proposal.accounts is None or proposal.as_of_ms is None:
        yield "# What healthy means. Written by `vitals init` without looking at data: `vitals init --from FILES` does."
    else:
        accounts = counted(proposal.accounts, "account")
        as_of = date_text(proposal.as_of_ms)
        yield f"# What healthy means. Written by `vitals init --from` from the events of {accounts}, as of {as_of}."


def _measure(measure: Proposed) -> Iterator[str]:
    comments = [measure.candidate.what]
    if measure.spread is not None:
        comments.append(f"{spread_text(measure.spread)}.")
    comments.append(f"{measure.thresholds.reason[0].upper()}{measure.thresholds.reason[1:]}.")
    if measure.short is not None:
        first, window = date_text(measure.short.first_ms), measure.fields["window"].strip('"d')
        comments.append(
            f"The first event of {measure.candidate.source} is of {first}: the data have "
            f"{counted(measure.short.days, 'day')} of the {window} of the window. Values change until it is full: run "
            "`vitals init` again then."
        )
    for comment in comments:
        yield from (f"# {line}" for line in wrap(comment, _WIDTH))
    yield f"[measures.{measure.candidate.name}]"
    yield from (f"{key} = {value}" for key, value in measure.fields.items())
    yield f"normalise = {measure.thresholds.toml}"
    yield f"weight = {measure.weight}"
    if measure.candidate.missing is not None:
        yield f"missing = {measure.candidate.missing} # what an account without a value gets"

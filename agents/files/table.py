"""Scores as a table, for spreadsheets and notebooks: `vitals score --csv`.

Owns the columns of a row, and how a text is written in a cell of CSV. Called by `agents.cli.score`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agents.files.history import day_of
from agents.process.terminal import printable
from schemas.outputs import ScoreMessage
from stream.explain.selector import SelectedScore
from stream.plan.plan import Plan

COLUMNS = ("account_id", "day", "as_of", "score", "band", "state", "segment", "parent_id", "confidence")
"""What a row has of the account and its score; the first five are those of `DayScore`."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes a cell for a formula by, if it begins so; the last four are the wide forms of the signs."""

Row = Sequence[str | float | None]


def csv_cell(value: object) -> object:
    """A value as a cell of CSV: a text that a spreadsheet would take for a formula has `'` before it.

    A text has no control characters, so that it cannot act on a terminal either. A number stays as it is, also one
    below 0.
    """
    if not isinstance(value, str):
        return value
    return f"'{printable(value)}" if value.startswith(_FORMULA) else printable(value)


def score_table(messages: Sequence[ScoreMessage], plan: Plan, selected: SelectedScore) -> Iterator[Row]:
    """The header, then a row for each account: `COLUMNS`, then three columns for each measure of the selected score.

    Of a measure `usage` these are `usage`, its value in the measure's unit; `usage.points`, 0 to 100; and
    `usage.contribution`, in points of the score. Contributions sum to `score`. What a row has no value for is None.
    """
    names = _factors(messages, plan, selected)
    yield [*COLUMNS, *(column for name in names for column in (name, f"{name}.points", f"{name}.contribution"))]
    for message in messages:
        score = message.scores[selected.name]
        factors = {factor.measure: factor for factor in score.factors}
        row: list[str | float | None] = [message.account_id, day_of(plan.calendar, message.as_of), message.as_of]
        row += [score.value, score.band, message.state, message.segment, message.parent_id, score.confidence]
        for name in names:
            factor = factors.get(name)
            row += [None] * 3 if factor is None else [factor.value, factor.points, factor.contribution]
        yield row


def _factors(messages: Sequence[ScoreMessage], plan: Plan, selected: SelectedScore) -> list[str]:
    """The names of all factors: measures in the order of the policy, then what else the score consists of."""
    scores = [message.scores[selected.name] for message in messages]
    used = dict.fromkeys(factor.measure for score in scores for factor in score.factors)  # a dict keeps the order
    measures = [measure.name for measure in plan.policy.measures if measure.name in used]
    return measures + [name for name in used if name not in measures]

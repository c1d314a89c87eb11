"""Describe a factor of a score in one sentence: what its measure counts, its points, its weight, its contribution.

Owns the sentences and the form of numbers for people. Numbers come from the factor, meanings from the policy's measure.
Pure; called by `stream.explain.explain`, `stream.explain.distribution`, `agents.board.views.text` and
`agents.cli.texts.explanation`.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.outputs import Factor
from schemas.properties import property_name
from stream.columns.panes import UNIT_MS, date_text
from stream.plan.models import BASE, CLAMPING, EXCEPTION
from stream.policy.fields import account_field
from stream.policy.filters import Filter, Operand, Operator, parts_of
from stream.policy.formulas.formula import Formula, days_of
from stream.policy.measures import FACTS_SOURCE
from stream.policy.policy import Measure
from stream.policy.windows import DAYS_A_WEEK, OPEN_STATS, PERIOD_STATS

_NOUNS = {
    "product-usage": "usage event",
    "support-tickets": "ticket event",
    "surveys": "survey answer",
    "billing": "billing event",
    "engagement": "engagement event",
    "controls": "control event",
    "signals": "signal",
}
_OTHERS = {
    BASE: "base: what the score begins with",
    CLAMPING: "clamping: what lies beyond 0 or 100 does not count",
    EXCEPTION: "exception: what a measure that overrules the average takes",
}
_EXTREMES = {"mean": "average", "min": "lowest", "max": "highest", "last": "latest"}
_DAY_HOURS = 24.0
_PERIODS = {1.0: "an hour", _DAY_HOURS: "a day", 168.0: "a week"}
_OPERATORS = {"in": "", "not": "not ", "prefix": "beginning with ", "from": "of at least ", "below": "below "}
_FULL = 100.0


def number(value: float) -> str:
    """A number for people: two decimals at most, four digits where it is small; 1234.5 is 1,234.5."""
    if value and abs(value) < 1:
        return f"{value:.4g}"
    return f"{value + 0.0:,.2f}".rstrip("0").rstrip(".")


def counted(value: float, noun: str) -> str:
    """A number with what it counts: "1 account", "1,234 accounts"."""
    return f"{number(value)} {_for(value, noun)}"


def _for(value: float, noun: str) -> str:
    return noun if number(value) == "1" else f"{noun}s"


def span_text(span_ms: int) -> str:
    """A length of time in whole days or hours: "2 days", "1 hour"."""
    days, hours = span_ms // UNIT_MS["day"], span_ms // UNIT_MS["hour"]
    return counted(hours, "hour") if span_ms % UNIT_MS["day"] else counted(days, "day")


def exact_number(value: float) -> str:
    """A number for people with all of its decimals: rounding could make a limit look reached."""
    text = f"{value + 0.0:,.6f}".rstrip("0").rstrip(".")
    return text if float(text.replace(",", "")) == value else f"{value:g}"


def label_of(name: str) -> str:
    """A name as a label for people: underscores become spaces, and fields of profiles and events have no prefix."""
    function, path = days_of(name) or ("", name)
    return " ".join(filter(None, (function, property_name(path) or account_field(path) or path))).replace("_", " ")


def factor_text(
    factor: Factor,
    measure: Measure | None,
    raw: float | None = None,
    inputs: Mapping[str, float | None] | None = None,
    not_of_now: str | None = None,
) -> str:
    """One sentence: value, points, weight, contribution and cost. `measure` None: not in this policy.

    `raw` is the value before it was compared, of a measure that is compared with peers. `inputs` are the values that
    derived measures were computed from. `not_of_now` says why the value is an earlier one.
    """
    if measure is None and factor.measure in _OTHERS:
        return f"{_OTHERS[factor.measure]}: {factor.contribution:+.1f}."
    finding = _finding(factor, measure)
    if measure is not None and measure.compare == "peers":
        finding = _among_peers(measure, factor.value, raw)
    if measure is not None and measure.formula is not None:
        finding = _derived(measure, measure.formula, factor.value, inputs or {})
    if measure is not None and measure.when is not None and factor.value is None:
        finding = f"{finding}, or it is not for this account"
    if factor.history_since is not None:
        finding = f"{finding} (all events only since {date_text(factor.history_since)})"
    if not_of_now is not None:
        finding = f"{finding} ({not_of_now})"
    begins = f"{label_of(factor.measure)}: {finding}"
    if factor.points is None and factor.weight:
        return f"{begins}; each counts {number(factor.weight)}: gives {factor.contribution:+.1f}."
    if factor.points is None:
        return f"{begins}; its weight is shared among the others."
    gives = f"{factor.points:.1f} of 100 points, weight {factor.weight:.0%}: gives {factor.contribution:.1f}"
    return f"{begins}; {gives}, costs {max(factor.weight * _FULL - factor.contribution, 0.0):.1f}."


def _among_peers(measure: Measure, percentile: float | None, raw: float | None) -> str:
    if raw is None:
        return f"no value{_in_span(measure)}"
    where = "its peers are not known yet" if percentile is None else f"above {number(percentile)} % of its peers"
    return f"{_amount(measure, raw)}{_in_span(measure)}, {where}"


def _derived(measure: Measure, formula: Formula, value: float | None, inputs: Mapping[str, float | None]) -> str:
    """What an expression gives, and from which inputs."""
    if measure.compare is not None:
        if value is None:
            return f"{formula.text} has nothing to compare with before"
        return f"{formula.text}: {'+' if value > 0 else ''}{number(value)} % against the windows before"
    texts = [
        f"{label_of(name)} {'missing' if (each := inputs[name]) is None else number(each)}"
        for name in formula.inputs
        if name in inputs
    ]
    known = f" ({', '.join(texts)})" if texts else ""
    return f"{formula.text} has no value{known}" if value is None else f"{formula.text} is {number(value)}{known}"


def _finding(factor: Factor, measure: Measure | None) -> str:
    if measure is None or measure.formula is not None:
        return "no value" if factor.value is None else f"the value is {number(factor.value)}"
    if measure.source == FACTS_SOURCE:
        return _fact(measure, factor.value)
    if factor.value is None:
        if measure.compare is not None:
            return f"nothing to compare with before {_span(measure)}"
        return f"no value{_in_span(measure)}"
    if measure.compare is not None:
        return f"{_subject(measure)} in {_span(measure)}: {_comparison(measure, factor.value)}"
    return f"{_amount(measure, factor.value)}{_in_span(measure)}"


def _comparison(measure: Measure, value: float) -> str:
    """How the value of a window compares with the windows before it."""
    before = f"its own {measure.blocks} spans before"
    if measure.compare == "percentile":
        return f"above {number(value)} % of {before}"
    if measure.compare == "z":
        return f"{counted(value, 'standard deviation')} from the mean of {before}"
    change = f"{'+' if value > 0 else ''}{number(value)} %"
    return f"{change} against the {_length(measure)} before"


def _amount(measure: Measure, value: float) -> str:
    amount, events, stat = number(value), _events(measure), measure.stat
    if measure.own is not None:
        subject = f"{label_of(measure.field)} of {events}" if measure.field else events
        return f"{label_of(stat)} of {subject} is {amount}"
    if stat in _EXTREMES and measure.field is not None:
        return f"{_EXTREMES[stat]} {label_of(measure.field)} of {events} is {amount}"
    if stat in {"distinct_users", "distinct_features", "distinct_roles"}:
        condition = f" ({_condition(measure.where)})" if measure.where else ""
        noun = stat.removeprefix("distinct_").removesuffix("s")
        return f"{counted(value, f'different {noun}')}{condition}"
    if stat in (*PERIOD_STATS, *OPEN_STATS):
        return _activity(measure, value) if stat in PERIOD_STATS else _open(measure, value)
    sentences = {
        "count": f"{amount} {_events(measure, value)}",
        "rate": f"{amount} {_events(measure, value)}{_per(measure)}",
        "share": f"{number(value * 100)} % of {events} have {_condition(measure.of)}",
        "days_since_last": f"{counted(value, 'day')} since the latest of {events}",
        "last": f"latest {label_of(measure.weights[0] if measure.weights else '')} of {events} counts {amount}",
    }
    field = label_of(measure.field or "")
    of_field = {
        "distinct": f"{counted(value, 'different value')} of {field} in {events}",
        "nps": f"net promoter score of {events} is {amount}",
        "percentile": f"{measure.percent}th percentile of {field} of {events} is about {amount}",
        "days_to_first": f"{counted(value, 'day')} from {field or 'the first event'} to the first of {events}",
    }
    if stat in of_field or (stat in sentences and measure.field is None):
        return of_field.get(stat) or sentences[stat]
    return f"{_subject(measure)} comes to {amount}{_per(measure)}"


def _per(measure: Measure) -> str:
    """The period of a rate, after a blank; a week of business days has fewer hours than another.

    A week with one business day has the hours of that day, so both are named alike.
    """
    if measure.per_hours is None:
        return ""
    if measure.window.unit == "business day" and measure.per_hours == _DAY_HOURS:
        return " a business day"
    return f" {_PERIODS.get(measure.per_hours, 'a week')}"


def _open(measure: Measure, value: float) -> str:
    """How many things are open, or how old they are."""
    noun = label_of(measure.field or "").removesuffix(" id")
    conditions = f"({_condition(measure.where + measure.of)})"
    if measure.stat == "open":
        return f"{counted(value, noun)} open {conditions}"
    if measure.stat == "open_max_days":
        return f"the oldest open {noun} is {counted(value, 'day')} old {conditions}"
    return f"open {noun}s are {counted(value, 'day')} old on average {conditions}"


def _activity(measure: Measure, value: float) -> str:
    """On how many days, or in how many weeks, there were events."""
    week = _PERIODS[measure.per_hours or 0.0] == "a week"
    noun, count = ("week", measure.window.panes // DAYS_A_WEEK) if week else ("day", measure.window.panes)
    if measure.stat == "streak":
        return f"{counted(value, noun)} in a row with {_events(measure)}"
    share = f"{number(value * 100)} %" if measure.stat == "active_share" else number(value)
    return f"{share} of {counted(count, noun)} with {_events(measure)}"


def _fact(measure: Measure, value: float | None) -> str:
    field = label_of(measure.field or "")
    if value is None:
        return f"the profile has no {field}"
    if measure.stat == "value":
        return f"{field} is {number(value)}"
    return f"{counted(value, 'day')} {'since' if measure.stat == 'days_since' else 'until'} {field}"


def _subject(measure: Measure) -> str:
    """What is counted, as the beginning of a sentence."""
    events = _events(measure)
    if measure.weights is not None:
        return f"the sum of {events}, weighted by {label_of(measure.weights[0])},"
    if measure.field is not None:
        return f"the total {label_of(measure.field)} of {events}"
    return events


def _events(measure: Measure, value: float | None = None) -> str:
    """The events that a measure counts; in the singular if there is one of them."""
    noun = _NOUNS.get(measure.source, f"{measure.source} event")
    events = f"{noun}s" if value is None else _for(value, noun)
    return f"{events} ({_condition(measure.where)})" if measure.where else events


def _condition(where: Filter) -> str:
    return ", ".join(_condition_text(*parts_of(condition)) for condition in where)


def _condition_text(field: str, operator: Operator, operand: Operand) -> str:
    label = label_of(field)
    if operator == "exists":
        return f"{'with' if operand else 'without'} {label}"
    words = " or ".join(operand) if isinstance(operand, tuple) else number(operand)
    return f"{label} {_OPERATORS[operator]}{words}"


def _length(measure: Measure) -> str:
    panes, unit = measure.window.counted or measure.window.panes, measure.window.unit
    return unit if panes == 1 else f"{panes} {unit}s"


def _in_span(measure: Measure) -> str:
    """The window as the end of a sentence; nothing for a measure without one."""
    return f" in {_span(measure)}" if measure.window.panes else ""


def _span(measure: Measure) -> str:
    panes, complete = measure.window.counted or measure.window.panes, measure.current_pane == "only"
    if not complete and measure.window.unit == "month":
        return "this month" if panes == 1 else f"this month and the {counted(panes - 1, 'month')} before it"
    if not complete:
        return f"the last {_length(measure)}"
    return f"the last {'' if panes == 1 else f'{panes} '}complete {measure.window.unit}{'' if panes == 1 else 's'}"

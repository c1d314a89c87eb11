"""The report of a back-test as tables on a terminal.

Owns how things look there. Must not know where figures come from. Called by `agents.cli.main`. No meaning hangs on
colour.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.backtest.report import RECENCY, Alarms, Auc, Fit, Lead, PolicyReview, Report, Review

REVIEWS_SHOWN = 15
FACTORS_SHOWN = 2
FEW = 10
"""Churned accounts below which nothing is said to be better."""

AUC_HEADING = "AUC: how often an account that churns has the lower score (below: 95% interval)"
BANDS_HEADING = (
    "Bands, lead {} days: share of the band that churned (precision), share of all churn that was in it (recall); "
    "* with all worse bands"
)
LIFT_HEADING = "Lift by tenths of the accounts, lead {} days: churn over the base rate (share of churn caught so far)"
SCORE_HEADING = "Churn by score, lead {} days"
ALARMS_HEADING = "Alarms: episodes in alerting bands, followed by churn within {} days or not"
REVIEWS_HEADING = (
    "Accounts that churned, least expected first, {} of {}: score by days before the churn, days of warning, points of "
    "the score lost in the end"
)


def show(report: Report, console: Console) -> None:
    """Print a report."""
    for line in headlines(report):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    middle = main_lead(report)
    for heading, table in _tables(report, middle):
        console.print(Text(f"\n{heading}", style="bold"))
        console.print(table)
        if heading is AUC_HEADING and middle is not None:
            for line in verdicts(middle):
                console.print(line, highlight=False)
    console.print()
    if report.fit is not None:
        for note in report.fit.notes:
            console.print(f"beware: {note}", markup=False, highlight=False, soft_wrap=True)
    for note in report.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    for one in report.data.ignored:
        words = f"ignored: {one.count} {one.reason}, such as {one.example}"
        console.print(words, markup=False, highlight=False, soft_wrap=True)


def _tables(report: Report, middle: Lead | None) -> Iterator[tuple[str, Table]]:
    yield AUC_HEADING, _aucs(report)
    for lead in report.leads:
        if lead.churned_samples:
            yield BANDS_HEADING.format(lead.days), _bands(report, lead)
    if middle is not None:
        yield LIFT_HEADING.format(middle.days), _deciles(middle)
        yield SCORE_HEADING.format(middle.days), _calibration(report, middle)
    longest = max((lead.days for lead in report.leads), default=0)
    yield ALARMS_HEADING.format(longest), _alarms(report)
    if report.reviews:
        shown = min(REVIEWS_SHOWN, len(report.reviews))
        yield REVIEWS_HEADING.format(shown, len(report.reviews)), _reviews(report)
    if report.fit is not None:
        yield fit_heading(report.fit), _fit(report.fit)


def verdicts(lead: Lead) -> Iterator[str]:
    """Which predictor is better than which, a line each; nothing where too few accounts churned."""
    if lead.churned_accounts < FEW:
        return
    for gap in lead.differences:
        if gap.value is None or gap.low is None or gap.high is None:
            continue
        one, other = predictor(gap.of), predictor(gap.against)
        words = f"lead {lead.days} days: {one} and {other} can not be told apart"
        if gap.low > 0 or gap.high < 0:
            words = f"lead {lead.days} days: {one} tells churn {'better' if gap.low > 0 else 'worse'} than {other}"
        yield f"{words}: AUC {gap.value:+.3f} (95%: {gap.low:+.3f} to {gap.high:+.3f})"


def headlines(report: Report) -> Iterator[str]:
    """What was tried on what, a line each."""
    data = report.data
    for policy in report.policies:
        yield (
            f"{policy.key}: {policy.name}@{policy.digest}, score {policy.score}; "
            f"alerting: {', '.join(policy.alerting) or 'no band'}"
        )
    yield (
        f"{data.events:,} events ({data.duplicates:,} repeated) of {data.accounts:,} accounts, "
        f"{data.first_event[:10]} to {data.last_event[:10]}; {data.churned:,} churned; "
        f"known until {data.known_until[:10]}"
    )
    yield "recency: the baseline, days since the last event of any source"
    span = f"{data.first_cutoff[:10]} to {data.last_cutoff[:10]}"
    yield f"{data.cutoffs:,} cutoffs, one every {data.every_days} days, {span}"


def main_lead(report: Report) -> Lead | None:
    """The lead time of which more is shown: of those where something churned, the one nearest to 30 days."""
    known = [lead for lead in report.leads if lead.churned_samples]
    return min(known, key=lambda lead: abs(lead.days - 30), default=None)


def predictor(key: str) -> str:
    """How a predictor is called."""
    return key if key == RECENCY else f"policy {key}"


def percent(value: float | None) -> str:
    """A share in percent, with a digit more where it is small."""
    if value is None:
        return "-"
    return f"{value:.1%}" if abs(value) < 0.1 else f"{value:.0%}"  # noqa: PLR2004  a tenth


def number(value: float | None, digits: int = 1) -> str:
    """A number, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def interval(auc: Auc) -> str:
    """An AUC with its interval, which needs no more than two digits."""
    if auc.value is None or auc.low is None:
        return number(auc.value, 3)
    return f"{auc.value:.3f}\n{auc.low:.2f}-{auc.high:.2f}"


def _table() -> Table:
    return Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))


def _right(first: str, *rest: str) -> Table:
    table = _table()
    table.add_column(first, no_wrap=True)
    for name in rest:
        table.add_column(name, justify="right")
    return table


def _aucs(report: Report) -> Table:
    table = _right("lead")
    keys = list(report.leads[0].auc) if report.leads else []
    for name in ("base rate", "churned", "samples", *map(predictor, keys)):
        table.add_column(name, justify="right")
    for lead in report.leads:
        counts = (percent(lead.base_rate), f"{lead.churned_accounts:,}", f"{lead.samples:,}")
        table.add_row(f"{lead.days} days", *counts, *(interval(lead.auc[key]) for key in keys))
    return table


def _bands(report: Report, lead: Lead) -> Table:
    table = _right("band", "samples", "churned", "precision", "recall", "precision*", "recall*")
    several = len(report.policies) > 1
    for key, bands in lead.bands.items():
        for band in bands:
            name = f"{key} {band.band}" if several else band.band
            table.add_row(
                f"{name}, alerts" if band.alerting else name,
                f"{band.samples:,}",
                f"{band.churned:,}",
                *map(percent, (band.precision, band.recall, band.precision_to_here, band.recall_to_here)),
            )
    return table


def _deciles(lead: Lead) -> Table:
    table = _right("tenth")
    for key in lead.deciles:
        table.add_column(predictor(key), justify="right")
    for rows in zip(*lead.deciles.values(), strict=True):
        name = {1: "lowest", 10: "highest"}.get(rows[0].decile, str(rows[0].decile))
        table.add_row(name, *(f"{row.lift:.2f} ({row.caught:.0%})" for row in rows))
    return table


def _calibration(report: Report, lead: Lead) -> Table:
    table = _right("score")
    for policy in report.policies:
        table.add_column(f"{predictor(policy.key)}: samples", justify="right")
        table.add_column("churned", justify="right")
    for rows in zip(*lead.calibration.values(), strict=True):
        cells = [cell for row in rows for cell in (f"{row.samples:,}", percent(row.churn_rate))]
        table.add_row(f"{rows[0].low} to {rows[0].high}", *cells)
    return table


ALARM_ROWS: tuple[tuple[str, str, int], ...] = (
    ("accounts that churned", "churned", 0),
    ("of them warned", "warned", 0),
    ("median warning, days", "median_warning_days", 1),
    ("episodes in alerting bands", "episodes", 0),
    ("followed by churn", "followed_by_churn", 0),
    ("false alarms", "false_alarms", 0),
    ("not decided yet", "undecided", 0),
    ("false alarms an account-year", "false_alarms_per_account_year", 2),
    ("flaps", "flaps", 0),
    ("flaps an account-year", "flaps_per_account_year", 2),
)
"""What is shown of alarms: words, field, digits."""


def alarm_cell(alarms: Alarms, field: str, digits: int) -> str:
    """A figure of alarms as text."""
    value = getattr(alarms, field)
    return "-" if value is None else f"{value:,.{digits}f}"


def _alarms(report: Report) -> Table:
    table = _right("")
    for key in report.alarms:
        table.add_column(predictor(key), justify="right")
    for words, field, digits in ALARM_ROWS:
        table.add_row(words, *(alarm_cell(alarms, field, digits) for alarms in report.alarms.values()))
    return table


def warned(review: PolicyReview) -> str:
    """How many days before its churn the account entered an alerting band for the last time, in words."""
    if review.entered_alerting_at is None:
        return "never"
    return "too early" if review.warning_days is None else f"{review.warning_days:.0f}"


def dragged(review: PolicyReview, between: str = ", ", most: int | None = None) -> str:
    """What kept the score down, in words."""
    parts = [f"{part.measure.replace('_', ' ')} {part.cost:.1f}" for part in review.factors[:most]]
    return between.join(parts) or "-"


def _reviews(report: Report) -> Table:
    shown = by_surprise(report)[:REVIEWS_SHOWN]
    table = _table()
    table.add_column("account", overflow="fold", min_width=16, max_width=24)
    table.add_column("churned", no_wrap=True)
    for days in ("90", "60", "30", "7", "0"):
        table.add_column(days, justify="right", no_wrap=True)
    table.add_column("warned", justify="right", no_wrap=True)
    table.add_column("lost", no_wrap=True)
    for review in shown:
        first = True
        for key, one in review.policies.items():
            name = review.account_id if first else ""
            cells = (
                f"{key}: {name}" if len(review.policies) > 1 else name,
                review.churned_at[:10] if first else "",
                *(number(score, 0) for score in one.scores.values()),
                warned(one),
                dragged(one, "\n", FACTORS_SHOWN),
            )
            table.add_row(*map(Text, cells))
            first = False
    return table


def by_surprise(report: Report) -> list[Review]:
    """Reviews with the highest last scores of the first policy first: what the policy did not see coming."""
    key = report.policies[0].key

    def last_score(review: Review) -> float:
        score = review.policies[key].scores["0"]
        return -1.0 if score is None else score

    return sorted(report.reviews, key=last_score, reverse=True)


def fit_heading(fit: Fit) -> str:
    """What was fitted, and what it is worth."""
    return (
        f"Fitted weights, lead {fit.lead_days} days, in {fit.file}: AUC on cutoffs held out "
        f"{number(fit.auc_before, 3)} before, {number(fit.auc_after, 3)} after, {number(fit.auc_recency, 3)} by recency"
    )


def _fit(fit: Fit) -> Table:
    table = _right("measure", "before", "after")
    table.add_column("why")
    for weight in fit.weights:
        row = (weight.measure.replace("_", " "), f"{weight.before:g}", f"{weight.after:g}", weight.reason)
        table.add_row(*map(Text, row))
    return table

"""Print the report of a back-test as tables on a terminal.

Also holds the texts and number formats that the HTML page shares. Does not compute figures. Nothing depends on colour.
Called by `agents.backtest.command` and `agents.backtest.page`.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.backtest.report import (
    FEW_CHURNED,
    RECENCY,
    Alarms,
    Auc,
    Difference,
    Fit,
    Lead,
    PolicyReview,
    Report,
    Review,
)

REVIEWS_SHOWN = 15
FACTORS_SHOWN = 2

AUC_HEADING = "AUC: how often an account that churns has the lower score (second line: 95% interval)"
BANDS_HEADING = (
    "Bands, lead {} days: share of the band that churned (precision), share of all churn that was in the band "
    "(recall); *: together with all worse bands"
)
LIFT_HEADING = (
    "Lift by tenths of the samples, lead {} days: churn rate divided by base rate (share of all churn up to this tenth)"
)
SCORE_HEADING = "Churn by score, lead {} days: samples with that score, and the share that churned"
ALARMS_HEADING = "Alarms: episodes (consecutive days in alerting bands), and whether churn followed within {} days"
REVIEWS_HEADING = (
    "Accounts that churned, highest last score first, {} of {}: score 90 to 0 days before the churn, days of warning, "
    "points of the score that measures cost at the end"
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
            console.print(f"warning: {note}", markup=False, highlight=False, soft_wrap=True)
    for note in report.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    for line in ignored_lines(report):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def ignored_lines(report: Report) -> Iterator[str]:
    """What was ignored, a line for each reason."""
    for ignored in report.data.ignored:
        yield f"ignored: {ignored.count:,} with {ignored.reason}, for example {ignored.example}"


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
    """Compare each pair of predictors, a line each; empty if too few accounts churned."""
    if lead.churned_accounts < FEW_CHURNED:
        return
    for gap in lead.differences:
        if gap.value is not None and gap.low is not None and gap.high is not None:
            yield (
                f"lead {lead.days} days: {_comparison(gap, gap.low, gap.high)}: "
                f"difference in AUC {gap.value:+.3f} (95% interval {gap.low:+.3f} to {gap.high:+.3f})"
            )


def _comparison(gap: Difference, low: float, high: float) -> str:
    predictor_, other = predictor(gap.of), predictor(gap.against)
    if low > 0 or high < 0:
        return f"{predictor_} predicts churn {'better' if low > 0 else 'worse'} than {other}"
    return f"no significant difference between {predictor_} and {other}"


def headlines(report: Report) -> Iterator[str]:
    """The policies and the data, a line each."""
    data = report.data
    for policy in report.policies:
        yield (
            f"policy {policy.key}: {policy.file} ({policy.name}@{policy.digest}), score {policy.score}; "
            f"bands that alert: {', '.join(policy.alerting) or 'none'}"
        )
    yield (
        f"{data.events:,} events ({data.duplicates:,} duplicates) of {data.accounts:,} accounts, "
        f"{data.first_event[:10]} to {data.last_event[:10]}; {data.churned:,} accounts churned; "
        f"outcomes known until {data.known_until[:10]}"
    )
    span = f"{data.first_cutoff[:10]} to {data.last_cutoff[:10]}"
    yield f"{data.cutoffs:,} cutoffs (days at which scores are tested), one every {data.every_days} days, {span}"
    yield "sample: an account at a cutoff; lead: the days after the cutoff in which a churn counts"
    yield "recency: the baseline, days since the account's last event instead of its score"


def main_lead(report: Report) -> Lead | None:
    """The lead time that is shown in detail: of those with churn, the one nearest to 30 days."""
    known = [lead for lead in report.leads if lead.churned_samples]
    return min(known, key=lambda lead: abs(lead.days - 30), default=None)


def predictor(key: str) -> str:
    """The name of a predictor."""
    return key if key == RECENCY else f"policy {key}"


def percent(value: float | None) -> str:
    """A share in percent, with one more digit below 10 %."""
    if value is None:
        return "-"
    return f"{value:.1%}" if abs(value) < 0.1 else f"{value:.0%}"  # noqa: PLR2004  a tenth


def number(value: float | None, digits: int = 1) -> str:
    """A number, or a dash for None."""
    return "-" if value is None else f"{value:.{digits}f}"


def interval(auc: Auc) -> str:
    """An AUC and, on a second line, its interval."""
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
    compared = len(report.policies) > 1
    for key, bands in lead.bands.items():
        for band in bands:
            name = f"{key} {band.band}" if compared else band.band
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
    ("warned before the churn", "warned", 0),
    ("median warning, days", "median_warning_days", 1),
    ("episodes in alerting bands", "episodes", 0),
    ("right: followed by churn", "followed_by_churn", 0),
    ("false alarms", "false_alarms", 0),
    ("undecided: too recent", "undecided", 0),
    ("false alarms per account-year", "false_alarms_per_account_year", 2),
    ("flaps: back within a week", "flaps", 0),
    ("flaps per account-year", "flaps_per_account_year", 2),
)
"""Rows of the alarm tables: label, field, digits."""


def alarm_cell(alarms: Alarms, field: str, digits: int) -> str:
    """A figure of alarms as text."""
    value = getattr(alarms, field)
    return "-" if value is None else f"{value:,.{digits}f}"


def _alarms(report: Report) -> Table:
    table = _right("")
    for key in report.alarms:
        table.add_column(predictor(key), justify="right")
    for label, field, digits in ALARM_ROWS:
        table.add_row(label, *(alarm_cell(alarms, field, digits) for alarms in report.alarms.values()))
    return table


def warned(review: PolicyReview) -> str:
    """Days from the account's last entry into an alerting band to its churn, as text."""
    if review.entered_alerting_at is None:
        return "never"
    return "too early" if review.warning_days is None else f"{review.warning_days:.0f}"


def lost_points(review: PolicyReview, separator: str = ", ", most: int | None = None) -> str:
    """The points of the score that measures cost at the end, as text."""
    costs = [f"{factor.measure.replace('_', ' ')} {factor.cost:.1f}" for factor in review.factors[:most]]
    return separator.join(costs) or "-"


def _reviews(report: Report) -> Table:
    shown = by_last_score(report)[:REVIEWS_SHOWN]
    table = _table()
    table.add_column("account", overflow="fold", min_width=16, max_width=24)
    table.add_column("churned", no_wrap=True)
    for days in ("90", "60", "30", "7", "0"):
        table.add_column(days, justify="right", no_wrap=True)
    table.add_column("warned", justify="right", no_wrap=True)
    table.add_column("points lost", no_wrap=True)
    for review in shown:
        first = True
        for key, policy_review in review.policies.items():
            name = review.account_id if first else ""
            cells = (
                f"{key}: {name}" if len(review.policies) > 1 else name,
                review.churned_at[:10] if first else "",
                *(number(score, 0) for score in policy_review.scores.values()),
                warned(policy_review),
                lost_points(policy_review, "\n", FACTORS_SHOWN),
            )
            table.add_row(*map(Text, cells))
            first = False
    return table


def by_last_score(report: Report) -> list[Review]:
    """Reviews by the last score of the first policy, the highest first: the churn that it failed to predict."""
    key = report.policies[0].key

    def last_score(review: Review) -> float:
        score = review.policies[key].scores["0"]
        return -1.0 if score is None else score

    return sorted(report.reviews, key=last_score, reverse=True)


def held_out(fit: Fit) -> str:
    """What the AUC of fitted weights is measured on."""
    return "held-out cutoffs" if fit.split == "time" else "held-out accounts (five folds)"


def fit_heading(fit: Fit) -> str:
    """The file with the fitted weights, and the AUC of both policies on the held-out cutoffs."""
    return (
        f"Fitted weights, lead {fit.lead_days} days, written to {fit.file}: AUC on {held_out(fit)} "
        f"{number(fit.auc_before, 3)} before, {number(fit.auc_after, 3)} after, recency {number(fit.auc_recency, 3)}"
    )


def _fit(fit: Fit) -> Table:
    table = _right("measure", "before", "after")
    table.add_column("reason")
    for weight in fit.weights:
        row = (weight.measure.replace("_", " "), f"{weight.before:g}", f"{weight.after:g}", weight.reason)
        table.add_row(*map(Text, row))
    return table

"""Render the report of a back-test as one HTML page without scripts or external files, light and dark.

Every name from a file is escaped. Does not compute figures. Called by `agents.backtest.command`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from agents.backtest import charts
from agents.backtest.report import RECENCY, Fit, Lead, Report
from agents.backtest.tables import (
    ALARM_ROWS,
    alarm_cell,
    by_last_score,
    fit_heading,
    held_out,
    ignored_lines,
    lost_points,
    main_lead,
    number,
    percent,
    predictor,
    verdicts,
    warned,
)

REVIEWS_SHOWN = 100
STYLES = {"A": 0, "B": 1, RECENCY: 2}
"""The style of each predictor in every chart."""
STYLE_SHEET = Path(__file__).with_name("page.css")


def page(report: Report) -> str:
    """The whole page."""
    names = dict.fromkeys(policy.name for policy in report.policies)
    title = f"Back-test of {' and '.join(names)}"
    body = "\n".join(_sections(report, title))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE_SHEET.read_text(encoding='utf-8')}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _sections(report: Report, title: str) -> Iterator[str]:
    lead = main_lead(report)
    yield f"<h1>{escape(title)}</h1>"
    yield _summary(report)
    yield _tiles(report, lead)
    yield _leads(report)
    if lead is not None:
        yield _ranking(report, lead)
        yield from _bands(report)
    yield _alarms(report)
    if report.fit is not None:
        yield _fit(report.fit)
    yield _reviews(report)
    yield _remarks(report)


def _summary(report: Report) -> str:
    data = report.data
    policies = "".join(
        f"<li><strong>Policy {policy.key}</strong>: {escape(policy.file)} ({escape(policy.name)}@{policy.digest}), "
        f"score {escape(policy.score)}; bands that alert: {escape(', '.join(policy.alerting) or 'none')}</li>"
        for policy in report.policies
    )
    return (
        f'<ul class="notes">{policies}</ul><p class="soft">{data.events:,} events of {data.accounts:,} accounts, '
        f"{data.first_event[:10]} to {data.last_event[:10]}; outcomes known until {data.known_until[:10]}. "
        f"Scores are tested at {data.cutoffs:,} cutoffs, one every {data.every_days} days. A <em>sample</em> is an "
        "account at a cutoff; the <em>lead</em> is the days after the cutoff in which a churn counts. <em>Recency</em> "
        "is the baseline: days since the account's last event instead of its score.</p>"
    )


def _tiles(report: Report, lead: Lead | None) -> str:
    alarms = report.alarms
    tiles = [("accounts churned", {"": f"{report.data.churned:,}"})]
    if lead is not None:
        tiles.append((f"AUC, lead {lead.days} days", {key: number(lead.auc[key].value, 3) for key in alarms}))
    tiles.append(
        ("days of warning, median", {key: number(alarm.median_warning_days, 0) for key, alarm in alarms.items()})
    )
    rates = {key: number(alarm.false_alarms_per_account_year, 2) for key, alarm in alarms.items()}
    tiles.append(("false alarms per account-year", rates))
    cards = "".join(
        f'<div class="card"><div class="big">{_by_policy(values)}</div><div class="soft">{label}</div></div>'
        for label, values in tiles
    )
    comparisons = "".join(f"<p>{escape(line)}.</p>" for line in (verdicts(lead) if lead is not None else ()))
    return f'<div class="tiles">{cards}</div>{comparisons}'


def _by_policy(values: Mapping[str, str]) -> str:
    if len(values) == 1:
        return "".join(values.values())
    return " ".join(f'<span class="key">{key}</span> {value}' for key, value in values.items())


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], lefts: Sequence[int] = ()) -> str:
    """A table of cells that are already HTML; the first cell of each row is its heading."""
    left = [' class="left"' if column in lefts else "" for column in range(len(heads))]
    head = "".join(f'<th scope="col"{left[column]}>{label}</th>' for column, label in enumerate(heads))
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>'
        + "".join(f"<td{left[column]}>{cell}</td>" for column, cell in enumerate(row[1:], 1))
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _named(keys: Iterable[str]) -> list[tuple[str, int]]:
    """Names and styles of predictors."""
    return [(predictor(key), STYLES[key]) for key in keys]


def _leads(report: Report) -> str:
    keys = list(report.leads[0].auc)
    names, policies = [predictor(key) for key in keys], [policy.key for policy in report.policies]
    groups = []
    for lead in report.leads:
        known = [(key, auc.value, auc) for key, auc in lead.auc.items() if auc.value is not None]
        if known:
            spans = [charts.Span(predictor(key), STYLES[key], value, auc.low, auc.high) for key, value, auc in known]
            groups.append((f"{lead.days} days", spans))
    rows = [
        [
            f"{lead.days} days",
            percent(lead.base_rate),
            f"{lead.churned_accounts:,}",
            f"{lead.samples:,}",
            *(number(lead.auc[key].value, 3) for key in keys),
        ]
        for lead in report.leads
    ]
    chart = charts.spans("AUC by lead time, with 95% intervals", groups, (0.5, "chance")) if groups else ""
    table = _table(["lead", "base rate", "churned", "samples", *names], rows)
    return (
        "<h2>Does a low score predict churn?</h2><p>AUC: how often an account that churns within the lead time has a "
        "lower score than one that does not. 1 is perfect, 0.5 is chance. Base rate: the share of samples that churn."
        "</p>"
        f'{charts.legend(_named(keys))}<div class="grid2"><div class="card">{chart}</div>'
        f'<div class="card">{table}{_growth(report, policies)}</div></div>'
    )


def _growth(report: Report, policies: Sequence[str]) -> str:
    """AUC of expansions and renewals, if there were any."""
    aucs = [
        (f"{outcome}, policy {key}", [getattr(lead, field)[key] for lead in report.leads])
        for outcome, field in (("expanded", "expanded_auc"), ("renewed", "renewed_auc"))
        for key in policies
    ]
    columns = [(name, values) for name, values in aucs if any(value is not None for value in values)]
    if not columns:
        return ""
    rows = [
        [f"{lead.days} days", *(number(values[row], 3) for _, values in columns)]
        for row, lead in enumerate(report.leads)
    ]
    text = "How often an account that expands or renews has the higher score:"
    return f"<p>{text}</p>{_table(['lead', *(name for name, _ in columns)], rows)}"


def _ranking(report: Report, lead: Lead) -> str:
    keys, policies = list(lead.deciles), [policy.key for policy in report.policies]
    tenths = [charts.Series(*style, [row.lift for row in lead.deciles[key]]) for key, style in _styled(keys)]
    caught = [charts.Series(*style, [0.0, *(row.caught for row in lead.deciles[key])]) for key, style in _styled(keys)]
    rates = [
        charts.Series(*style, [row.churn_rate for row in lead.calibration[key]]) for key, style in _styled(policies)
    ]
    middles = [(row.low + row.high) / 2 for row in lead.calibration[policies[0]]]
    base = (lead.base_rate or 0.0, f"base rate {percent(lead.base_rate)}")
    tenth_numbers = [str(tenth) for tenth in range(1, 11)]
    pictures = {
        "Lift: churn rate of each tenth divided by the base rate": charts.bars(
            "Lift by tenths of the samples", tenth_numbers, tenths, "tenth, lowest scores first", 1.0
        ),
        "Share of all churn among the lowest scores": charts.lines(
            "Share of churn", [tenth * 10.0 for tenth in range(11)], caught, "% of samples, lowest scores first"
        ),
        "Churn rate by score": charts.lines("Churn rate by score", middles, rates, "score", base),
    }
    cards = "".join(f'<div class="card"><h3>{heading}</h3>{chart}</div>' for heading, chart in pictures.items())
    return (
        f"<h2>Who churns within {lead.days} days?</h2>{charts.legend(_named(keys))}"
        f'<div class="grid2">{cards}<div class="card"><h3>Figures</h3>{_ranking_figures(lead)}</div></div>'
    )


def _styled(keys: Sequence[str]) -> list[tuple[str, tuple[str, int]]]:
    return list(zip(keys, _named(keys), strict=True))


def _ranking_figures(lead: Lead) -> str:
    tenths = [
        [str(rows[0].decile), *(f"{row.lift:.2f} ({percent(row.caught)})" for row in rows)]
        for rows in zip(*lead.deciles.values(), strict=True)
    ]
    scores = [
        [f"{rows[0].low} to {rows[0].high}"]
        + [cell for row in rows for cell in (f"{row.samples:,}", percent(row.churn_rate))]
        for rows in zip(*lead.calibration.values(), strict=True)
    ]
    heads = ["score", *(head for key in lead.calibration for head in (f"{predictor(key)}: samples", "churned"))]
    return (
        f"<details><summary>Lift by tenth (share of all churn up to it)</summary>"
        f"{_table(['tenth', *map(predictor, lead.deciles)], tenths)}</details>"
        f"<details><summary>Churn rate by score</summary>{_table(heads, scores)}</details>"
    )


def _bands(report: Report) -> Iterator[str]:
    yield (
        "<h2>Bands</h2><p>Precision: the share of the band's samples that churned within the lead time. Recall: the "
        "share of all samples that churned that were in the band.</p>"
    )
    heads = ["band", "samples", "churned", "precision", "recall"]
    heads += ["precision with worse bands", "recall with worse bands"]
    for lead in report.leads:
        if lead.churned_samples:
            yield f"<h3>Lead {lead.days} days</h3>{_table(heads, _band_rows(report, lead))}"


def _band_rows(report: Report, lead: Lead) -> list[list[str]]:
    rows = []
    for key, bands in lead.bands.items():
        for band in bands:
            name = escape(band.band) + (" (alerts)" if band.alerting else "")
            shares = (band.precision, band.recall, band.precision_to_here, band.recall_to_here)
            rows.append(
                [f"{key}: {name}" if len(report.policies) > 1 else name, f"{band.samples:,}", f"{band.churned:,}"]
                + [percent(share) for share in shares]
            )
    return rows


def _alarms(report: Report) -> str:
    longest = max((lead.days for lead in report.leads), default=0)
    rows = [
        [label, *(alarm_cell(alarms, field, digits) for alarms in report.alarms.values())]
        for label, field, digits in ALARM_ROWS
    ]
    return (
        "<h2>Alarms</h2><p>An episode is a period of consecutive days in bands that alert. It is a false alarm if the "
        f"account does not churn during it or within {longest} days after it. A flap is an episode that begins at most "
        "a week after the account's previous one.</p>"
        f"{_table(['', *map(predictor, report.alarms)], rows)}"
    )


def _fit(fit: Fit) -> str:
    rows = [
        [escape(weight.measure.replace("_", " ")), f"{weight.before:g}", f"{weight.after:g}", escape(weight.reason)]
        for weight in fit.weights
    ]
    notes = "".join(f"<p><strong>Warning:</strong> {escape(note)}.</p>" for note in fit.notes)
    return (
        f"<h2>Fitted weights</h2><p>{escape(fit_heading(fit))}. Training cutoffs: {fit.train_from[:10]} to "
        f"{fit.train_until[:10]}; {held_out(fit)}: {fit.holdout_from[:10]} to {fit.holdout_until[:10]}.</p>{notes}"
        f"{_table(['measure', 'before', 'after', 'reason'], rows, lefts=(3,))}"
    )


def _reviews(report: Report) -> str:
    shown = by_last_score(report)[:REVIEWS_SHOWN]
    if not shown:
        return ""
    days = list(next(iter(shown[0].policies.values())).scores)
    compared = len(report.policies) > 1
    rows = []
    for review in shown:
        for key, policy_review in review.policies.items():
            name = escape(review.account_id)
            values = list(policy_review.scores.values())
            rows.append(
                [f"{key}: {name}" if compared else name, review.churned_at[:10]]
                + [charts.spark(f"Scores of {review.account_id}, policy {key}", values)]
                + [number(value, 0) for value in values]
                + [escape(warned(policy_review)), escape(lost_points(policy_review))]
            )
    heads = ["account", "churned", "scores", *(f"{day} days before" if day == days[0] else day for day in days)]
    return (
        f"<h2>Accounts that churned</h2><p>{len(shown)} of {len(report.reviews)}, the highest last score first: the "
        "score 90 to 0 days before the churn, the days of warning, and the points of the score that measures cost at "
        "the end. A warning is &ldquo;too early&rdquo; if the episode ended long before the churn.</p>"
        f"{_table([*heads, 'days of warning', 'points lost'], rows, lefts=(2, 4 + len(days)))}"
    )


def _remarks(report: Report) -> str:
    remarks = [*report.notes, *ignored_lines(report)]
    if not remarks:
        return ""
    items = "".join(f"<li>{escape(remark)}</li>" for remark in remarks)
    return f'<h2>Notes on the data</h2><ul class="notes">{items}</ul>'

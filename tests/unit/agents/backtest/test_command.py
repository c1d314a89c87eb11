"""`vitals backtest` on a synthetic company whose law of churn is known: figures, output, files and rejected usage."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from agents.backtest.outcomes import read_outcomes
from agents.backtest.page import page
from agents.backtest.report import Report
from agents.backtest.tables import show
from agents.cli.main import app
from stream.policy.policy import parse_policy
from tests.driving.known_truth import EQUAL, TRUE_WEIGHTS, TRUTH, company, policy, write
from tests.pages.blocks import DOCS, blocks

BACKTEST_PAGE = DOCS / "how-to/backtest.md"
VOID = {"meta", "line", "circle", "rect", "polyline", "polygon", "br"}


def vitals(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, ["backtest", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("company")
    write(target, company())
    return target


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    """Equal weights against the true weights, with a fit of the policy that has equal weights."""
    done = vitals(
        folder / "events.jsonl", "--outcomes", folder / "outcomes.csv",
        "--policy", folder / "equal.toml", "--policy", folder / "truth.toml",
        "--lead", "30,7", "--fit", folder / "fitted.toml", "--fit-lead", 7, "--html", folder / "report.html", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return msgspec.json.decode(done.stdout, type=Report)


def test_true_weights_predict_churn_better_than_equal_weights_and_both_better_than_recency(report: Report) -> None:
    assert [lead.days for lead in report.leads] == [7, 30]
    for lead in report.leads:
        equal, true, recency = (lead.auc[key].value or 0.0 for key in ("A", "B", "recency"))
        assert 0.5 < recency < equal < true
        assert all(gap.high is not None and gap.high < 0 for gap in lead.differences if gap.against == "B")
        assert all(gap.low is not None and gap.low > 0 for gap in lead.differences if gap.against == "recency")


def test_the_fit_recovers_the_true_weights(report: Report, folder: Path) -> None:
    """Within 5 of 100, which is 0.5 of a slope: with 500 churned accounts its standard error is about 0.2."""
    fit = report.fit
    assert fit is not None
    fitted = {weight.measure: weight.after for weight in fit.weights}
    assert fitted == pytest.approx(TRUE_WEIGHTS, abs=5)
    assert sorted(fitted, key=fitted.__getitem__) == sorted(TRUE_WEIGHTS, key=TRUE_WEIGHTS.__getitem__)
    assert fit.auc_before is not None
    assert fit.auc_after is not None
    assert fit.auc_recency is not None
    assert fit.auc_after > fit.auc_before > fit.auc_recency
    assert fit.train_until < fit.holdout_from
    text = (folder / "fitted.toml").read_text(encoding="utf-8")
    written = parse_policy(text)
    assert {measure.name: measure.weight for measure in written.measures} == pytest.approx(fitted)
    assert f"{written.name}@{written.digest}" == fit.policy
    assert f"{fit.auc_before:.3f} before, {fit.auc_after:.3f} after" in text
    assert re.sub(r"weight = .*", "weight = 20", text).endswith(EQUAL)


def test_worse_bands_churn_more_and_their_samples_add_up(report: Report) -> None:
    for lead in report.leads:
        worst, middle, best = lead.bands["B"]
        assert (worst.precision or 0) > (middle.precision or 0) > (best.precision or 0)
        assert sum(band.samples for band in lead.bands["B"]) == lead.samples
        assert sum(band.churned for band in lead.bands["B"]) == lead.churned_samples
        assert best.recall_to_here == 1.0
        assert best.precision_to_here == lead.base_rate
    assert len(report.reviews) == report.alarms["A"].churned
    assert 0 < report.alarms["B"].warned <= report.alarms["B"].churned


def test_the_tables_fit_eighty_columns(folder: Path) -> None:
    done = vitals(
        folder / "events.jsonl", "--outcomes", folder / "outcomes.csv", "--policy", folder / "truth.toml",
        "--lead", "7", "--every", "14",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "policy A predicts churn better than recency" in " ".join(done.stdout.split())
    for heading in ("AUC", "Bands, lead 7 days", "Lift by tenths", "Churn by score", "Alarms", "Accounts that churned"):
        assert heading in done.stdout
    # The terminal wraps the lines before and after the tables.
    tables = done.stdout.partition("AUC")[2].partition("note: ")[0].splitlines()
    assert max(map(len, tables)) <= 80


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self.open.pop() == tag


def tags_of(text: str) -> _Tags:
    tags = _Tags()
    tags.feed(text)
    tags.close()
    assert tags.open == []
    return tags


def charts_of(text: str) -> list[ET.Element]:
    return [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]  # noqa: S314  our own page


def test_the_page_is_well_formed_and_loads_no_external_file(report: Report, folder: Path) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert text == page(report)
    tags = tags_of(text)
    assert tags.links == []
    assert not tags.seen & {"script", "link", "img", "iframe"}
    assert "url(" not in text
    assert '<meta name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
    assert "Fitted weights" in text


def test_every_chart_has_a_label_and_a_description(report: Report) -> None:
    charts = [chart for chart in charts_of(page(report)) if chart.get("aria-hidden") != "true"]
    assert len(charts) > 4
    for chart in charts:
        assert chart.get("role") == "img"
        assert chart.get("aria-label")
        described = chart.find("desc")
        assert described is not None
        assert described.text
        for element in chart.iter():
            assert "nan" not in " ".join(element.attrib.values()).lower()


def test_names_from_files_are_escaped(report: Report) -> None:
    evil = '<script>alert("x")</script>&'
    copy = msgspec.json.decode(msgspec.json.encode(report), type=Report)
    copy.policies[0].name = copy.policies[0].file = copy.policies[0].score = copy.policies[0].alerting[0] = evil
    copy.leads[0].bands["A"][0].band = evil
    copy.reviews = copy.reviews[:3]
    copy.reviews[0].account_id = evil
    copy.reviews[0].policies["A"].factors[0].measure = evil
    copy.notes = [evil]
    assert copy.fit is not None
    copy.fit.file = copy.fit.weights[0].measure = copy.fit.weights[0].reason = evil
    text = page(copy)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 10
    tags_of(text)
    charts_of(text)


def test_a_report_without_churn_makes_a_page_and_the_fit_fails(folder: Path, tmp_path: Path) -> None:
    none = tmp_path / "none.csv"
    none.write_text("account_id,churned_at\n", encoding="utf-8")
    done = vitals(
        folder / "events.jsonl", "--outcomes", none, "--policy", folder / "truth.toml", "--lead", "7,4000",
    )  # fmt: skip
    assert done.exit_code == 2
    assert "--lead" in done.stderr
    html = tmp_path / "none.html"
    done = vitals(
        folder / "events.jsonl", "--outcomes", none, "--policy", folder / "truth.toml", "--lead", "7,1000",
        "--html", html, "--fit", tmp_path / "fitted.toml",
    )  # fmt: skip
    assert done.exit_code == 1
    assert "0 churned accounts to train on" in done.stderr
    assert "lead 1000 days: no cutoff is followed by 1000 days of known outcomes" in done.stdout
    tags_of(html.read_text(encoding="utf-8"))
    assert not (tmp_path / "fitted.toml").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--lead", "soon"), "--lead 'soon'"),
        (("--lead", "0,7"), "whole days"),
        (("--since", "yesterday"), "--since 'yesterday'"),
        (("--until", "2025-01-01T00:00:00"), "offset"),
        (("--score", "wealth"), "no score 'wealth'; it has health"),
        (("--policy", "truth.toml", "--policy", "equal.toml", "--policy", "equal.toml"), "one or two"),
        (("--policy", "truth.toml", "--fit", "truth.toml"), "is the policy itself"),
        (("--outcomes", "gone.csv"), "gone.csv"),
        (("--outcomes", "truth.toml"), "account_id"),
        (("--html", "gone/report.html"), "--html gone/report.html: the folder gone does not exist"),
        (("--fit", "gone/fitted.toml"), "--fit gone/fitted.toml: the folder gone does not exist"),
    ],
)
def test_bad_usage_exits_with_2_and_names_the_mistake(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: tuple[str, ...], named: str
) -> None:
    for name in ("outcomes.csv", "truth.toml", "equal.toml"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    first = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()[:50]
    later = json.dumps({"topic": "engagement", "id": "l", "account_id": "a", "time": 1_740_000_000_000, "kind": "x"})
    (tmp_path / "events.jsonl").write_text("\n".join([*first, later]), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    arguments = ("events.jsonl", *(() if "--outcomes" in options else ("--outcomes", "outcomes.csv")), *options)
    done = vitals(*arguments)
    assert done.exit_code == 2, done.output
    assert named in done.stderr


def test_a_history_without_events_fails_with_1(tmp_path: Path) -> None:
    (tmp_path / "engagement.jsonl").write_text("", encoding="utf-8")
    (tmp_path / "outcomes.csv").write_text("account_id,churned_at\n", encoding="utf-8")
    done = vitals(tmp_path / "engagement.jsonl", "--outcomes", tmp_path / "outcomes.csv")
    assert done.exit_code == 1
    assert "no usable event" in done.stderr


def test_the_synthetic_policies_differ_in_weights_only() -> None:
    assert policy(TRUE_WEIGHTS) == TRUTH
    assert re.sub(r"weight = .*", "", TRUTH) == re.sub(r"weight = .*", "", EQUAL)


def test_the_docs_show_what_the_command_prints(report: Report) -> None:
    """Line by line except for digits: the last digits of resampling and fitting depend on library versions."""

    def without_digits(text: str) -> list[str]:
        return [re.sub(r"\d+", "0", line.rstrip()) for line in text.splitlines()]

    shown = blocks("text", BACKTEST_PAGE)
    assert len(shown) == 3
    copy = msgspec.json.decode(msgspec.json.encode(report), type=Report)
    assert copy.fit is not None
    copy.fit.file = "fitted.toml"
    printed = io.StringIO()
    show(copy, Console(file=printed, width=80))
    lines = without_digits(printed.getvalue())
    for block in shown:
        assert [line for line in without_digits(block) if line not in lines] == []


def test_the_outcomes_in_the_docs_are_read(tmp_path: Path) -> None:
    (shown,) = blocks("csv", BACKTEST_PAGE)
    (tmp_path / "outcomes.csv").write_text(shown, encoding="utf-8")
    outcomes = read_outcomes(tmp_path / "outcomes.csv")
    assert outcomes.bad == []
    assert (set(outcomes.churned), set(outcomes.renewed)) == ({"birch"}, {"acme"})

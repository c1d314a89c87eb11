"""Labels of one date: weights are fitted by cross-validation over accounts, as well as an ordinary regression does."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
import pytest

from agents.backtest.fit import FOLDS, FitError, folds_of, split_over_accounts
from agents.backtest.replay import make_grid, read_scores
from agents.backtest.run import Request, run_backtest
from agents.files.replay import read_events, replay_files
from stream.explain.selector import select_score
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy

if TYPE_CHECKING:
    from pathlib import Path

    from agents.backtest.run import Result

DAY_MS = 86_400_000
START_MS = 20_089 * DAY_MS  # 2025-01-01
CHURN_DAY, LEAD = 40, 30
SLOPES = np.array([4.0, 2.0, 1.0])
MEASURES = ("usage", "support", "colour")
POLICY = 'name = "one-date"\n' + "".join(
    f'[measures.{name}]\nsource = "signals"\nstat = "last"\nfield = "value"\nwhere = {{ name = ["{name}"] }}\n'
    'window = "90d"\nnormalise = { kind = "linear", zero_at = 0, hundred_at = 100 }\nweight = 1\n'
    for name in MEASURES
)
POLICY += '[scores.health]\nmin_change = 1\nbands = [{ name = "fine", from = 50 }, { name = "poor", from = 0 }]\n'


def day(number: int) -> str:
    return datetime.fromtimestamp((START_MS + number * DAY_MS) / 1000, UTC).date().isoformat()


def write(folder: Path, accounts: int) -> None:
    """Accounts with three points each on day 1, whose churn on one date follows a logistic law."""
    generator = np.random.default_rng(3)
    points = generator.uniform(0, 100, (accounts, len(MEASURES))).round(1)
    churned = generator.random(accounts) < 1 / (1 + np.exp(-(2.0 - points @ SLOPES / 100)))
    lines = [
        {"topic": "signals", "id": f"{account}-{name}", "account_id": f"a{account}", "name": name, "value": value}
        | {"time": START_MS + DAY_MS + account}
        for account, row in enumerate(points.tolist())
        for name, value in zip(MEASURES, row, strict=True)
    ]
    lines.append({**lines[0], "id": "last", "time": START_MS + (CHURN_DAY - 1) * DAY_MS})
    (folder / "events.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    rows = [f"a{account},{day(CHURN_DAY) if gone else ''}" for account, gone in enumerate(churned.tolist())]
    (folder / "outcomes.csv").write_text("\n".join(["account_id,churned_at", *rows]), encoding="utf-8")
    (folder / "policy.toml").write_text(POLICY, encoding="utf-8")


def fitted(folder: Path) -> Result:
    """The back-test with `--since` one lead before the date, so that the first cutoff has the labels."""
    policy = folder / "policy.toml"
    request = Request(
        [folder / "events.jsonl"],
        folder / "outcomes.csv",
        [(policy, parse_policy(policy.read_text("utf-8"), str(policy)))],
        [LEAD],
        since_ms=START_MS + (CHURN_DAY - LEAD) * DAY_MS,
        fit=folder / "fitted.toml",
        fit_lead=LEAD,
    )
    return run_backtest(request)


def test_a_fit_to_labels_of_one_date_is_as_good_as_an_ordinary_regression(tmp_path: Path) -> None:
    write(tmp_path, 1_500)
    result = fitted(tmp_path)
    fit = result.report.fit
    assert fit is not None, result.problem
    assert (fit.split, fit.holdout_cutoffs, fit.holdout_samples, fit.notes) == ("accounts", 1, 1_500, [])
    plan = compile_plan(parse_policy(POLICY))
    cutoff = int(make_grid(read_events([tmp_path / "events.jsonl"], []), 1).boundaries[0]) + 9 * DAY_MS
    engine = replay_files([tmp_path / "events.jsonl"], plan, cutoff).engine
    rows = engine.accounts.alive()
    points = read_scores(engine, rows, select_score(plan.policy)).points
    names = [engine.accounts.index.names[row] for row in rows.tolist()]
    gone = set(_churned(tmp_path))
    churned = np.array([name in gone for name in names])
    # The folds are those of the fit: by the number of the account in order of its name.
    accounts = np.argsort(np.argsort(names))
    linear_model, metrics = (import_module(f"sklearn.{name}") for name in ("linear_model", "metrics"))  # a slow import
    aucs = []
    for train, held in split_over_accounts(accounts, churned):
        model = linear_model.LogisticRegression(C=1e6, max_iter=1000).fit(points[train], churned[train])
        aucs.append(metrics.roc_auc_score(churned[held], model.decision_function(points[held])))
    assert fit.auc_after is not None
    assert fit.auc_before is not None
    assert fit.auc_after == pytest.approx(np.mean(aucs), abs=0.002)
    assert fit.auc_after > fit.auc_before
    weights = {weight.measure: weight.after for weight in fit.weights}
    assert weights["usage"] > weights["support"] > weights["colour"] > 0
    text = (tmp_path / "fitted.toml").read_text("utf-8")
    assert "each account once, in five folds: 1500 samples" in text
    written = {measure.name: measure.weight for measure in parse_policy(text, "fitted.toml").measures}
    assert written == weights


def _churned(folder: Path) -> list[str]:
    rows = (folder / "outcomes.csv").read_text("utf-8").splitlines()[1:]
    return [row.partition(",")[0] for row in rows if not row.endswith(",")]


def test_too_few_churned_accounts_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, 25)
    result = fitted(tmp_path)
    assert result.report.fit is None
    assert "too little churn to fit" in (result.problem or "")


def test_every_account_is_held_out_once_and_never_trained_on_meanwhile() -> None:
    accounts = np.repeat(np.arange(103), 4)
    churned = np.isin(accounts, np.arange(0, 103, 4)) & (np.arange(len(accounts)) % 4 == 3)
    pairs = split_over_accounts(accounts, churned)
    assert len(pairs) == FOLDS
    assert np.sum([held for _, held in pairs], axis=0).tolist() == [1] * len(accounts)
    for train, held in pairs:
        assert not set(accounts[train]) & set(accounts[held])
        assert len(set(accounts[held & churned])) in {5, 6}
        assert len(set(accounts[held])) in {20, 21, 22}


def test_the_split_by_time_is_preferred() -> None:
    cutoffs, accounts = np.repeat(np.arange(100) * 7 * DAY_MS, 50), np.tile(np.arange(50), 100)
    churned = np.ones(len(accounts), dtype=bool)
    assert folds_of(cutoffs, 7 * DAY_MS, accounts, churned).split == "time"
    one_date = cutoffs == 0
    assert folds_of(cutoffs, 7 * DAY_MS, accounts, one_date).split == "accounts"
    with pytest.raises(FitError, match="too little churn"):
        folds_of(cutoffs, 7 * DAY_MS, accounts, one_date & (accounts < 14))

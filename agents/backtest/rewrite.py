"""Replace the weights in the text of a policy and leave everything else unchanged.

Finds the weights in every form that TOML allows, and writes a comment beside each. tomlkit keeps comments and spacing;
it is imported on use, because only the extra `backtest` installs it. Called by `agents.backtest.fitted_policy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agents.backtest.report import Fit, FittedWeight

if TYPE_CHECKING:
    from tomlkit import TOMLDocument


def with_weights(text: str, weights: Sequence[FittedWeight], score: str | None = None) -> str:
    """The text of a valid policy with these weights, each with a comment: the old weight, and the reason for the new.

    Weights are set in the tables of the measures, or in the table `weights` of `score` if that is given.
    """
    import tomlkit  # noqa: PLC0415  only the extra `backtest` installs it

    document = tomlkit.parse(text.removeprefix("\ufeff"))
    for fitted in weights:
        path = ("measures", fitted.measure, "weight") if score is None else ("scores", score, "weights", fitted.measure)
        _set_weight(document, fitted, path)
    return tomlkit.dumps(document)


def _set_weight(document: TOMLDocument, fitted: FittedWeight, path: Sequence[str]) -> None:
    import tomlkit  # noqa: PLC0415  as above
    from tomlkit.items import InlineTable  # noqa: PLC0415  as above

    holder: Any = document
    inline: Any = None
    for key in path[:-1]:
        holder = holder[key]
        if inline is None and isinstance(holder, InlineTable):
            inline = holder  # a { table } cannot contain a comment, so it follows the table
    weight = tomlkit.item(int(fitted.after) if fitted.after.is_integer() else fitted.after)
    words = f"was {fitted.before:g}; {fitted.reason}"
    if inline is None:
        # The comment is set before the assignment, because tomlkit returns copies for dotted keys.
        weight.comment(_after(holder[path[-1]], words))
        holder[path[-1]] = weight
    else:
        holder[path[-1]] = weight
        inline.comment(_after(inline, f"{fitted.measure}: {words}"))


def _after(item: Any, words: str) -> str:
    """The comment that an item already has, followed by the new one."""
    earlier = item.trivia.comment.lstrip("# ").rstrip()
    return f"{earlier}; {words}" if earlier else words


def header(fit: Fit, origin: str) -> str:
    """The comment at the head of the file: where the weights come from, and their AUC on the held-out cutoffs."""

    def figure(value: float | None) -> str:
        return "unknown" if value is None else f"{value:.3f}"

    trained = f"{fit.train_samples} samples, {fit.train_churned_accounts} churned accounts"
    held_out = f"{fit.holdout_samples} samples, {fit.holdout_churned_accounts} churned accounts"
    split = f"cutoffs {fit.holdout_from[:10]} to {fit.holdout_until[:10]}"
    if fit.split == "accounts":
        split = "each account once, in five folds"
    aucs = f"{figure(fit.auc_before)} before, {figure(fit.auc_after)} after, recency {figure(fit.auc_recency)}"
    lines = [
        f"Policy {origin} with weights fitted by vitals backtest --fit. Everything else is unchanged.",
        "",
        f"  trained on   cutoffs {fit.train_from[:10]} to {fit.train_until[:10]}: {trained}",
        f"  held out     {split}: {held_out}",
        f"  lead time    {fit.lead_days} days",
        f"  AUC held out {aucs}",
        *(f"  warning      {note}" for note in fit.notes),
        "",
        "New weights change the scores: check where the bands begin before you use this policy.",
    ]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines) + "\n"

"""A policy's text with other weights, everything else as it was.

Owns where weights stand in the text of a policy and what is written beside them. tomlkit keeps comments and spacing; it
is imported when it is used, since only the extra `backtest` brings it. Must not know where weights come from beyond the
words handed in. Called by `agents.backtest.run`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agents.backtest.report import Fit, FittedWeight

if TYPE_CHECKING:
    from tomlkit import TOMLDocument


def with_weights(text: str, weights: Sequence[FittedWeight], score: str | None = None) -> str:
    """The text of a valid policy with these weights, each with a comment that says what it was and why it is so.

    They stand with the measures, or in the table `weights` of `score` where one is named.
    """
    import tomlkit  # noqa: PLC0415  only the extra `backtest` brings it

    document = tomlkit.parse(text.removeprefix("\ufeff"))
    for fitted in weights:
        path = ("measures", fitted.measure, "weight") if score is None else ("scores", score, "weights", fitted.measure)
        _put(document, fitted, path)
    return tomlkit.dumps(document)


def _put(document: TOMLDocument, fitted: FittedWeight, path: Sequence[str]) -> None:
    import tomlkit  # noqa: PLC0415  as above
    from tomlkit.items import InlineTable  # noqa: PLC0415  as above

    holder: Any = document
    inline: Any = None
    for key in path[:-1]:
        holder = holder[key]
        if inline is None and isinstance(holder, InlineTable):
            inline = holder  # no comment can stand inside a { table }, so it goes behind it
    weight = tomlkit.item(int(fitted.after) if fitted.after.is_integer() else fitted.after)
    words = f"was {fitted.before:g}; {fitted.reason}"
    if inline is None:
        # Made before it is put in its place: of dotted keys tomlkit hands out copies.
        weight.comment(_after(holder[path[-1]], words))
        holder[path[-1]] = weight
    else:
        holder[path[-1]] = weight
        inline.comment(_after(inline, f"{fitted.measure}: {words}"))


def _after(item: Any, words: str) -> str:
    """The comment that stands behind an item already, and the new one."""
    earlier = item.trivia.comment.lstrip("# ").rstrip()
    return f"{earlier}; {words}" if earlier else words


def header(fit: Fit, origin: str) -> str:
    """The comment that tells where the weights come from and what they were worth on what was held out."""

    def figure(value: float | None) -> str:
        return "unknown" if value is None else f"{value:.3f}"

    trained = f"{fit.train_samples} samples, {fit.train_churned_accounts} churned accounts"
    held_out = f"{fit.holdout_samples} samples, {fit.holdout_churned_accounts} churned accounts"
    aucs = f"{figure(fit.auc_before)} before, {figure(fit.auc_after)} after, {figure(fit.auc_recency)} by recency alone"
    lines = [
        f"Weights of policy {origin}, fitted to data by vitals backtest --fit; all else is as it was.",
        "",
        f"  trained on   cutoffs {fit.train_from[:10]} to {fit.train_until[:10]}: {trained}",
        f"  held out     cutoffs {fit.holdout_from[:10]} to {fit.holdout_until[:10]}: {held_out}",
        f"  lead time    {fit.lead_days} days",
        f"  AUC held out {aucs}",
        *(f"  beware       {note}" for note in fit.notes),
        "",
        "Other weights give other scores: look at where the bands begin before you use it.",
    ]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines) + "\n"

"""The command `vitals shadow`: compares the shadow policy with the live one, and promotes it.

Owns its options and what it prints; the work is in `agents.shadow`. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast
# ruff: noqa: PLR0917 -- the parameters of a command are its options

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agents.cli.base import (
    DONE,
    FAILED,
    MISUSED,
    AsJson,
    BrokerUrl,
    PolicyPath,
    SettingsFile,
    ShadowPath,
    candidate_of,
    errors_reported,
    fail,
    plan_of,
    say,
    say_json,
    settings_of,
)
from schemas.topics import SHADOW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents.settings.settings import Settings
    from agents.shadow.outputs import PolicyOutputs
    from agents.shadow.promotion import Promotion
    from stream.explain.differences import AlertOf, Differences


def shadow(
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    most: Annotated[int, typer.Option("--top", min=0, help="Number of accounts and alerts to list.")] = 10,
    as_json: AsJson = False,
    promote: Annotated[
        bool, typer.Option("--promote", help="Replace the live policy file with the candidate.")
    ] = False,
    policy: PolicyPath = None,
    candidate: ShadowPath = None,
) -> None:
    """Compare the shadow policy with the live policy; --promote makes the shadow policy live."""
    from agents.shadow.outputs import read_outputs
    from stream.explain.differences import compare

    loaded = settings_of(settings, broker=broker, policy=policy, shadow=candidate)
    if promote and loaded.shadow is None:
        fail(MISUSED, "--promote needs the candidate's file: --shadow FILE or VITALS_SHADOW")
    with errors_reported():
        outputs = read_outputs(loaded)
    for topic, records in outputs.unreadable.items():
        say(f"note: {records:,} records of {topic} could not be read and are left out", err=True)
    if promote:
        promotion = _promote(loaded, outputs)
        say_json(promotion) if as_json else say(_promoted_text(promotion))
        raise typer.Exit(DONE)
    if not outputs.shadow:
        topic = loaded.topic(SHADOW)
        fail(FAILED, f"{topic} is empty: start the workers with a shadow policy, --shadow FILE or VITALS_SHADOW")
    labels = outputs.live_policy, outputs.shadow_policy
    differences = compare(outputs.live, outputs.shadow, outputs.opened, labels, most)
    if as_json:
        say_json(differences)
    else:
        _print_differences(differences, most)


def _promote(settings: Settings, outputs: PolicyOutputs) -> Promotion:
    from agents.shadow.promotion import PromotionError, promote, refusal

    plan = plan_of(settings)
    candidate = candidate_of(settings, plan)
    assert candidate is not None
    assert settings.shadow is not None
    problem = refusal(outputs, plan.label, candidate.label)
    if problem:
        fail(FAILED, problem)
    try:
        return promote(settings.policy, settings.shadow, plan.label, candidate.label)
    except PromotionError as error:
        fail(FAILED, str(error))


def _promoted_text(promotion: Promotion) -> str:
    return (
        f"{promotion.file} is now {promotion.policy}; {promotion.former} is kept as {promotion.kept_as}.\n"
        "Stop all workers, then start them: they continue with the state that the shadow has built up.\n"
        "Do not start a worker without the shadow before that, or its state is lost."
    )


def _print_differences(differences: Differences, most: int) -> None:
    """Print the differences as tables, with at most `most` accounts and alerts of each kind."""
    from rich.table import Table

    from agents.process.console import SafeConsole

    console = SafeConsole()
    console.print(f"live {differences.live}, shadow {differences.shadow}", soft_wrap=True)
    console.print(
        f"{differences.accounts:,} accounts with both, "
        f"{differences.only_live:,} only live, {differences.only_shadow:,} only shadow; "
        f"{differences.changed:,} with another score, {differences.moved:,} in another band",
        soft_wrap=True,
    )
    bands = Table("score", "band", "live", "shadow", "difference")
    for band in differences.bands:
        bands.add_row(band.score, band.band, f"{band.live:,}", f"{band.shadow:,}", f"{band.shadow - band.live:+,}")
    console.print(bands)
    for move in differences.moves[:most]:
        line = f"{move.accounts:,} would be {move.to} instead of {move.from_} ({move.score})"
        console.print(line, soft_wrap=True)
    if differences.farthest:
        table = Table("account", "score", "live", "shadow", "difference")
        for score in differences.farthest:
            live, shadow = f"{score.live:.1f} {score.band_live}", f"{score.shadow:.1f} {score.band_shadow}"
            table.add_row(score.account_id, score.score, live, shadow, f"{score.delta:+.1f}")
        console.print(table)
    alerts = Table("alert", "open live", "open shadow", "raised", "spared")
    for rule in differences.alerts:
        alerts.add_row(rule.rule, *(f"{count:,}" for count in (rule.live, rule.shadow, rule.raised, rule.spared)))
    console.print(alerts if differences.alerts else "no alert is open with either policy")
    for label, alerts_listed in (("raised", differences.raised), ("spared", differences.spared)):
        if alerts_listed:
            console.print(_listed(label, alerts_listed, most), soft_wrap=True)


def _listed(label: str, alerts: Sequence[AlertOf], most: int) -> str:
    names = [f"{alert.account_id} {alert.rule}" for alert in alerts[:most]]
    rest = [f"{len(alerts) - most:,} more"] if len(alerts) > most else []
    return f"{label}: {', '.join(names + rest)}"

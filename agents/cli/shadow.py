"""The command `vitals shadow`: what a candidate policy would change, and making it the live one.

Owns its arguments and what it prints. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- a command imports what it needs, so that `vitals --help` is instant
# ruff: noqa: PLR0917 -- the parameters of a command are its options

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
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
    fail,
    plan_of,
    settings_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents.cli.promotion import Promotion
    from agents.kafka.shadow_topics import Standing
    from agents.settings.settings import Settings
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
    from agents.kafka.client import BrokerError
    from agents.kafka.shadow_topics import read_standing
    from stream.explain.differences import compare

    loaded = settings_of(settings, broker=broker, policy=policy, shadow=candidate)
    if promote and loaded.shadow is None:
        fail(MISUSED, "--promote needs the candidate's file: --shadow FILE or VITALS_SHADOW")
    try:
        standing = read_standing(loaded)
    except BrokerError as error:
        fail(FAILED, str(error))
    if promote:
        done = _promote(loaded, standing)
        typer.echo(msgspec.json.encode(done).decode() if as_json else _promoted(done))
        raise typer.Exit(DONE)
    if not standing.shadow:
        fail(FAILED, "health.shadow is empty: no shadow runs; start the workers with --shadow FILE or VITALS_SHADOW")
    labels = standing.live_policy, standing.shadow_policy
    found = compare(standing.live, standing.shadow, standing.opened, labels, most)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        print_differences(found, most)


def _promote(settings: Settings, standing: Standing) -> Promotion:
    from agents.cli.promotion import PromotionError, promote, refusal

    plan, candidate = plan_of(settings), candidate_of(settings)
    assert candidate is not None
    assert settings.shadow is not None
    refused = refusal(standing, plan.label, candidate.label)
    if refused:
        fail(FAILED, refused)
    try:
        return promote(settings.policy, settings.shadow, plan.label, candidate.label)
    except PromotionError as error:
        fail(FAILED, str(error))


def _promoted(done: Promotion) -> str:
    return (
        f"{done.file} holds {done.policy} now; {done.former} is kept as {done.kept_as}.\n"
        "Stop all workers, then start them: they go on with the state that the shadow has built up.\n"
        "Start none without the shadow before that, or its state is lost."
    )


def print_differences(found: Differences, most: int) -> None:
    """Print the differences as tables; at most so many alerts of each kind by name."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"live {found.live}, shadow {found.shadow}", soft_wrap=True, markup=False)
    console.print(
        f"{found.accounts:,} accounts with both, {found.only_live:,} only live, {found.only_shadow:,} only shadow; "
        f"{found.changed:,} with another score, {found.moved:,} in another band",
        soft_wrap=True,
    )
    bands = Table("score", "band", "live", "shadow", "difference")
    for band in found.bands:
        bands.add_row(band.score, band.band, f"{band.live:,}", f"{band.shadow:,}", f"{band.shadow - band.live:+,}")
    console.print(bands)
    for move in found.moves[:most]:
        line = f"{move.accounts:,} would be {move.to} instead of {move.from_} ({move.score})"
        console.print(line, soft_wrap=True, markup=False)
    if found.farthest:
        far = Table("account", "score", "live", "shadow", "difference")
        for one in found.farthest:
            live, shadow = f"{one.live:.1f} {one.band_live}", f"{one.shadow:.1f} {one.band_shadow}"
            far.add_row(_plain(one.account_id), one.score, live, shadow, f"{one.delta:+.1f}")
        console.print(far)
    alerts = Table("alert", "open live", "open shadow", "raised", "spared")
    for rule in found.alerts:
        alerts.add_row(rule.rule, *(f"{count:,}" for count in (rule.live, rule.shadow, rule.raised, rule.spared)))
    console.print(alerts if found.alerts else "no alert is open under either policy")
    for word, listed in (("raised", found.raised), ("spared", found.spared)):
        if listed:
            console.print(_listed(word, listed, most), soft_wrap=True, markup=False)


def _plain(text: str) -> str:
    """An account's id as it is: brackets in it are no markup."""
    from rich.markup import escape

    return escape(text)


def _listed(word: str, listed: Sequence[AlertOf], most: int) -> str:
    names = [f"{one.account_id} {one.rule}" for one in listed[:most]]
    rest = [f"{len(listed) - most:,} more"] if len(listed) > most else []
    return f"{word}: {', '.join(names + rest)}"

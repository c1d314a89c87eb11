"""Promotes a candidate policy: replaces the content of the live policy file with the candidate's.

Owns the conditions and the replacement. Workers read the file at start, and continue with the state that the candidate
built up as a shadow (`stream.recovery.namespaces`). Called by `vitals shadow --promote`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from msgspec import Struct

from agents.settings.settings import default_policy
from agents.shadow.outputs import PolicyOutputs


class PromotionError(RuntimeError):
    """The candidate cannot be promoted; the message says why and what to do."""


class Promotion(Struct):
    """The policy that is live after the next start of the workers, its file, and the former policy and its copy."""

    policy: str
    file: str
    former: str
    kept_as: str


def refusal(outputs: PolicyOutputs, live: str, candidate: str) -> str | None:
    """Why a candidate cannot be promoted, or None. `live` and `candidate` are the labels of the two policy files."""
    if live == candidate:
        return f"{candidate} is already in the policy file: restart the workers if they do not run it yet"
    if outputs.live_policy != live:
        return (
            f"the workers score with {outputs.live_policy or 'no policy yet'}, the policy file has {live}: "
            "give the file that the workers read (--policy or VITALS_POLICY)"
        )
    if outputs.shadow_policy != candidate:
        return (
            f"the running shadow is {outputs.shadow_policy or 'none'}, not {candidate}: "
            "start the workers with the candidate as --shadow and check `vitals shadow` first"
        )
    return None


def promote(policy: Path, candidate: Path, live: str, label: str) -> Promotion:
    """Replace the policy file with the candidate; a copy of the former file gets its digest as suffix.

    `live` and `label` are the labels of the two. The replacement is atomic. Raises `PromotionError`.
    """
    if policy.resolve() == default_policy().resolve():
        msg = f"{policy} belongs to the package: set VITALS_POLICY to a file of your own"
        raise PromotionError(msg)
    target = policy.resolve()
    former = target.with_name(f"{target.name}.{live.rpartition('@')[2]}")
    fresh = target.with_name(f".{target.name}.new")
    try:
        shutil.copy2(target, former)
        shutil.copyfile(candidate, fresh)
        shutil.copymode(target, fresh)
        fresh.replace(target)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        msg = f"{error.filename}: {os.strerror(error.errno or 0)}; copy {candidate} to {target} yourself"
        raise PromotionError(msg) from error
    return Promotion(label, str(target), live, str(former))

"""Making a candidate policy the live one: its text goes into the live policy's file.

Owns the switch of the file and what must be true before it. The workers read the file as they start, and find the
candidate's state where it kept it as a shadow (`stream.recovery.namespaces`). Called by `vitals shadow --promote`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from msgspec import Struct

from agents.kafka.shadow_topics import Standing
from agents.settings.settings import default_policy


class PromotionError(RuntimeError):
    """The candidate can not be promoted; the message says why and what to do."""


class Promotion(Struct):
    """What was done: the policy that is live once the workers start again, its file, and where the former is kept."""

    policy: str
    file: str
    former: str
    kept_as: str


def refusal(standing: Standing, live: str, candidate: str) -> str | None:
    """Why a candidate can not be promoted as things stand on the broker; None when it can. Policies are labels."""
    if live == candidate:
        return f"{candidate} is what the policy file holds already: restart the workers if they do not run it yet"
    if standing.live_policy != live:
        return (
            f"the workers score by {standing.live_policy or 'no policy yet'}, the policy file holds {live}: "
            "name the file that the workers read (--policy or VITALS_POLICY)"
        )
    if standing.shadow_policy != candidate:
        return (
            f"the shadow that runs is {standing.shadow_policy or 'none'}, not {candidate}: "
            "start the workers with the candidate as --shadow and look at `vitals shadow` first"
        )
    return None


def promote(policy: Path, candidate: Path, live: str, label: str) -> Promotion:
    """Put the candidate's text into the policy's file; the former text stays beside it, named by its digest.

    `live` and `label` are the labels of the two. The file is replaced in one move. Raises `PromotionError`.
    """
    if policy.resolve() == default_policy().resolve():
        msg = f"{policy} comes with the package: give the workers a file of your own as VITALS_POLICY"
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
        msg = f"{error.filename}: {os.strerror(error.errno or 0)}; put {candidate} in the place of {target} yourself"
        raise PromotionError(msg) from error
    return Promotion(label, str(target), live, str(former))

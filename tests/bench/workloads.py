"""The kinds of workload that throughput is measured with: which events, accounts and engines, and what is expected.

Owns the table of workloads and what is expected of an engine for each. Must not know how speed is measured. Called by
`throughput` and `__main__`.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from agents.files.replay import replay_files
from schemas.outputs import ScoreMessage
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy
from tests.bench import engines, workload
from tests.bench.loading import partitions_of_accounts
from tests.bench.workload import ACCOUNTS, DAYS, SOURCES, Workload, final_scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.engine import Engine

TEMPLATE = Path(__file__).parents[2] / "deploy" / "policies" / "template.toml"
_SAMPLE = 100
_ROUNDS_OF_WINDOWS = 3
"""The template policy looks back half a year, which is two rounds before the last."""


@dataclass(frozen=True)
class Kind:
    """A kind of workload, repeated in rounds of ninety days."""

    name: str
    label: str
    make: Callable[[int, int], Workload]
    engines: tuple[Engine, ...]
    accounts: int = ACCOUNTS
    round: int = 1_000_000
    template: bool = False
    """All five sources under the template policy, instead of usage under `policy.toml`."""

    @property
    def sources(self) -> tuple[str, ...]:
        """The topics it is sent to, without a prefix."""
        return SOURCES if self.template else SOURCES[:1]

    def expected(self, one_round: Workload, rounds: int, *, timers: bool) -> dict[str, float]:
        """The scores of all accounts, or of a sample if they are computed by the project's own replay of files."""
        if self.template:
            return replayed_scores(one_round, rounds)
        return expected_scores(one_round.distinct(), self.accounts, timers=timers)


def expected_scores(events: Workload, accounts: int, *, timers: bool) -> dict[str, float]:
    """What an engine must end with: without timers, each account's score is as of its own last event."""
    return final_scores(events, partitions_of_accounts(accounts) if timers else np.arange(accounts))


def replayed_scores(one_round: Workload, rounds: int) -> dict[str, float]:
    """The scores of a sample of accounts under the template policy, as `vitals score --as-of` computes them."""
    known = np.unique(one_round.account)
    sample = np.random.default_rng(workload.SEED).choice(known, min(_SAMPLE, len(known)), replace=False)
    events = one_round.rows(np.flatnonzero(np.isin(one_round.account, sample)))
    with tempfile.TemporaryDirectory() as folder:
        files = {number: Path(folder) / f"{name}.jsonl" for number, name in enumerate(SOURCES)}
        for past in reversed(range(min(rounds, _ROUNDS_OF_WINDOWS))):
            sent = replace(events.later(-DAYS * past), number=events.number + past * len(one_round))
            for number, file in files.items():
                with file.open("ab") as lines:
                    of_source = sent.rows(np.flatnonzero(sent.source == number))
                    lines.writelines(value + b"\n" for value in workload.values(of_source))
        plan = compile_plan(parse_policy(TEMPLATE.read_text("utf-8"), TEMPLATE.name))
        replay = replay_files(list(files.values()), plan, as_of_ms=int(one_round.time_ms[-1]))
        messages = [msgspec.json.decode(sent.value, type=ScoreMessage) for sent in replay.engine.current().scores]
    return {message.account_id: float(message.scores["health"].value or 0.0) for message in messages}


KINDS = {
    kind.name: kind
    for kind in (
        Kind("uniform", "10,000 accounts, usage", workload.make_workload, engines.THROUGHPUT),
        Kind(
            "template",
            "10,000 accounts, five topics, template policy",
            workload.make_five_sources,
            engines.TEMPLATE_POLICY,
            template=True,
        ),
        Kind(
            "million", "1,000,000 accounts, usage", workload.make_workload, engines.MANY_ACCOUNTS, 1_000_000, 4_000_000
        ),
        Kind(
            "million_template",
            "1,000,000 accounts, five topics, template policy",
            workload.make_five_sources,
            engines.MANY_ACCOUNTS_TEMPLATE_POLICY,
            1_000_000,
            4_000_000,
            template=True,
        ),
        Kind("zipf", "10,000 accounts, Zipf, usage", workload.make_zipf, engines.ZIPF),
        Kind("duplicates", "10,000 accounts, 30 % duplicates, usage", workload.make_duplicates, engines.DUPLICATES),
    )
}

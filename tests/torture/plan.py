"""The plan of a round: policy, records, settings, workers, and which fault begins and ends when.

Owns drawing a plan from a seed and printing it. Must not know how a plan is carried out. Pure: the same seed gives the
same plan. Called by `tests.torture.rounds` and the command line.

Faults of one worker's process, of one worker's network and of the broker are independent: they overlap. Two faults of
the same process, network or broker do not.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from tests.torture.input import Input, draw_input
from tests.torture.policies import Policy, draw_policy

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

ProcessFault = Literal["SIGKILL", "SIGTERM", "freeze"]
NetworkFault = Literal[
    "lose to broker", "lose from broker", "lose both", "gap to broker", "gap from broker", "reset", "slow"
]
BrokerFault = Literal["broker SIGKILL", "broker freeze", "changelog refuses"]
Kind = ProcessFault | NetworkFault | BrokerFault

PROCESS: tuple[ProcessFault, ...] = get_args(ProcessFault)
NETWORK: tuple[NetworkFault, ...] = get_args(NetworkFault)
BROKER: tuple[BrokerFault, ...] = get_args(BrokerFault)
KINDS: tuple[Kind, ...] = (*PROCESS, *NETWORK, *BROKER)

NAMES = ("one", "two", "three")
SESSION_S = 6
PIECE_S = 0.5
"""Pause between two sends."""
_GAP_S = 2.0
"""Between two faults of the same process, network or broker."""
_DURATIONS_S = (0.5, 2.0, 4.0, 8.0, 12.0)
"""Shorter and longer than a session."""
_MOST_FAULTS = 8


@dataclass(frozen=True)
class Fault:
    """One fault: what, when it begins and ends, and which worker it is about; None is the broker."""

    kind: Kind
    at_s: float
    seconds: float
    worker: str | None

    @property
    def end_s(self) -> float:
        """When it ends: what was killed starts again, what was frozen or lost goes on."""
        return self.at_s + self.seconds

    @property
    def resource(self) -> tuple[str, str | None]:
        """What can have one fault at a time."""
        if self.worker is None:
            return ("broker", None)
        return ("process" if self.kind in PROCESS else "network", self.worker)

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.at_s:5.1f} to {self.end_s:4.1f} s  {self.kind:<17} {self.worker or ''}".rstrip()


@dataclass(frozen=True)
class Plan:
    """Everything that a round does."""

    seed: int
    policy: Policy
    input: Input
    workers: tuple[str, ...]
    waits: bool
    """Whether faults begin when all workers are at work, or as soon as they are started."""
    settings: tuple[tuple[str, Any], ...]
    fetch_bytes: int | None
    """What the broker returns at most for a fetch; None is its default."""
    faults: tuple[Fault, ...]

    @property
    def seconds(self) -> float:
        """How long records are sent and faults happen, at least."""
        return max([len(self.input.live) * PIECE_S, *(fault.end_s for fault in self.faults)])

    def only(self, numbers: Collection[int]) -> Plan:
        """Return the plan with these of its faults only, numbered from 1."""
        return replace(
            self, faults=tuple(fault for number, fault in enumerate(self.faults, 1) if number in set(numbers))
        )

    def lines(self) -> list[str]:
        """Describe the plan."""
        settings = ", ".join(f"{name} {value}" for name, value in self.settings)
        mistakes = ", ".join(f"{name} {count}" for name, count in self.input.mistakes)
        begin = "when all workers are at work" if self.waits else "as soon as the workers are started"
        return [
            f"policy {self.policy.name}, workers {', '.join(self.workers)}; {settings}, fetch {self.fetch_bytes}",
            f"{len(self.input.history)} records before, {len(self.input.records)} in all; {mistakes}",
            f"faults begin {begin}:",
            *(f"  {number:2}. {fault}" for number, fault in enumerate(self.faults, 1)),
        ]


def draw_plan(seed: int, *, seconds: float = 20.0, count: int = 4000) -> Plan:
    """Draw the plan of a round that sends about `count` records, and injects faults, for so many seconds."""
    # Strings as seeds: what one of them draws does not move what the others draw.
    chances = {name: random.Random(f"{seed} {name}") for name in ("policy", "input", "workers", "settings", "faults")}
    policy = draw_policy(chances["policy"])
    workers = NAMES[: chances["workers"].randint(1, len(NAMES))]
    settings, fetch_bytes = _settings(chances["settings"])
    return Plan(
        seed,
        policy,
        draw_input(chances["input"], policy.longest_ms, count, round(seconds / PIECE_S)),
        workers,
        chances["workers"].random() < 0.7,
        settings,
        fetch_bytes,
        _faults(chances["faults"], workers, seconds),
    )


def _settings(chance: random.Random) -> tuple[tuple[tuple[str, Any], ...], int | None]:
    settings = (
        ("catch_up", chance.choice(("conflate", "exact"))),
        ("catch_up_lag", chance.choice((100, 10_000))),
        ("commit_interval_s", chance.choice((0.1, 0.3, 1.0))),
    )
    return settings, chance.choice((None, 32_768, 65_536))


def _faults(chance: random.Random, workers: Sequence[str], seconds: float) -> tuple[Fault, ...]:
    faults: list[Fault] = []
    wanted = chance.randint(1, _MOST_FAULTS)
    for _ in range(4 * wanted):
        kind = chance.choice(KINDS)
        lasts_s = min(chance.choice(_DURATIONS_S), seconds / 2)
        at_s = round(chance.uniform(0, seconds - lasts_s), 1)
        fault = Fault(kind, at_s, lasts_s, None if kind in BROKER else chance.choice(workers))
        if all(fault.resource != other.resource or _apart(fault, other) for other in faults):
            faults.append(fault)
        if len(faults) == wanted:
            break
    return tuple(sorted(faults, key=lambda fault: (fault.at_s, fault.kind)))


def _apart(fault: Fault, other: Fault) -> bool:
    return fault.at_s > other.end_s + _GAP_S or other.at_s > fault.end_s + _GAP_S


def kinds_of(plan: Plan) -> str:
    """Name the kinds of a plan's faults, with how many there are of each."""
    return ", ".join(f"{kind} {count}" for kind, count in sorted(Counter(fault.kind for fault in plan.faults).items()))

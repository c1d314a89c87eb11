"""A policy as a Python object: read from a file or a text, checked, and compiled when it is used.

Owns nothing of what a policy means: `stream.policy` reads it. Called by `account_vitals.scoring` and
`account_vitals.engine`.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from agents.files.policies import installed_policy, policy_in
from stream.plan.plan import Plan, compile_plan
from stream.policy.policy import Policy as Parsed
from stream.policy.policy import PolicyError, Problem

__all__ = ["Policy", "PolicyError", "Problem", "policy_of"]


class Policy:
    """The rules of a health score: a policy file that has no mistake. Made by `load` and `parse`.

    >>> Policy.load("deploy/policies/template.toml").scores
    ('health',)
    """

    def __init__(self, parsed: Parsed, path: Path) -> None:
        """Use `load` or `parse`."""
        self._parsed = parsed
        self.path = path
        """The file, as messages name it."""

    @classmethod
    def load(cls, path: str | Path) -> Policy:
        """Read a policy file. Raises `PolicyError` with every mistake in it, and OSError."""
        path = Path(path)
        return cls(policy_in(path), path)

    @classmethod
    def parse(cls, text: str, file: str = "policy.toml") -> Policy:
        """Read the text of a policy file, which messages call `file`. Raises `PolicyError` with every mistake in it."""
        return cls(installed_policy(text, file), Path(file))

    @classmethod
    def validate(cls, path: str | Path) -> tuple[Problem, ...]:
        """Every mistake in a policy file, each with `file`, `line`, `key` and `message`; empty if there is none.

        Raises OSError.
        """
        try:
            cls.load(path)
        except PolicyError as error:
            return error.problems
        return ()

    @property
    def name(self) -> str:
        """The name in the file."""
        return self._parsed.name

    @property
    def label(self) -> str:
        """Name and hash of the content, as in every result: `first@4ca4f5b8268eb757`."""
        return self.plan.label

    @property
    def scores(self) -> tuple[str, ...]:
        """The names of the scores; the first is the default."""
        return tuple(score.name for score in self._parsed.scores)

    @property
    def measures(self) -> tuple[str, ...]:
        """The names of the measures."""
        return tuple(measure.name for measure in self._parsed.measures)

    def bands(self, score: str | None = None) -> dict[str, float]:
        """The bands of a score (None: the first), each with the points from which on it begins, the best band first."""
        from stream.explain.selector import select_score  # noqa: PLC0415 -- only bands need it

        bands = select_score(self._parsed, score).bands
        return {band.name: band.from_ for band in sorted(bands, key=lambda band: -band.from_)}

    @cached_property
    def plan(self) -> Plan:
        """The policy compiled, for the modules of this package; it is not public."""
        return compile_plan(self._parsed)

    @property
    def parsed(self) -> Parsed:
        """The policy as the engine knows it, for the modules of this package; it is not public."""
        return self._parsed

    def __repr__(self) -> str:
        return f"<Policy {self.label} from {self.path}>"


def policy_of(policy: Policy | str | Path) -> Policy:
    """A policy, or the one in a file."""
    return policy if isinstance(policy, Policy) else Policy.load(policy)

"""Normalisers of other packages: a vectorised function from values to points, and its parameters.

Owns `OwnNormaliser`, which keeps what it gives between 0 and 100. Called by the reader of normalisers, scoring and
explanations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from stream.policy.own.extension import Own, read_parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stream.policy.own.extension import Loaded
    from stream.policy.table import Table

_MOST = 100.0


class PointsRule(Protocol):
    """What an entry point of the group `account_vitals.normalisers` makes: a dataclass of its parameters.

    It may have an attribute `turns`, the values at which points change from rising to falling or back, ascending.
    """

    def points(self, values: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Points from 0 to 100 of each value, float64 of the shape of `values`, none of which is NaN.

        The points of a value depend on nothing but the value and the parameters.
        """


@dataclass(frozen=True)
class OwnNormaliser(Own):
    """A normaliser of another package."""

    @property
    def turns(self) -> tuple[float, ...]:
        """The values at which points change from rising to falling or back, ascending."""
        return tuple(map(float, getattr(self._rule, "turns", ())))

    @property
    def _rule(self) -> PointsRule:
        rule: PointsRule = self.__dict__["_made"]
        return rule

    def points(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points of each value, limited to 0 to 100; NaN where there is no value. Raises RuntimeError with its name."""
        known = ~np.isnan(values)
        points = np.full(np.shape(values), np.nan)
        numbers = np.asarray(values)[known]
        numbers.flags.writeable = False
        try:
            with np.errstate(all="ignore"):
                answer = np.asarray(self._rule.points(numbers), dtype=np.float64)
        except Exception as error:
            raise RuntimeError(f"normaliser {self} fails: {type(error).__name__}: {error}") from error
        if answer.shape != numbers.shape or np.isnan(answer).any():
            raise RuntimeError(f"normaliser {self} does not give points for every value")
        points[known] = np.minimum(np.maximum(answer, 0.0), _MOST) + 0.0
        return points


def read_own_normaliser(table: Table, kind: str, loaded: Loaded) -> OwnNormaliser | None:
    """The normaliser in a table, made with the parameters there; None if it is wrong, which is recorded."""
    read = read_parameters(table, kind, loaded, ("points",), lambda message: table.problem("kind", message))
    if read is None:
        return None
    parameters, rule = read
    return OwnNormaliser(kind, loaded.package, loaded.version, parameters, rule)

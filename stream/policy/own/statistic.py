"""Statistics of other packages: a vectorised function of the panes of a window, and its parameters.

Owns `OwnStatistic` and what a measure with one may say. `stream.measures.own.statistic` reads its value. Called by the
reader of measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, cast, get_args

import numpy as np

from stream.policy.errors import listed
from stream.policy.own.extension import Own, load, parameters_of, read_parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stream.policy.own.extension import Extensions
    from stream.policy.table import Table

PaneValue = Literal["count", "sum", "min", "max"]
"""What a pane can keep of its events; each can be computed from parts of the events in any order."""
_OF_FIELD = ("sum", "min", "max")
PARAMETERS = "parameters"


class PaneStatistic(Protocol):
    """What an entry point of the group `account_vitals.statistics` makes: a dataclass of its parameters.

    `reads` says what it needs of each pane: `count`, the number of events, and with a field `sum`, `min` and `max` of
    it. With a field only the events that have it count.
    """

    reads: Sequence[PaneValue]

    def value(self, panes: Mapping[str, NDArray[np.float64]], /) -> NDArray[np.float64]:
        """The value of each account, float64 (accounts,); NaN where it has none.

        `panes` has an array (accounts, panes) for each of `reads`, the oldest pane of the window first, not to be
        written. A pane without events has 0 as `count` and `sum`, NaN as `min` and `max`. The value of an account
        depends on nothing but its row and the parameters, to the last digit.
        """


@dataclass(frozen=True)
class OwnStatistic(Own):
    """A statistic of another package."""

    reads: tuple[PaneValue, ...] = ()

    @property
    def of_field(self) -> bool:
        """Whether it reads a number field."""
        return any(each in _OF_FIELD for each in self.reads)

    def value(self, panes: Mapping[str, NDArray[np.float64]], accounts: int) -> NDArray[np.float64]:
        """The value of each account, float64 (k,); NaN where it has none. Raises RuntimeError with its name."""
        statistic: PaneStatistic = self.__dict__["_made"]
        for array in panes.values():
            array.flags.writeable = False
        try:
            with np.errstate(all="ignore"):
                value = np.asarray(statistic.value(panes), dtype=np.float64)
        except Exception as error:
            raise RuntimeError(f"statistic {self} fails: {type(error).__name__}: {error}") from error
        if value.shape != (accounts,):
            raise RuntimeError(f"statistic {self} gives values of shape {value.shape} for {accounts} accounts")
        return np.where(np.isfinite(value), value, np.nan) + 0.0


def read_own_statistic(table: Table, name: str, extensions: Extensions) -> OwnStatistic | None:
    """The statistic that `stat` names, made with `parameters`; None if it is wrong, which is recorded."""
    loaded = load(table, "stat", "statistic", name, extensions)
    if loaded is None:
        return None
    known = tuple(parameters_of(loaded))
    inside = table.optional(PARAMETERS, f"a table of parameters: {listed(known)}", known)
    if inside is None:
        return None
    read = read_parameters(inside, name, loaded, ("reads", "value"), lambda message: table.problem("stat", message))
    if read is None:
        return None
    parameters, made = read
    reads = tuple(dict.fromkeys(cast("PaneStatistic", made).reads))
    if not reads or not set(reads) <= set(get_args(PaneValue)):
        of_whom = f"{name!r} of {loaded.package} {loaded.version}"
        table.problem("stat", f"{of_whom}: reads must be some of {listed(get_args(PaneValue))}")
        return None
    return OwnStatistic(name, loaded.package, loaded.version, parameters, made, reads)

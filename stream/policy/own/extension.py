"""Extensions that a policy names: which are installed is given, what parameters they take is checked here.

Owns `Own`, an object of another package with the parameters of the policy, and how its class says which parameters
there are. Must not know how packages are found: `Extensions` is given to `parse_policy`. Called by the readers of
measures and normalisers.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

from schemas.hints import closest
from stream.policy.errors import did_you_mean, listed
from stream.policy.table import Number, finite

if TYPE_CHECKING:
    from stream.policy.table import Table

Group = Literal["statistic", "normaliser"]
Parameter: TypeAlias = float | bool | str | tuple[float, ...]
TYPES: Mapping[object, str] = {
    float: "a number",
    bool: "true or false",
    str: "a string",
    tuple[float, ...]: "a list of at least one number",
}
"""The types that a parameter can have, with what its value must be in a policy."""
RESERVED = ("kind", "from")
"""Keys that a table with parameters has besides."""


class Loaded(NamedTuple):
    """An extension as its package installs it."""

    package: str
    version: str
    make: Callable[..., object]


class ExtensionError(ValueError):
    """An extension that cannot be used; the message says of which package it is, and why."""


class Extensions(Protocol):
    """The extensions that are installed."""

    def names(self, group: Group) -> tuple[str, ...]:
        """The names of all extensions of a group, sorted."""

    def load(self, group: Group, name: str) -> Loaded:
        """An extension by its name. Raises ExtensionError."""


class NoExtensions:
    """No package has an extension."""

    def names(self, group: Group) -> tuple[str, ...]:
        """None."""
        del group
        return ()

    def load(self, group: Group, name: str) -> Loaded:
        """Raise ExtensionError."""
        raise ExtensionError(f"no {group} {name!r} is installed")


@dataclass(frozen=True)
class Own:
    """An object of another package, made with the parameters of a policy.

    The digest of the policy has name, package, version and parameters, and never the object.
    """

    name: str
    package: str
    version: str
    parameters: tuple[tuple[str, Parameter], ...]
    made: InitVar[Any]

    def __post_init__(self, made: object) -> None:
        object.__setattr__(self, "_made", made)

    def __str__(self) -> str:
        return f"{self.name!r} of {self.package} {self.version}"


def chosen(table: Table, key: str, built_in: tuple[str, ...], group: Group, extensions: Extensions) -> str | None:
    """A built-in or an installed name in `key`; of a misspelled one what was probably meant, and it is recorded."""
    value = table.value(key)
    if isinstance(value, str) and value in built_in:
        return value  # what is installed is looked up only for other names: it takes some milliseconds
    installed = tuple(name for name in extensions.names(group) if name not in built_in)
    if isinstance(value, str) and value in installed:
        return value
    names = (*built_in, *installed)
    hint = did_you_mean(value, names)
    if isinstance(value, str) and not hint:
        hint = f"; no installed package has a {group} of this name"
    table.wrong(key, f"one of {listed(names)}", hint)
    return closest(value, names) if isinstance(value, str) else None


def load(table: Table, key: str, group: Group, name: str, extensions: Extensions) -> Loaded | None:
    """An extension; one that cannot be used is recorded as the mistake of `key`."""
    try:
        loaded = extensions.load(group, name)
        parameters_of(loaded)
    except ExtensionError as error:
        table.problem(key, str(error))
        return None
    return loaded


def parameters_of(loaded: Loaded) -> dict[str, tuple[object, bool]]:
    """The parameters of an extension: the fields of its dataclass, each with its type and whether it is required.

    Raises ExtensionError for a type that no parameter has.
    """
    make = loaded.make
    if not (isinstance(make, type) and dataclasses.is_dataclass(make)):
        return {}
    try:
        types = typing.get_type_hints(make)
    except Exception as error:
        raise ExtensionError(f"{make.__name__} of {loaded.package}: its annotations cannot be read: {error}") from error
    fields = [field for field in dataclasses.fields(make) if field.init]
    for field in fields:
        if field.name in RESERVED:
            raise ExtensionError(f"{make.__name__} of {loaded.package}: a parameter cannot be called {field.name}")
        if types[field.name] not in TYPES:
            able = "float, bool, str or tuple[float, ...]"
            raise ExtensionError(f"{make.__name__} of {loaded.package}: the type of {field.name} must be {able}")
    missing = dataclasses.MISSING
    return {
        field.name: (types[field.name], field.default is missing and field.default_factory is missing)
        for field in fields
    }


def read_parameters(
    table: Table, name: str, loaded: Loaded, methods: tuple[str, ...], wrong: Callable[[str], None]
) -> tuple[tuple[tuple[str, Parameter], ...], object] | None:
    """The parameters in a table, and the object that is made with them; None if that fails, which is recorded.

    The object must have `methods`. `wrong` records what is wrong with the extension as a whole.
    """
    values: dict[str, Parameter] = {}
    for parameter, (type_, required) in parameters_of(loaded).items():
        value = _read(table, parameter, type_, required=required)
        if value is not None:
            values[parameter] = value
        elif required or parameter in table:
            return None
    of_whom = f"{name!r} of {loaded.package} {loaded.version}"
    try:
        made = loaded.make(**values)
    except Exception as error:  # noqa: BLE001 -- the code of others can raise anything, and the policy is at fault
        wrong(f"{of_whom} refuses its parameters: {error}")
        return None
    absent = [method for method in methods if not hasattr(made, method)]
    if absent:
        wrong(f"{of_whom}: {type(made).__name__} has no {listed(absent)}")
        return None
    return tuple(sorted(values.items())), made


def _read(table: Table, key: str, type_: object, *, required: bool) -> Parameter | None:
    """One parameter; None if it is absent or wrong."""
    expected, value = TYPES[type_], table.value(key)
    if type_ is float:
        return table.number(key, Number(expected), required=required)
    if type_ is str:
        return table.text(key, expected, required=required)
    if type_ is bool and isinstance(value, bool):
        return value
    numbers = [finite(item) for item in value] if isinstance(value, list) and type_ not in {bool, str} else []
    valid = tuple(number for number in numbers if number is not None)
    if valid and len(valid) == len(numbers):
        return valid
    if required or key in table:
        table.wrong(key, expected)
    return None

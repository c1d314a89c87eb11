"""Field paths of a policy: `account.NAME` of the account's profile, `properties.NAME` of an event.

Owns what a path may be wherever a policy names a field that its source does not have. A known field of the profile has
one name, whether it is written with `account.` or without. Also owns `Label`, a field that alerts carry. Called by the
readers of measures, filters and segments, and by the policy parser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.profiles import KINDS
from schemas.properties import PREFIX, property_name
from stream.policy.errors import listed, shown
from stream.policy.table import is_name

if TYPE_CHECKING:
    from stream.policy.table import Table

ACCOUNT = "account."
_PROPERTIES = PREFIX.rstrip(".")
LONGEST_NAME = 200
RESERVED = ("account_id", "alertname", "band", "partition", "rule", "score", "segment", "severity", "source")
"""Labels that alerts have without a policy, here or in Alertmanager."""
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_FIELD = 'a field of the profile, such as "account.csm"'
_FIELDS = ("name", "tier", "plan", "segment", "persona", "arr", "parent_id", "owner")


def account_field(path: object) -> str | None:
    """The name after `account.`; None for any other value."""
    return path.removeprefix(ACCOUNT) if isinstance(path, str) and path.startswith(ACCOUNT) else None


def canonical(name: str) -> str:
    """The path of a field of the profile by its name: a known field has no `account.` before it."""
    return name if name in KINDS else ACCOUNT + name


def read_property(table: Table, key: str, name: str) -> str | None:
    """The path `properties.NAME` in `key`, if NAME can be one; else it is recorded."""
    if not is_name(name) or name != name.strip() or len(name) > LONGEST_NAME:
        message = f"properties.{name}: the name of a property must be printable, without blanks at its ends"
        table.problem(key, f"{message}, and of at most {LONGEST_NAME} characters")
        return None
    return PREFIX + name


def fields_of(table: Table) -> list[tuple[Table, str, str | None]]:
    """Each field that a table of conditions or weights names: its table, its key there, and its path.

    Properties are in a table of their own, `properties.NAME` without quotes, or keys in quotes. The path is None where
    the name cannot be one, which is recorded.
    """
    fields: list[tuple[Table, str, str | None]] = []
    for key in table:
        name = property_name(key)
        if name is not None:
            fields.append((table, key, read_property(table, key, name)))
        elif key == _PROPERTIES and isinstance(table.value(key), dict):
            nested = table.table(key, "a table of properties", None)
            fields += [(nested, name, read_property(nested, name, name)) for name in nested or () if nested is not None]
        else:
            fields.append((table, key, key))
    return fields


def read_account_field(table: Table, key: str, name: str, known: tuple[str, ...]) -> str | None:
    """The canonical path of `account.NAME` in `key`; of the known fields of a profile only `known` are allowed."""
    if not is_name(name) or name != name.strip() or len(name) > LONGEST_NAME:
        message = f"account.{name}: the name of an attribute must be printable, without blanks at its ends"
        table.problem(key, f"{message}, and of at most {LONGEST_NAME} characters")
        return None
    if name in KINDS and name not in known:
        able = f"; of the known fields of a profile, allowed here: {listed(known)}" if known else ""
        table.problem(key, f"{shown(ACCOUNT + name)} does not work here{able}")
        return None
    return canonical(name)


@dataclass(frozen=True, slots=True)
class Label:
    """A label of alerts, and the field of the profile that it has the value of."""

    name: str
    field: str


def read_labels(root: Table) -> tuple[Label, ...]:
    """The labels of a policy sorted by name, without those that are wrong, which is recorded."""
    table = root.names("labels", 'a table of labels, such as { csm = "account.csm" }')
    labels = [_read_label(table, name) for name in sorted(table)]
    return tuple(label for label in labels if label is not None)


def _read_label(table: Table, name: str) -> Label | None:
    if not _NAME.fullmatch(name):
        table.problem(
            name, "the name of a label must be letters (a to z, A to Z), digits and _, and not begin with a digit"
        )
        return None
    if name in RESERVED:
        table.problem(name, f"{shown(name)} is a label that alerts have already; not allowed here: {listed(RESERVED)}")
        return None
    field = account_field(table.value(name))
    if field is None:
        table.wrong(name, _FIELD)
        return None
    path = read_account_field(table, name, field, _FIELDS)
    return None if path is None else Label(name, path)

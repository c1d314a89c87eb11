"""Field paths of a policy: `account.NAME` is a field or an attribute of the account's profile.

Owns what a path may be wherever a policy names a field that its source does not have. A known field of the profile has
one name, whether it is written with `account.` or without. Called by the readers of measures and segments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.profiles import KINDS
from stream.policy.errors import listed, shown
from stream.policy.table import is_name

if TYPE_CHECKING:
    from stream.policy.table import Table

ACCOUNT = "account."
LONGEST_NAME = 200


def account_field(path: object) -> str | None:
    """The name after `account.`; None for any other value."""
    return path.removeprefix(ACCOUNT) if isinstance(path, str) and path.startswith(ACCOUNT) else None


def canonical(name: str) -> str:
    """The path of a field of the profile by its name: a known field has no `account.` before it."""
    return name if name in KINDS else ACCOUNT + name


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

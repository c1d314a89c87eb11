"""Read the labels that a policy adds to alerts: the table `labels`.

Owns `Label`. Must not know of alerts. Called by the policy parser; `stream.alerts.emission` fills the labels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream.policy.errors import listed, shown
from stream.policy.fields import account_field, read_account_field

if TYPE_CHECKING:
    from stream.policy.table import Table

RESERVED = ("account_id", "alertname", "band", "partition", "rule", "score", "segment", "severity", "source")
"""Labels that alerts have without a policy, here or in Alertmanager."""
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_FIELD = 'a field of the profile, such as "account.csm"'
_FIELDS = ("name", "tier", "plan", "segment", "persona", "arr", "parent_id", "owner")


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

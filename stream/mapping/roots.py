"""Roots that give a record itself as its only item, as most do for a record that is no batch.

Owns which forms of roots these are, such as `@` and `[batch || @][].merge(@, {account: groupId})`, and what such an
item has more than the record. Called by `stream.mapping.polled`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from stream.mapping.expressions import Expression

_ITSELF = frozenset({"current", "identity"})
_NEVER_FAIL = frozenset(
    {"field", "subexpression", "index_expression", "index", "or_expression", "and_expression", "literal"}
)


class Root(NamedTuple):
    """A root: the item is the record with the values of `more` by their names, unless `batch` is true."""

    batch: Expression | None
    more: Mapping[str, Any]


def root_of(expression: Expression | None) -> Root | None:
    """The root in an expression; None if it is in another form."""
    if expression is None or expression.tree["type"] in _ITSELF:
        return Root(None, {})
    tree, more = expression.tree, dict[str, Any]()
    if tree["type"] == "projection":
        tree, each = tree["children"]
        if each["type"] not in _ITSELF:
            merged = _merged(each)
            if merged is None:
                return None
            more = merged
    if tree["type"] == "flatten":
        (tree,) = tree["children"]
    if tree["type"] != "multi_select_list" or len(tree["children"]) != 1:
        return None
    (tree,) = tree["children"]
    if tree["type"] in _ITSELF:
        return Root(None, more)
    if tree["type"] != "or_expression" or tree["children"][1]["type"] not in _ITSELF:
        return None
    return Root(expression.of_tree(tree["children"][0]), more)


def _merged(tree: Any) -> dict[str, Any] | None:
    """The trees that `merge(@, {name: …})` gives to names; None for another tree, or one that can fail."""
    if tree["type"] != "function_expression" or tree["value"] != "merge" or len(tree["children"]) != 2:  # noqa: PLR2004
        return None
    item, more = tree["children"]
    if item["type"] not in _ITSELF or more["type"] != "multi_select_dict":
        return None
    trees = {pair["value"]: pair["children"][0] for pair in more["children"]}
    return trees if all(_never_fails(each) for each in trees.values()) else None


def _never_fails(tree: Any) -> bool:
    return tree["type"] in _NEVER_FAIL and all(map(_never_fails, tree["children"]))

"""Compile parsed JMESPath to functions, which are several times as fast as the interpreter of `jmespath`.

Owns the kinds of nodes that mappings use most; everything else is left to the interpreter, node by node. Each function
must give what the interpreter gives: `tests/property/test_mapping_compiled.py` compares them. An expression can also be
compiled for records of which only the paths that are read were decoded, as a tuple. Called by
`stream.mapping.expressions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from jmespath.functions import Functions
from jmespath.visitor import Options, TreeInterpreter

Evaluate = Callable[[Any], Any]
_EQUALITY = frozenset({"eq", "ne"})
_CHAINS = frozenset({"subexpression", "index_expression", "pipe"})
_SLOT = "slot"
"""A kind of node that JMESPath does not have: the value at an index of a tuple."""
_ASK_THE_SAME = frozenset(
    {
        "or_expression",
        "and_expression",
        "not_expression",
        "comparator",
        "function_expression",
        "multi_select_dict",
        "multi_select_list",
        "key_val_pair",
    }
)
"""Nodes whose children all look at what the node looks at."""
_ASK_THE_FIRST = _CHAINS | {"projection", "value_projection", "filter_projection", "flatten"}
"""Nodes whose first child looks at what the node looks at, and whose other children at what the first one gives."""


class WholeRecordError(ValueError):
    """An expression that does not only read paths of its record, but the record itself."""


class _Interpreter(TreeInterpreter):
    """The interpreter, which also knows the value at an index of a tuple."""

    def visit_slot(self, node: Any, value: Any) -> Any:
        return value[node["value"]]


def compiled(root: Any, options: Options) -> Evaluate:
    """The function of a parsed expression. It raises what the interpreter raises."""
    return _Compiler(options).node(root)


def never_fails(root: Any) -> bool:
    """Whether a parsed expression is a path of names, or compares one with a text: that raises nothing on any JSON."""
    if root["type"] == "comparator" and root["value"] in _EQUALITY:
        sides = sorted(root["children"], key=_is_text)
        return _is_text(sides[1]) and _is_path(sides[0])
    return _is_path(root)


def paths_of(root: Any) -> set[tuple[str, ...]]:
    """The paths of its record that a parsed expression reads. Raises WholeRecordError if it reads the record itself."""
    paths: set[tuple[str, ...]] = set()

    def note(names: tuple[str, ...]) -> Any:
        paths.add(names)

    _with_paths(root, note)
    return paths


def with_slots(root: Any, slots: Mapping[tuple[str, ...], int]) -> Any:
    """A parsed expression for tuples, which have the values of paths at the indexes in `slots`.

    A path that has no index of its own is read in the value of the path that it begins with.
    """

    def slot(names: tuple[str, ...]) -> Any:
        size = next(size for size in range(1, len(names) + 1) if names[:size] in slots)
        start = {"type": _SLOT, "value": slots[names[:size]], "children": []}
        rest = [{"type": "field", "value": name, "children": []} for name in names[size:]]
        return {"type": "pipe", "children": [start, *rest]} if rest else start

    return _with_paths(root, slot)


def with_names(root: Any, trees: Mapping[str, Any]) -> Any:
    """A parsed expression that reads other trees where it read their names. Raises WholeRecordError."""

    def tree(names: tuple[str, ...]) -> Any:
        fields = [{"type": "field", "value": name, "children": []} for name in names]
        fields[0] = trees.get(names[0], fields[0])
        return {"type": "pipe", "children": fields}

    return _with_paths(root, tree)


def _with_paths(node: Any, replace: Callable[[tuple[str, ...]], Any]) -> Any:
    """A node with something else for each path of the record."""
    names, kind, children = _names(node), node["type"], node["children"]
    if names:
        return replace(tuple(names))
    if kind in {"literal", "expref"}:
        return node
    if kind in _ASK_THE_SAME:
        return {**node, "children": [_with_paths(child, replace) for child in children]}
    if kind in _ASK_THE_FIRST:
        return {**node, "children": [_with_paths(children[0], replace), *children[1:]]}
    raise WholeRecordError


class _Compiler:
    """Compiles nodes; those of other kinds become calls of the interpreter."""

    def __init__(self, options: Options) -> None:
        self._interpreter = _Interpreter(options)
        self._functions = options.custom_functions or Functions()
        self._makers: Mapping[str, Callable[[Any], Evaluate]] = {
            "field": self._field,
            _SLOT: lambda node: itemgetter(node["value"]),
            "subexpression": self._chain,
            "index_expression": self._chain,
            "pipe": self._chain,
            "index": self._index,
            "literal": self._literal,
            "identity": self._identity,
            "current": self._identity,
            "or_expression": self._or,
            "and_expression": self._and,
            "not_expression": self._not,
            "comparator": self._comparator,
            "function_expression": self._function,
            "multi_select_dict": self._dict,
            "multi_select_list": self._list,
        }

    def node(self, node: Any) -> Evaluate:
        maker = self._makers.get(node["type"])
        if maker is not None:
            return maker(node)
        visit = self._interpreter.visit
        return lambda value: visit(node, value)

    def _field(self, node: Any) -> Evaluate:
        return _path([node["value"]])

    def _index(self, node: Any) -> Evaluate:
        number = node["value"]

        def index(value: Any) -> Any:
            if not isinstance(value, list) or not -len(value) <= number < len(value):
                return None
            return value[number]

        return index

    def _literal(self, node: Any) -> Evaluate:
        literal = node["value"]
        return lambda _value: literal

    def _identity(self, _node: Any) -> Evaluate:
        return lambda value: value

    def _chain(self, node: Any) -> Evaluate:
        names = _names(node)
        if names is not None:
            return _path(names)
        steps = [self.node(child) for child in node["children"]]

        def chain(value: Any) -> Any:
            for step in steps:
                value = step(value)
            return value

        return chain

    def _or(self, node: Any) -> Evaluate:
        first, second = (self.node(child) for child in node["children"])

        def either(value: Any) -> Any:
            matched = first(value)
            return second(value) if _is_false(matched) else matched

        return either

    def _and(self, node: Any) -> Evaluate:
        first, second = (self.node(child) for child in node["children"])

        def both(value: Any) -> Any:
            matched = first(value)
            return matched if _is_false(matched) else second(value)

        return both

    def _not(self, node: Any) -> Evaluate:
        (negated,) = (self.node(child) for child in node["children"])

        def negate(value: Any) -> Any:
            content = negated(value)
            # As the interpreter does: the number 0 is true in every condition, and `!0` is false.
            return False if _is_ordered(content) and content == 0 else not content

        return negate

    def _comparator(self, node: Any) -> Evaluate:
        left, right = (self.node(child) for child in node["children"])
        compare = TreeInterpreter.COMPARATOR_FUNC[node["value"]]
        if node["value"] in _EQUALITY:
            # The interpreter tells numbers from flags, which Python does not; beside a text there is nothing to tell.
            text, other = node["children"][1], left
            if not _is_text(text):
                text, other = node["children"][0], right
            if _is_text(text):
                return _equals(other, text["value"]) if node["value"] == "eq" else _differs(other, text["value"])
            return lambda value: compare(left(value), right(value))

        def order(value: Any) -> Any:
            first, second = left(value), right(value)
            return compare(first, second) if _is_ordered(first) and _is_ordered(second) else None

        return order

    def _function(self, node: Any) -> Evaluate:
        name, arguments = node["value"], [self.node(child) for child in node["children"]]
        if any(child["type"] == "expref" for child in node["children"]):
            visit = self._interpreter.visit
            return lambda value: visit(node, value)
        call = self._functions.call_function
        return lambda value: call(name, [argument(value) for argument in arguments])

    def _dict(self, node: Any) -> Evaluate:
        pairs = [(child["value"], self.node(child["children"][0])) for child in node["children"]]
        return lambda value: None if value is None else {name: content(value) for name, content in pairs}

    def _list(self, node: Any) -> Evaluate:
        contents = [self.node(child) for child in node["children"]]
        return lambda value: None if value is None else [content(value) for content in contents]


def _names(node: Any) -> list[str] | None:
    """The names of a path such as `a.b.c`, from the outermost one; None for any other expression."""
    names: list[str] = []
    pending = [node]
    while pending:
        node = pending.pop()
        if node["type"] in _CHAINS:
            pending += node["children"]
        elif node["type"] == "field":
            names.insert(0, node["value"])
        else:
            return None
    return names


def _is_path(node: Any) -> bool:
    return node["type"] == _SLOT or _names(node) is not None


def _path(names: Sequence[str]) -> Evaluate:
    """The value under names, each in the object under the one before."""
    first, *rest = names
    if not rest:
        return lambda value: value.get(first) if isinstance(value, dict) else None
    if len(rest) == 1:
        (second,) = rest

        def inner(value: Any) -> Any:
            value = value.get(first) if isinstance(value, dict) else None
            return value.get(second) if isinstance(value, dict) else None

        return inner

    def innermost(value: Any) -> Any:
        for name in names:
            if not isinstance(value, dict):
                return None
            value = value.get(name)
        return value

    return innermost


def _is_text(node: Any) -> bool:
    return node["type"] == "literal" and isinstance(node["value"], str)


def _equals(content: Evaluate, text: str) -> Evaluate:
    return lambda value: content(value) == text


def _differs(content: Evaluate, text: str) -> Evaluate:
    return lambda value: content(value) != text


def _is_false(value: Any) -> bool:
    return value is None or value is False or value in ("", [], {})


def _is_ordered(value: Any) -> bool:
    """Whether the interpreter orders it: a number that is no flag, or a text."""
    return isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool))

"""Read the `value` of a measure: arithmetic over other measures and numbers of the profile.

Owns the grammar: `+ - * /`, `min`, `max`, `clamp`, numbers, names of measures, `account.NAME`, and days since or until
a date of the profile. The text is read with Python's `ast` and rewritten into the nodes of this module; it is never
evaluated as Python. Must not know of columns or values. Called by the reader of measures; `stream.measures.formula`
evaluates the result.
"""

from __future__ import annotations

import ast
import keyword
import math
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from schemas.hints import closest
from schemas.profiles import KINDS
from schemas.sources import PROFILE_FACTS
from stream.policy.errors import did_you_mean, listed, shown
from stream.policy.fields import account_field, canonical, name_mistake

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ACCOUNT = "account"
ACCOUNT_FIELDS = {
    "arr": ("value", "arr"),
    "days_since_start": ("days_since", "started_at"),
    "days_to_renewal": ("days_until", "renewal_at"),
}
"""Known numbers of the profile, each as the statistic and the field of a profile measure; others are attributes."""
DAYS = ("days_since", "days_until")
"""Functions of a date of the profile."""
FUNCTIONS = {"min": (2, None), "max": (2, None), "clamp": (3, 3)}
"""Functions, with the least and the largest number of their operands."""

_OPERATORS: dict[type[ast.AST], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_LONGEST = 1000
_DEEPEST = 50
_ALLOWED = "use + - * /, min, max, clamp, numbers, names of measures and account.FIELD"
_DATES = tuple(field for field in PROFILE_FACTS if field != "arr")
_DATE = (
    f"a date of the profile: {listed(f'account.{field}' for field in _DATES)}, or an attribute such as account.signed"
)
_CALCULATED = tuple(field for field in ACCOUNT_FIELDS if field not in KINDS)
_DAYS_OF = re.compile(rf"({'|'.join(DAYS)})\((.+)\)", re.DOTALL)
_STRINGS = re.compile(r"\"[^\"]*\"|'[^']*'")
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Constant:
    """A number."""

    constant: float


@dataclass(frozen=True, slots=True)
class Input:
    """The value of a measure, or a number of the profile: `account.NAME`, or `days_since(account.NAME)`."""

    input: str


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator (`+ - * /`, or `-` with one operand) or a function, applied to its operands."""

    operator: str
    operands: tuple[Node, ...]


Node: TypeAlias = Constant | Input | Operation


@dataclass(frozen=True, slots=True)
class Formula:
    """An expression: its tree, which says everything about it."""

    root: Node

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of measures and `account.FIELD`, each once, in the order of the text."""
        return tuple(dict.fromkeys(_inputs(self.root)))

    @property
    def text(self) -> str:
        """The expression for people, with the parentheses that it needs."""
        return _text(self.root)


def days_of(name: str) -> tuple[str, str] | None:
    """Function and path of an input such as `days_since(account.NAME)`; None for others."""
    match = _DAYS_OF.fullmatch(name)
    return None if match is None or account_field(match[2]) is None else (match[1], match[2])


def number_of_profile(name: str) -> tuple[str, str]:
    """The statistic and the field of the profile measure that an input is, which is not a measure of the policy."""
    stat, path = days_of(name) or ("value", name)
    field = account_field(path) or path
    return ACCOUNT_FIELDS[field] if path == name and field in ACCOUNT_FIELDS else (stat, canonical(field))


class FormulaError(ValueError):
    """The first mistake of an expression: its column (from 1), and what is wrong."""

    def __init__(self, column: int, message: str) -> None:
        super().__init__(f"column {column}: {message}")


def parse_formula(text: str, measures: Sequence[str]) -> Formula:
    """The expression in `text`, which may name `measures`. Raises `FormulaError`."""
    if len(text) > _LONGEST:
        raise FormulaError(_LONGEST, f"longer than {_LONGEST} characters: divide it into several measures")
    line = re.sub(r"\s", " ", text)
    begin = len(line) - len(line.lstrip())
    source = line[begin:].rstrip()
    comment = _STRINGS.sub(lambda match: " " * len(match[0]), source).find("#")
    if comment >= 0:
        raise FormulaError(begin + comment + 1, f'"#" is not allowed; {_ALLOWED}')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of things that are refused below
            tree = ast.parse(source, mode="eval")
    except SyntaxError as error:
        reason = error.msg.split(". ")[0]
        raise FormulaError(begin + (error.offset or len(source) + 1), f"{reason}; {_ALLOWED}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise FormulaError(begin + 1, f"cannot be read; {_ALLOWED}") from error
    formula = Formula(_Reader(source, begin, measures).read(tree.body, 0))
    if not formula.inputs:
        raise FormulaError(begin + 1, "names no measure: an expression must read at least one")
    return formula


class _Reader:
    """Rewrites what Python parsed into nodes; anything that is not arithmetic is refused."""

    def __init__(self, source: str, begin: int, measures: Sequence[str]) -> None:
        self._source, self._begin, self._measures = source, begin, measures

    def read(self, node: ast.expr, depth: int) -> Node:
        if depth > _DEEPEST:
            raise self._error(node, f"nested more than {_DEEPEST} deep: divide it into several measures")
        match node:
            case ast.Constant() | ast.Name() | ast.Attribute(value=ast.Name(id="account")):
                return self._leaf(node)
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
                operands = (self.read(left, depth + 1), self.read(right, depth + 1))
                return Operation(_OPERATORS[type(operator)], operands)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return Operation("-", (self.read(operand, depth + 1),))
            case ast.Call(func=ast.Name(id=name), args=operands, keywords=[]):
                return self._call(node, name, operands, depth)
            case _:
                raise self._not_allowed(node)

    def _leaf(self, node: ast.expr) -> Node:
        match node:
            case ast.Constant(value=str(name)) if name not in self._measures and account_field(name):
                return self._field(node, account_field(name) or name)
            case ast.Constant(value=str(name)) | ast.Name(id=name):
                return self._measure(node, name)
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return self._constant(node, number)
            case ast.Attribute(attr=field):
                return self._field(node, field)
            case _:
                raise self._not_allowed(node)

    def _not_allowed(self, node: ast.expr) -> FormulaError:
        segment = ast.get_source_segment(self._source, node) or ""
        return self._error(node, f"{shown(segment)} is not allowed; {_ALLOWED}")

    def _error(self, node: ast.expr, message: str) -> FormulaError:
        characters = len(self._source.encode()[: node.col_offset].decode())
        return FormulaError(self._begin + characters + 1, message)

    def _constant(self, node: ast.expr, number: float) -> Constant:
        try:
            constant = float(number)
        except OverflowError:
            constant = math.inf
        if not math.isfinite(constant):
            raise self._error(node, "the number is too large")
        return Constant(constant)

    def _measure(self, node: ast.expr, name: str) -> Input:
        if name not in self._measures:
            hint = "; did you mean account.FIELD?" if name in ACCOUNT_FIELDS else did_you_mean(name, self._measures)
            allowed = f"allowed here: {listed(self._measures)}" if self._measures else "there is none"
            raise self._error(node, f"{shown(name)} is not a measure of this policy{hint or ';'} {allowed}")
        return Input(name)

    def _field(self, node: ast.expr, field: str) -> Input:
        """A known number of the profile, or an attribute, which is read as a number."""
        if field in KINDS and field not in ACCOUNT_FIELDS:
            able = f"allowed here: {listed(ACCOUNT_FIELDS)}, and attributes"
            if field in _DATES:
                able = f"write {' or '.join(f'{function}(account.{field})' for function in DAYS)}"
            raise self._error(node, f"{shown(field)} is not a number of the profile; {able}")
        if field not in ACCOUNT_FIELDS and closest(field, _CALCULATED):
            guess = did_you_mean(field, _CALCULATED)
            raise self._error(node, f"{shown(field)} is not a number of the profile{guess}")
        return self._of_profile(node, field, f"{ACCOUNT}.{field}")

    def _days(self, node: ast.expr, function: str, operands: Sequence[ast.expr]) -> Input:
        """Days since or until a known date of the profile, or an attribute, which is read as a date."""
        match operands:
            case [ast.Attribute(value=ast.Name(id="account"), attr=field)]:
                pass
            case [ast.Constant(value=str(path))] if account_field(path):
                field = path.removeprefix(f"{ACCOUNT}.")
            case _:
                raise self._error(node, f"{function} takes {_DATE}")
        if (field in KINDS or field in ACCOUNT_FIELDS) and field not in _DATES:
            raise self._error(operands[0], f"{shown(field)} is not a date; {function} takes {_DATE}")
        return self._of_profile(operands[0], field, f"{function}({ACCOUNT}.{field})")

    def _of_profile(self, node: ast.expr, field: str, name: str) -> Input:
        if name in self._measures:
            raise self._error(node, f"{name} is a number of the profile, and also the name of a measure: rename that")
        mistake = name_mistake(field)
        if mistake is not None:
            raise self._error(node, mistake)
        return Input(name)

    def _call(self, node: ast.expr, name: str, operands: Sequence[ast.expr], depth: int) -> Node:
        if name in DAYS:
            return self._days(node, name, operands)
        if name not in FUNCTIONS:
            known = (*FUNCTIONS, *DAYS)
            guess = did_you_mean(name, known) or ";"
            raise self._error(node, f"{shown(name)} is not a function{guess} allowed here: {listed(known)}")
        least, most = FUNCTIONS[name]
        if len(operands) < least or (most is not None and len(operands) > most):
            form = "clamp(value, low, high)" if name == "clamp" else f"{name}(a, b, …)"
            raise self._error(node, f"{name} takes {least}{'' if most else ' or more'} operands: {form}")
        return Operation(name, tuple(self.read(operand, depth + 1) for operand in operands))


def _inputs(node: Node) -> Iterator[str]:
    if isinstance(node, Input):
        yield node.input
    elif isinstance(node, Operation):
        for operand in node.operands:
            yield from _inputs(operand)


_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2}
_NEGATIVE = 3


def _text(node: Node, least: int = 0) -> str:
    """The expression, in parentheses if it binds less than `least`."""
    if isinstance(node, Constant):
        return f"{node.constant:.15g}"
    if isinstance(node, Input):
        return _input_text(node.input)
    if node.operator in FUNCTIONS:
        return f"{node.operator}({', '.join(map(_text, node.operands))})"
    if len(node.operands) == 1:
        return f"-{_text(node.operands[0], _NEGATIVE)}"
    binds = _PRECEDENCE[node.operator]
    left, right = node.operands
    text = f"{_text(left, binds)} {node.operator} {_text(right, binds + 1)}"
    return f"({text})" if binds < least else text


def _input_text(name: str) -> str:
    days = days_of(name)
    if days is not None:
        return f"{days[0]}({_input_text(days[1])})"
    word = name.removeprefix(f"{ACCOUNT}.")
    return name if _PLAIN_NAME.fullmatch(word) and not keyword.iskeyword(word) else shown(name)

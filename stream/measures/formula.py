"""Values of derived measures: arithmetic over the values of their inputs, for many accounts at once.

Formula: `+ - * /`, `min`, `max` and `clamp(x, low, high) = min(max(x, low), high)` of real numbers. Missing if an
operand is missing, a divisor is 0, or a result is too large for a float. Sums, differences and the value of the whole
expression are rounded to nine decimals. Pure; called by `stream.scoring.measure_values`.
Definition: docs/reference/policy/measures.md#values-computed-from-other-measures.

>>> from stream.policy.formulas.formula import parse_formula
>>> formula = parse_formula("100 * users / seats", ["users", "seats"])
>>> evaluate(formula, {"users": np.array([8.0, 8.0, np.nan]), "seats": np.array([10.0, 0.0, 5.0])}).tolist()
[80.0, nan, nan]
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from stream.policy.formulas.formula import Constant, Formula, Input, Node

Vector = NDArray[np.float64]

DECIMALS = 9
_FINEST = 2.0**53 / 10**DECIMALS
"""From here on, floats have at most nine decimals by themselves."""


def evaluate(formula: Formula, inputs: Mapping[str, Vector]) -> Vector:
    """The value of the expression, float64 (k,), of inputs (k,) by name; NaN where it is missing."""
    count = len(next(iter(inputs.values())))
    with np.errstate(all="ignore"):
        return _rounded(_value(formula.root, inputs, count))


def change_in_percent(now: Vector, before: Vector) -> Vector:
    """Change of a derived value in percent, rounded to nine decimals, float64 (k,); NaN where `before` is not above 0.

    >>> change_in_percent(np.array([0.2, 0.2, np.nan]), np.array([0.25, 0.0, 1.0])).tolist()
    [-20.0, nan, nan]
    """
    with np.errstate(all="ignore"):
        return _rounded(np.where(before > 0, 100.0 * (now - before) / before, np.nan))


def _value(node: Node, inputs: Mapping[str, Vector], count: int) -> Vector:
    if isinstance(node, Constant):
        return np.full(count, node.constant)
    if isinstance(node, Input):
        return inputs[node.input]
    operands = [_value(operand, inputs, count) for operand in node.operands]
    return _apply(node.operator, operands)


def _apply(operator: str, operands: list[Vector]) -> Vector:
    first, *rest = operands
    result: Vector
    if operator == "min":
        result = reduce(np.minimum, operands)
    elif operator == "max":
        result = reduce(np.maximum, operands)
    elif operator == "clamp":
        result = np.minimum(np.maximum(first, rest[0]), rest[1])
    elif not rest:
        result = -first
    elif operator == "+":
        result = _rounded(first + rest[0])
    elif operator == "-":
        result = _rounded(first - rest[0])
    elif operator == "*":
        result = first * rest[0]
    else:
        result = np.where(rest[0] == 0, np.nan, first / rest[0])
    return np.where(np.isfinite(result), result, np.nan)


def _rounded(values: Vector) -> Vector:
    """Rounded to nine decimals; -0.0 becomes 0.0."""
    return np.where(np.abs(values) < _FINEST, np.round(values, DECIMALS), values) + 0.0

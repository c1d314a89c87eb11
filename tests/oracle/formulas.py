"""The oracle's arithmetic: the value of an expression over other values, as exact fractions.

Owns a second reading of docs/reference/policy/measures.md for measures with a `value`: its own tokens and grammar, and
None for what is missing. Must not know measures, events or the product's own code. Called by `tests.oracle.measures`.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

Value = Fraction | None
DECIMALS = 9
FUNCTIONS = ("min", "max", "clamp")
DAYS = ("days_since", "days_until")
TOKEN = re.compile(r'\s*(?:(?P<number>[0-9.]+)|"(?P<quoted>[^"]+)"|(?P<name>[a-z_][a-z0-9_.]*)|(?P<sign>[-+*/(),]))')


def names_in(text: str) -> list[str]:
    """Return the names that an expression reads: measures, `account.NAME`, and `days_since(account.NAME)`."""
    names: list[str] = []
    value_of(text, names.append)
    return names


def value_of(text: str, look_up: Callable[[str], Value]) -> Value:
    """Return the value of an expression; None when it is missing."""
    value = _Reader(text, look_up).sum()
    return None if value is None else round(value, DECIMALS)


class _Reader:
    """Computes while it reads: one method for each rule of the grammar."""

    def __init__(self, text: str, look_up: Callable[[str], Value]) -> None:
        self._tokens: list[re.Match[str] | None] = [*TOKEN.finditer(text), None]
        self._look_up = look_up

    def _sign(self) -> str | None:
        token = self._tokens[0]
        return None if token is None else token["sign"]

    def _next(self) -> re.Match[str]:
        token = self._tokens.pop(0)
        assert token is not None
        return token

    def sum(self) -> Value:
        value = self._product()
        while self._sign() in ("+", "-"):
            side = 1 if self._next()["sign"] == "+" else -1
            other = self._product()
            value = None if value is None or other is None else round(value + side * other, DECIMALS)
        return value

    def _product(self) -> Value:
        value = self._factor()
        while self._sign() in ("*", "/"):
            sign, other = self._next()["sign"], self._factor()
            if value is None or other is None or (sign == "/" and other == 0):
                value = None
            else:
                value = value * other if sign == "*" else value / other
        return value

    def _factor(self) -> Value:
        token = self._next()
        if token["sign"] == "-":
            value = self._factor()
            return None if value is None else -value
        if token["sign"] == "(":
            value = self.sum()
            self._next()
            return value
        if token["number"]:
            return Fraction(token["number"])
        if token["name"] in FUNCTIONS and self._sign() == "(":
            return self._function(token["name"])
        if token["name"] in DAYS and self._sign() == "(":
            _, date, _ = self._next(), self._next(), self._next()
            return self._look_up(f"{token['name']}({date['quoted'] or date['name']})")
        return self._look_up(token["quoted"] or token["name"])

    def _function(self, name: str) -> Value:
        values = []
        while self._next()["sign"] != ")":
            values.append(self.sum())
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return None
        if name == "clamp":
            value, low, high = known
            return min(max(value, low), high)
        return min(known) if name == "min" else max(known)

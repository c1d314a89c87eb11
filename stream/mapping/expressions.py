"""Expressions of mappings: JMESPath, with a few functions more, over decoded JSON.

Owns the functions that JMESPath does not have, and which expressions are refused; `stream.mapping.compiled` makes them
fast. Must not know what a rule or an event is. Called by `stream.mapping.reading`; `stream.mapping.apply` evaluates.

Source: https://jmespath.org/specification.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jmespath
import msgspec
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions, signature

from schemas.public_mail import PUBLIC_MAIL
from stream.mapping.compiled import Evaluate, compiled, never_fails, paths_of, with_names, with_slots
from stream.mapping.values import time_of


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """An expression of a mapping: `evaluate` gives its value on decoded JSON, None where there is none.

    That raises ExpressionError for wrong types. Who evaluates for each record calls `evaluate` itself.
    """

    text: str
    tree: Any
    """As `jmespath` parses it."""
    evaluate: Evaluate

    def __call__(self, value: Any) -> Any:
        """Its value on decoded JSON."""
        return self.evaluate(value)

    def of_tree(self, tree: Any) -> Expression:
        """Another tree, of which messages say what they say of this expression."""
        return Expression(self.text, tree, _evaluator(self.text, tree))

    def of_names(self, trees: Mapping[str, Any]) -> Expression:
        """The same with other trees for names of its record. Raises WholeRecordError if it reads the record itself."""
        return self.of_tree(with_names(self.tree, trees)) if trees else self

    def paths(self) -> set[tuple[str, ...]]:
        """The paths of its record that it reads. Raises WholeRecordError if it reads the record itself."""
        return paths_of(self.tree)

    def of_slots(self, slots: Mapping[tuple[str, ...], int]) -> Expression:
        """The same for tuples that have the values of paths at the indexes in `slots`."""
        return self.of_tree(with_slots(self.tree, slots))


class ExpressionError(ValueError):
    """A text that is no expression; the message says where."""


class _MoreFunctions(Functions):
    """What exports of other systems need: https://jmespath.org has no way to say these."""

    @signature({"types": ["string", "null"]})
    def _func_lower(self, text: str | None) -> str | None:
        return None if text is None else text.lower()

    @signature({"types": ["string", "null"]})
    def _func_upper(self, text: str | None) -> str | None:
        return None if text is None else text.upper()

    @signature({"types": []}, {"types": []})
    def _func_days_late(self, due: Any, done: Any) -> int | None:
        """Whole days from one time to another, 0 if it is not later; numbers are epoch seconds."""
        due_ms, done_ms = time_of(due, "s"), time_of(done, "s")
        if not isinstance(due_ms, int) or not isinstance(done_ms, int) or bool in {type(due_ms), type(done_ms)}:
            return None
        return max(0, done_ms - due_ms) // _DAY_MS

    @signature({"types": ["string", "null"]}, {"types": ["string"]})
    def _func_split(self, text: str | None, separator: str) -> list[str]:
        return [] if not text or not separator else text.split(separator)

    @signature({"types": ["string", "null"]})
    def _func_domain(self, address: str | None) -> str | None:
        """The part of an e-mail address after the last @, in lower case."""
        name, at_sign, domain = (address or "").rpartition("@")
        return domain.strip().lower() if name and at_sign and domain.strip() else None

    @signature({"types": ["string", "null"]})
    def _func_company_domain(self, address: str | None) -> str | None:
        """As `domain`, but nothing for an address at a public mail provider."""
        domain = self._func_domain(address)
        return None if domain in PUBLIC_MAIL else domain

    @signature({"types": ["string"]}, {"types": []})
    def _func_object(self, name: str, value: Any) -> dict[str, Any]:
        return {name: value}

    @signature({"types": ["object", "null"]}, {"types": ["array-string"]})
    def _func_without(self, value: dict[str, Any] | None, names: list[str]) -> dict[str, Any] | None:
        return value and {name: content for name, content in value.items() if name not in names}

    @signature({"types": []})
    def _func_parse_json(self, value: Any) -> Any:
        """The JSON in a text; what is no text, or no JSON, as it is."""
        try:
            return _JSON.decode(value) if isinstance(value, str) else value
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return value


_DAY_MS = 86_400_000
_JSON = msgspec.json.Decoder()
_OPTIONS = jmespath.Options(custom_functions=_MoreFunctions())


@lru_cache(maxsize=1024)
def compile_expression(text: str) -> Expression:
    """Compile an expression; equal texts give the same object. Raises ExpressionError with the reason."""
    try:
        parsed = jmespath.compile(text)
    except (JMESPathError, RecursionError, ValueError) as error:  # ValueError: a number of too many digits
        raise ExpressionError(_one_line(error)) from error
    _check(text, parsed.parsed)
    return Expression(text, parsed.parsed, _evaluator(text, parsed.parsed))


def _evaluator(text: str, root: Any) -> Evaluate:
    """The function of a parsed expression; it raises ExpressionError with the reason."""
    function = compiled(root, _OPTIONS)
    if never_fails(root):
        return function

    def evaluate(value: Any) -> Any:
        try:
            return function(value)
        except (JMESPathError, RecursionError) as error:
            raise ExpressionError(_one_line(error)) from error
        except TypeError as error:  # a text compared with a number
            message = f"{text!r} compares values of different types"
            raise ExpressionError(message) from error
        except (ArithmeticError, ValueError) as error:  # NaN, an infinite number, or one beyond a float
            raise ExpressionError(f"{text!r}: {error}") from error

    return evaluate


def _check(text: str, root: Any) -> None:
    """Refuse what JMESPath says only when it is evaluated, or never: functions that do not exist, and `!a.b`."""
    known = _MoreFunctions.FUNCTION_TABLE
    pending = [root]
    while pending:
        node = pending.pop()
        children = [child for child in node["children"] if isinstance(child, dict)]
        if node["type"] == "function_expression" and node["value"] not in known:
            message = f"{text!r} calls {node['value']}(), which is not one of {', '.join(sorted(known))}"
            raise ExpressionError(message)
        if node["type"] == "subexpression" and children[0]["type"] == "not_expression":
            message = f"{text!r} has ! before a path, which negates only its first name: write !(a.b) for !a.b"
            raise ExpressionError(message)
        pending += children


def _one_line(error: Exception) -> str:
    text = "the expression is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return " ".join(line.strip().rstrip(":") for line in text.splitlines()[:1])

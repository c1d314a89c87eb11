"""Compiled expressions give what the interpreter of `jmespath` gives, on any JSON."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jmespath
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jmespath.exceptions import JMESPathError

from stream.mapping.compiled import compiled
from stream.mapping.expressions import _OPTIONS, ExpressionError, compile_expression
from tests.strategies.effort import examples

PRESETS = Path(__file__).parents[2] / "deploy" / "mappings"
NAMES = ("a", "b", "c")
SHIPPED = sorted(
    {
        text.replace('\\"', '"')
        for path in PRESETS.glob("*.toml")
        for text in re.findall(r'"((?:[^"\\]|\\.)+)"', path.read_text("utf-8"))
        if re.search(r"[.\[|&!(]", text)
    }
)
"""Every text of a preset that can be an expression of more than one name."""

scalars = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 0.5, -0.0, "", "a", "0", "1"])
documents = st.recursive(
    scalars, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.sampled_from(NAMES), each, max_size=3)
)


def _grown(each: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two = st.tuples(each, each)
    operators = st.sampled_from(["||", "&&", "==", "!=", "<", "<=", ">", ">="])
    return st.one_of(
        st.builds("({0}) {2} ({1})".format, each, each, operators),
        st.builds("!({0})".format, each),
        st.builds("({0}).{1}".format, each, st.sampled_from(NAMES)),
        st.builds("({0})[{1}]".format, each, st.integers(-2, 2)),
        st.builds("({0})[*].{1}".format, each, st.sampled_from(NAMES)),
        st.builds("({0})[?{1}]".format, each, each),
        st.builds("({0}) | {1}".format, each, each),
        st.builds("({0})[]".format, each),
        st.builds("({0})[::-1]".format, each),
        two.map("{{x: {0[0]}, y: {0[1]}}}".format),
        two.map("[{0[0]}, {0[1]}]".format),
        st.builds("contains({0}, {1})".format, each, each),
        st.builds("to_string({0})".format, each),
        st.builds("length({0})".format, each),
        st.builds("lower({0})".format, each),
        st.builds("sort_by({0}, &{1})".format, each, st.sampled_from(NAMES)),
    )


expressions = st.recursive(
    st.sampled_from([*NAMES, "@", "'a'", "`0`", "`1`", "`true`", "`[]`", "*", "a.b", "a[0]", "b.c[*]"]),
    _grown,
    max_leaves=6,
)


def interpreted(text: str, document: Any) -> tuple[str, Any]:
    try:
        return "gives", jmespath.compile(text).search(document, _OPTIONS)
    except (JMESPathError, TypeError) as error:
        return "raises", type(error)


def by_function(text: str, document: Any) -> tuple[str, Any]:
    try:
        return "gives", compiled(jmespath.compile(text).parsed, _OPTIONS)(document)
    except (JMESPathError, TypeError) as error:
        return "raises", type(error)


def same(text: str, document: Any) -> None:
    expected, actual = interpreted(text, document), by_function(text, document)
    assert repr(actual) == repr(expected), (text, document)  # repr tells 0 from false and 1 from 1.0


@settings(max_examples=examples(1_500))
@given(expressions, documents)
@example("!(@)", 0.0)
@example("!(@)", False)
@example("(a) < (b)", {"a": "x", "b": 1})
@example("(a) == (b)", {"a": 0, "b": False})
def test_a_compiled_expression_gives_what_the_interpreter_gives(text: str, document: Any) -> None:
    try:
        jmespath.compile(text)
    except JMESPathError:
        return
    same(text, document)


@given(st.sampled_from(SHIPPED), documents)
def test_expressions_of_presets_give_what_the_interpreter_gives(text: str, document: Any) -> None:
    try:
        compile_expression(text)
    except ExpressionError:
        return  # a pattern or a title
    same(text, document)


def test_there_are_expressions_of_presets() -> None:
    assert len(SHIPPED) > 100

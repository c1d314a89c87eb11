"""Expressions: JMESPath with the functions that exports need, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from stream.mapping.expressions import ExpressionError, compile_expression

RECORD = {
    "a": {"b": {"c": 1}},
    "list": [{"n": 1}, {"n": 2}],
    "name": "Acme",
    "nothing": None,
    "mail": "Jo@Acme.Example",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name", "Acme"),
        ("a.b.c", 1),
        ("a.b.c.d", None),
        ("name.b", None),
        ("missing.b", None),
        ('"name"', "Acme"),
        ("@", RECORD),
        ("list[?n > `1`].n", [2]),
        ("nothing || name", "Acme"),
        ("!(a.b)", False),
        ("lower(name)", "acme"),
        ("lower(nothing)", None),
        ("upper(name)", "ACME"),
        ("upper(nothing)", None),
        ("split(name, 'c')", ["A", "me"]),
        ("split(nothing, 'c')", []),
        ("split(name, '')", []),
        ("domain(mail)", "acme.example"),
        ("company_domain(mail)", "acme.example"),
        ("company_domain(name)", None),
        ("company_domain(nothing)", None),
        ("company_domain('jo@GMail.com')", None),
        ("!company_domain('jo@gmail.com')", True),
        ("domain(name)", None),
        ("domain(nothing)", None),
        ("domain('@acme.example')", None),
        ("domain('jo@')", None),
        ("domain('a@b@c.example')", "c.example"),
        ("object(name, list[0].n)", {"Acme": 1}),
        ("without(a.b, ['c'])", {}),
        ("without(list[0], ['x'])", {"n": 1}),
        ("without(nothing, ['x'])", None),
        ("parse_json('{\"x\": [1]}').x", [1]),
        ("parse_json('{')", "{"),
        ("parse_json(a)", {"b": {"c": 1}}),
        ("parse_json(nothing)", None),
        ("days_late(`86400`, `259200`)", 2),
        ("days_late(`86400`, `172799`)", 0),
        ("days_late(`259200`, `86400`)", 0),
        ("days_late('2026-03-01', '2026-03-04T12:00:00Z')", 3),
        ("days_late(nothing, `1`)", None),
        ("days_late(`1`, nothing)", None),
        ("days_late(`true`, `1`)", None),
        ("days_late('soon', `1`)", None),
    ],
)
def test_an_expression_gives_a_value(text: str, expected: Any) -> None:
    assert compile_expression(text)(RECORD) == expected


@pytest.mark.parametrize("value", [None, 1, "text", [], [1]])
def test_a_path_gives_nothing_on_what_is_no_object(value: Any) -> None:
    assert compile_expression("a")(value) is None
    assert compile_expression("a.b")(value) is None


def test_equal_texts_give_the_same_expression() -> None:
    assert compile_expression("a || b") is compile_expression("a || b")
    assert compile_expression("a || b") is not compile_expression("a || c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Invalid JMESPath expression: cannot be empty."),
        ("a.[", "Incomplete expression"),
        ("a b", "Unexpected token: b"),
        ("nope(a)", "'nope(a)' calls nope(), which is not one of abs, "),
        ("a[?nope(b)]", "'a[?nope(b)]' calls nope(), which is not one of abs, "),
        ("!a.b", "'!a.b' has ! before a path, which negates only its first name: write !(a.b) for !a.b"),
        ("(" * 2000 + "a" + ")" * 2000, "the expression is nested too deeply"),
        (f"a[{'9' * 5000}]", "Exceeds the limit (4300 digits) for integer string conversion"),
    ],
)
def test_what_is_no_expression_is_refused(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as error:
        compile_expression(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["lower(a)", "length(nothing)", "sum(list)", "join('-', [nothing])", "sort_by(list, &x)"]
)
def test_a_value_of_the_wrong_type_is_an_error(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(text)(RECORD)

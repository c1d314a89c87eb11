"""Every key of a TOML file has its line in every notation, and no key is added."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from stream.policy.lines import key_lines
from tests.strategies.policies import policies

if TYPE_CHECKING:
    from stream.policy.errors import Path as KeyPath

TEMPLATE = Path(__file__).parents[4] / "deploy/policies/template.toml"

ALL_OF_TOML = r"""# comment = "no key"
plain = 1 # plain = 2
"quoted key" = 'it""" + r'''s = "fine"'
"esc\"aped \u00e9" = "a # no comment, a ] and a \" quote"
dotted . "two" . three = 1979-05-27 07:32:00
dotted.other = [ 1, 2, # ] no end
  [ "a]", { deep = [
    true,
  ] } ],
]
many = """
not_a_key = 1
[not.a.table]
ends with two quotes"""""
path = \'\'\'
C:\\n''
'' \'\'\'
empty = ""
none = []
nothing = {}
inline = { a = 1, b.c = "}", d = { e = [ { f = 1 }, { f = 2 } ] } }

[early.late]
x = 0x1F

[early]
y = inf

[[list]]
a = 1
[list.table]
b = 2
[[list.inner]]
c = 3
[[list.inner]]
c = 4

  [[ list ]]
a = 5
[[list.inner]]
c = 6
[ last . "table" ]
'''.replace(r"\'", "'")

EXPECTED: dict[KeyPath, int] = {
    ("plain",): 2,
    ("quoted key",): 3,
    ('esc"aped é',): 4,
    ("dotted",): 5,
    ("dotted", "two", "three"): 5,
    ("dotted", "other"): 6,
    ("dotted", "other", 1): 6,
    ("dotted", "other", 2): 7,
    ("dotted", "other", 2, 1, "deep"): 7,
    ("dotted", "other", 2, 1, "deep", 0): 8,
    ("many",): 11,
    ("path",): 15,
    ("empty",): 18,
    ("inline",): 21,
    ("inline", "d", "e", 1, "f"): 21,
    ("early", "late"): 23,
    ("early", "late", "x"): 24,
    ("early",): 26,
    ("early", "y"): 27,
    ("list",): 29,
    ("list", 0, "a"): 30,
    ("list", 0, "table"): 31,
    ("list", 0, "inner"): 33,
    ("list", 0, "inner", 1): 35,
    ("list", 0, "inner", 1, "c"): 36,
    ("list", 1): 38,
    ("list", 1, "inner", 0, "c"): 41,
    ("last", "table"): 42,
}


def paths(value: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from paths(inner, (*path, index))


def test_keys_in_every_notation_have_their_line() -> None:
    lines = key_lines(ALL_OF_TOML)
    assert {path: lines[path] for path in EXPECTED} == EXPECTED


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("text", [ALL_OF_TOML, TEMPLATE.read_text(encoding="utf-8"), "", "\n\n", "a = 1"])
def test_keys_are_those_of_the_standard_parser(text: str, ending: str) -> None:
    text = text.replace("\n", ending)
    assert set(key_lines(text)) == set(paths(tomllib.loads(text)))


@given(policies())
def test_keys_of_drawn_policies_are_those_of_the_standard_parser(text: str) -> None:
    assert set(key_lines(text)) == set(paths(tomllib.loads(text)))


@pytest.mark.parametrize("text", ["a = [", "a = [}", "a = {1}", "[", 'a = "b', "= 1", "a."])
def test_text_that_is_not_toml_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="not TOML at line 1"):
        key_lines(text)

"""Read the segments of a policy: groups of accounts that are scored differently.

Owns `Segment` and its rules. Must not know what a segment changes. Called by the policy parser; `stream.plan.segments`
assigns accounts to segments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream.policy.fields import ACCOUNT, account_field, read_account_field
from stream.policy.table import Number

if TYPE_CHECKING:
    from stream.policy.table import Table

TEXTS = ("tier", "plan", "segment", "persona", "owner")
"""Text fields of a profile that `when` can use."""
RANGES = ("arr", "days_since_start", "days_to_renewal")
"""Numbers that `when` can bound; days are UTC days to the time of the score."""
MOST_SEGMENTS = 60  # the segments that an account matches are bits of one integer

_ACCOUNT = ACCOUNT.rstrip(".")
_ATTRIBUTE = 'a list of texts, such as ["DE", "AT"], or a range, such as { from = 30, below = 90 }'
_WHEN = 'a table of what the profile must be, such as { tier = ["enterprise"] }'
_RANGE = "a table such as { from = 30, below = 90 }, or with one of the two"
_LIMIT = Number("a number")


@dataclass(frozen=True, slots=True)
class Range:
    """`from_ <= number < below`; None leaves that side open."""

    field: str
    from_: float | None
    below: float | None


@dataclass(frozen=True, slots=True)
class Segment:
    """A named set of accounts: every text field has one of the given values, every number is in its range."""

    name: str
    texts: tuple[tuple[str, tuple[str, ...]], ...]
    ranges: tuple[Range, ...]


def read_segments(root: Table) -> tuple[Segment, ...]:
    """The segments of a policy in the order of the file, without those that are wrong, which is recorded."""
    tables = root.names("segments", "tables such as [segments.enterprise]")
    if len(tables) > MOST_SEGMENTS:
        root.problem("segments", f"must be at most {MOST_SEGMENTS} segments, not {len(tables)}")
    segments = [_read_segment(tables, name) for name in tables]
    return tuple(segment for segment in segments if segment is not None)


def _read_segment(tables: Table, name: str) -> Segment | None:
    if tables.without_when(name, (*TEXTS, *RANGES), "the condition of a segment"):
        return None
    table = tables.named(name, "a table [segments.NAME] with a when", ("when",))
    when = None if table is None else table.table("when", _WHEN, (*TEXTS, *RANGES, *_attribute_keys(table)))
    if table is None or when is None:
        return None
    if not len(when):
        table.wrong("when", _WHEN)
    texts = [(field, when.texts(field, printable=False)) for field in TEXTS if _has(when, field, list)]
    ranges = [_read_range(when, field, field) for field in RANGES if _has(when, field, dict)]
    for key, attributes in _attributes(when):
        _read_attribute(attributes, key, texts, ranges)
    return Segment(
        name,
        tuple((field, tuple(sorted(set(values)))) for field, values in texts if values),
        tuple(range_ for range_ in ranges if range_ is not None),
    )


def _attribute_keys(table: Table) -> tuple[str, ...]:
    """Keys of `when` that name attributes: `account`, whose keys are names, and quoted ones such as "account.seats"."""
    when = table.value("when")
    quoted = [key for key in when if isinstance(key, str) and key.startswith(ACCOUNT)] if isinstance(when, dict) else []
    return (_ACCOUNT, *quoted)


def _attributes(when: Table) -> list[tuple[str, Table]]:
    """Every key that names an attribute, with the table it is in."""
    attributes = [(key, when) for key in when if key.startswith(ACCOUNT)]
    if _ACCOUNT in when:
        nested = when.table(_ACCOUNT, 'a table of attributes, such as { country = ["DE"] }', None)
        attributes += [(key, nested) for key in nested or () if nested is not None]
    return attributes


def _read_attribute(
    table: Table, key: str, texts: list[tuple[str, tuple[str, ...]]], ranges: list[Range | None]
) -> None:
    """Add the condition on one attribute to those on texts or ranges."""
    field = read_account_field(table, key, account_field(key) or key, (*TEXTS, "arr"))
    if field is None:
        return
    if any(field == known for known, _ in texts) or any(each is not None and each.field == field for each in ranges):
        table.problem(key, f"{field} has a condition already")
    value = table.value(key)
    if isinstance(value, dict) and field not in TEXTS:
        ranges.append(_read_range(table, key, field))
    elif isinstance(value, list) and field != "arr":
        texts.append((field, table.texts(key, printable=False)))
    else:
        table.wrong(key, _ATTRIBUTE)


def _has(when: Table, field: str, kind: type) -> bool:
    """Whether a field is there; a misspelled one counts only if its value has the right type."""
    return field in when and (when.path_of(field)[-1] == field or isinstance(when.value(field), kind))


def _read_range(when: Table, key: str, field: str) -> Range | None:
    table = when.table(key, _RANGE, ("from", "below"))
    if table is None:
        return None
    if not len(table):
        when.wrong(key, _RANGE)
    from_, below = table.number("from", _LIMIT, required=False), table.number("below", _LIMIT, required=False)
    if from_ is not None and below is not None and below <= from_:
        table.wrong("below", f"above from, which is {from_:g}", ": no account would match")
        return None
    return Range(field, from_, below)

"""Fields that a policy names: paths of the account's profile and of properties, and the field of a statistic.

Owns what a path may be wherever a policy names a field that its source does not have, and which statistic works with
which source, field and key. A known field of the profile has one name, whether it is written with `account.` or
without. Also owns `Label`, a field that alerts carry. Called by the readers of measures, filters and segments, and by
the policy parser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.profiles import KINDS
from schemas.properties import PREFIX, property_name
from stream.policy.errors import listed, shown
from stream.policy.table import is_name
from stream.policy.windows import AGE_STATS, OPEN_STATS, PERIOD_STATS

if TYPE_CHECKING:
    from schemas.sources import Source, Sources
    from stream.policy.own.statistic import OwnStatistic
    from stream.policy.table import Table

ACCOUNT = "account."
_PROPERTIES = PREFIX.rstrip(".")
LONGEST_NAME = 200
RESERVED = ("account_id", "alertname", "band", "partition", "rule", "score", "segment", "severity", "source")
"""Labels that alerts have without a policy, here or in Alertmanager."""
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_FIELD = 'a field of the profile, such as "account.csm"'
_FIELDS = ("name", "tier", "plan", "segment", "persona", "arr", "parent_id", "owner")

_COUNTING_STATS = ("count", "rate")
_NUMBER_STATS = ("sum", "mean", "min", "max", "last", "nps", "percentile")
_DISTINCT = {"distinct_users": "user_id", "distinct_features": "feature", "distinct_roles": "role"}
"""Statistics that need a field of their own, with the field."""
_TEXT_STATS = ("distinct", *OPEN_STATS)
FIRST_STAT = "days_to_first"
STATS = (
    *("count", "sum", "mean", "min", "max", "last", "days_since_last"),
    *(*_DISTINCT, "rate", "share", "weighted_count", "distinct", "nps"),
    *(*PERIOD_STATS, "percentile", "open", *AGE_STATS, FIRST_STAT),
)
_ONLY_FOR = {
    "of": ("share", *OPEN_STATS),
    "weights": ("weighted_count", "last"),
    "per": ("rate", *PERIOD_STATS),
    "percent": ("percentile",),
}
_BEGINNINGS = ("started_at",)
_MOST_PERCENT = 99


def account_field(path: object) -> str | None:
    """The name after `account.`; None for any other value."""
    return path.removeprefix(ACCOUNT) if isinstance(path, str) and path.startswith(ACCOUNT) else None


def canonical(name: str) -> str:
    """The path of a field of the profile by its name: a known field has no `account.` before it."""
    return name if name in KINDS else ACCOUNT + name


def name_mistake(name: str) -> str | None:
    """What is wrong with NAME of `account.NAME`; None if nothing is."""
    if is_name(name) and name == name.strip() and len(name) <= LONGEST_NAME:
        return None
    message = f"account.{name}: the name of an attribute must be printable, without blanks at its ends"
    return f"{message}, and of at most {LONGEST_NAME} characters"


def read_property(table: Table, key: str, name: str) -> str | None:
    """The path `properties.NAME` in `key`, if NAME can be one; else it is recorded."""
    if not is_name(name) or name != name.strip() or len(name) > LONGEST_NAME:
        message = f"properties.{name}: the name of a property must be printable, without blanks at its ends"
        table.problem(key, f"{message}, and of at most {LONGEST_NAME} characters")
        return None
    return PREFIX + name


def fields_of(table: Table) -> list[tuple[Table, str, str | None]]:
    """Each field that a table of conditions or weights names: its table, its key there, and its path.

    Properties are in a table of their own, `properties.NAME` without quotes, or keys in quotes. The path is None where
    the name cannot be one, which is recorded.
    """
    fields: list[tuple[Table, str, str | None]] = []
    for key in table:
        name = property_name(key)
        if name is not None:
            fields.append((table, key, read_property(table, key, name)))
        elif key == _PROPERTIES and isinstance(table.value(key), dict):
            nested = table.table(key, "a table of properties", None)
            fields += [(nested, name, read_property(nested, name, name)) for name in nested or () if nested is not None]
        else:
            fields.append((table, key, key))
    return fields


def read_account_field(table: Table, key: str, name: str, known: tuple[str, ...]) -> str | None:
    """The canonical path of `account.NAME` in `key`; of the known fields of a profile only `known` are allowed."""
    mistake = name_mistake(name)
    if mistake is not None:
        table.problem(key, mistake)
        return None
    if name in KINDS and name not in known:
        able = f"; of the known fields of a profile, allowed here: {listed(known)}" if known else ""
        table.problem(key, f"{shown(ACCOUNT + name)} does not work here{able}")
        return None
    return canonical(name)


@dataclass(frozen=True, slots=True)
class Label:
    """A label of alerts, and the field of the profile that it has the value of."""

    name: str
    field: str


def read_labels(root: Table) -> tuple[Label, ...]:
    """The labels of a policy sorted by name, without those that are wrong, which is recorded."""
    table = root.names("labels", 'a table of labels, such as { csm = "account.csm" }')
    labels = [_read_label(table, name) for name in sorted(table)]
    return tuple(label for label in labels if label is not None)


def _read_label(table: Table, name: str) -> Label | None:
    if not _NAME.fullmatch(name):
        table.problem(
            name, "the name of a label must be letters (a to z, A to Z), digits and _, and not begin with a digit"
        )
        return None
    if name in RESERVED:
        table.problem(name, f"{shown(name)} is a label that alerts have already; not allowed here: {listed(RESERVED)}")
        return None
    field = account_field(table.value(name))
    if field is None:
        table.wrong(name, _FIELD)
        return None
    path = read_account_field(table, name, field, _FIELDS)
    return None if path is None else Label(name, path)


# -- statistics -------------------------------------------------------------------------------------------------------


def check_stat(table: Table, stat: str | None, source: Source | None, own: OwnStatistic | None) -> None:
    """Whether the source has what the statistic needs, and whether keys of one statistic are used with that one."""
    for key, owners in _ONLY_FOR.items():
        if key in table and stat is not None and stat not in owners:
            names = " or ".join(filter(None, (", ".join(map(shown, owners[:-1])), shown(owners[-1]))))
            message = f'only stat {names} takes {key}, and this stat is "{stat}": remove {key} or change the stat'
            table.problem(key, message)
    able = _reads_number(stat, own) and property_name(str(table.value("field"))) is not None
    able |= own is not None and (not own.of_field or (source is not None and bool(source.numbers)))
    able |= reads_text(table, stat)
    if stat is not None and source is not None and stat not in _stats_of(source) and not able:
        needed = f"the field {_DISTINCT[stat]}" if stat in _DISTINCT else "a number field"
        stats = listed(_stats_of(source))
        table.problem("stat", f'"{stat}" needs {needed}, and {source.name} has none; stats for {source.name}: {stats}')


def _reads_number(stat: str | None, own: OwnStatistic | None) -> bool:
    return stat in _NUMBER_STATS or (own is not None and own.of_field)


def reads_text(table: Table, stat: str | None) -> bool:
    """Whether it is the latest text, with a number for each of its values, instead of the latest number."""
    return stat == "last" and "weights" in table


def _stats_of(source: Source) -> list[str]:
    without = set() if source.numbers else set(_NUMBER_STATS)
    without |= {stat for stat, field in _DISTINCT.items() if field not in source.texts}
    return [stat for stat in STATS if stat not in without]


def read_field(
    table: Table, of: tuple[str | None, OwnStatistic | None], source: Source | None, sources: Sources
) -> str | None:
    """The field that a statistic works on, `of` its name and that of another package; None where it takes none."""
    stat, own = of
    if reads_text(table, stat):
        if "field" in table:
            table.problem("field", 'stat "last" takes field (a number) or weights (numbers for a text), not both')
        return None
    field = table.value("field")
    name = property_name(field) if isinstance(field, str) else None
    if name is not None and (stat in _TEXT_STATS or _reads_number(stat, own)):
        return read_property(table, "field", name)
    if stat == FIRST_STAT:
        return _read_beginning(table)
    if _reads_number(stat, own):
        return _read_number_field(table, stat, source, sources)
    return _read_known_field(table, stat, source, sources)


def _read_number_field(table: Table, stat: str | None, source: Source | None, sources: Sources) -> str | None:
    if source is None:
        every = tuple(dict.fromkeys(field for each in sources for field in each.numbers))
        return table.choice("field", every)
    fields = source.numbers
    expected = f'a number field of {source.name} for stat "{stat}": {listed(fields)}, or properties.NAME'
    return table.choice("field", fields, expected) if fields else None  # no fields: recorded with the stat


def _read_beginning(table: Table) -> str | None:
    """The date of the profile that days are counted from; None for the account's first event."""
    if "field" not in table:
        return None
    name = account_field(table.value("field"))
    if name is not None:
        return read_account_field(table, "field", name, _BEGINNINGS)
    able = f"{listed(_BEGINNINGS)}, or account.NAME for a date among the attributes"
    expected = f'a date of the profile to count from for stat "{FIRST_STAT}": {able}; without field, the first event'
    return table.choice("field", _BEGINNINGS, expected)


def _read_known_field(table: Table, stat: str | None, source: Source | None, sources: Sources) -> str | None:
    """A field of the source itself; of any source where it is not known."""
    if stat in _TEXT_STATS:
        every = tuple(dict.fromkeys(field for each in sources for field in each.texts))
        texts = every if source is None else source.texts
        name = None if source is None else source.name
        is_id = " (the id of the thing)" if stat in OPEN_STATS else ""
        return table.choice("field", texts, f'a text field of {name} for stat "{stat}"{is_id}: {listed(texts)}')
    if stat is None or "field" not in table:
        return None
    value = shown(table.value("field"))
    if stat not in _COUNTING_STATS:
        table.problem("field", f'stat "{stat}" does not take a field: remove field = {value}')
    elif source is None or source.has_count:
        return table.choice("field", ("count",), f'"count" or left out for stat "{stat}"')
    else:
        table.problem(
            "field", f'stat "{stat}" does not take a field on {source.name}: remove field = {value} to count events'
        )
    return None


def read_percent(table: Table, stat: str | None) -> int | None:
    """Which percentile; required for the statistic."""
    expected = f'a whole number from 1 to {_MOST_PERCENT} for stat "percentile"; 50 is the median'
    if stat == "percentile" and "percent" not in table:
        table.wrong("percent", expected)
    return table.whole_number("percent", expected, _MOST_PERCENT) if stat == "percentile" else None

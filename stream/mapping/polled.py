"""The rules of a topic applied to the records of a poll together, field by field, on only what they read of these.

Owns which rules and records that is for: those that are no batches, and whose events hold no surprise. All others are
left to `BoundMapping.apply`, which also says what is wrong; it gives the same events, one record after the other. Both
compute the value of a field by `stream.mapping.binding`. Called by `stream.mapping.apply`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from schemas.sources import Source
from stream.mapping.binding import ACCOUNT, FINITE, MappedEvent, ProblemError, bind, field_value, is_true
from stream.mapping.compiled import Evaluate, WholeRecordError
from stream.mapping.expressions import Expression, ExpressionError
from stream.mapping.reader import Foreign, Reader
from stream.mapping.roots import Root, root_of
from stream.mapping.rules import Origin, Rule
from stream.mapping.skimming import Path, Row, Skim, is_plain_name
from stream.mapping.values import is_finite, kinds

_ENCODER = msgspec.json.Encoder()
_TEXT = frozenset({str})
_DEFAULTS = (ACCOUNT, "time", "id")


class PolledRules:
    """The rules for the records of a topic."""

    def __init__(self, skim: Skim, batches: Sequence[Evaluate], rules: Sequence[_PolledRule]) -> None:
        """`skim` reads what `rules` look at, and what `batches`, which are true of records that are left to others."""
        self._skim = skim
        self._batches = batches
        self._rules = rules

    def apply(self, values: Sequence[bytes], record_of: Callable[[int], Foreign]) -> list[list[MappedEvent] | None]:
        """The events of records, none of a record that is skipped; None for records that are left to others.

        `record_of` gives what is around a value, by its index.
        """
        read = self._skim.read(values)
        if self._batches:
            read = [None if row is None or self._is_batch(row) else row for row in read]
        indexes = [index for index, row in enumerate(read) if row is not None]
        rows = [row for row in read if row is not None]
        poll = _Poll([[] for _ in rows], set(), set(), lambda number: record_of(indexes[number]))
        for rule in self._rules:
            rule.apply(rows, range(len(rows)), poll)
        if len(rows) == len(values) and not poll.left and all(poll.events):
            return list(poll.events)
        results: list[list[MappedEvent] | None] = [None] * len(values)
        for number, (index, events) in enumerate(zip(indexes, poll.events, strict=True)):
            if (events or number in poll.skipped) and number not in poll.left:
                results[index] = events
        return results

    def _is_batch(self, row: Row) -> bool:
        try:
            return any(is_true(batch(row)) for batch in self._batches)
        except ExpressionError:
            return True


class _Poll(NamedTuple):
    """What becomes of rows, by their numbers: events, that a rule skips them, or that they are left to others."""

    events: list[list[MappedEvent]]
    skipped: set[int]
    left: set[int]
    record_of: Callable[[int], Foreign]


class _PolledRule:
    """A rule for rows."""

    def __init__(self, rule: Rule, source: Source | None) -> None:
        self._when = None if rule.when is None else rule.when.evaluate
        self._events = None if source is None or rule.skip else _maker(rule, source)

    def apply(self, rows: Sequence[Row], numbers: Sequence[int], poll: _Poll) -> None:
        """Note what becomes of rows with these numbers."""
        try:
            self._apply(rows, numbers, poll)
        except ExpressionError:
            if len(rows) == 1:
                poll.left.update(numbers)
                return
            for row, number in zip(rows, numbers, strict=True):
                self.apply([row], [number], poll)

    def _apply(self, rows: Sequence[Row], numbers: Sequence[int], poll: _Poll) -> None:
        """As `apply`. Raises ExpressionError, and has noted no event then."""
        if self._when is not None:
            answers = map(self._when, rows)
            indexes = [index for index, answer in enumerate(answers) if answer is True or is_true(answer)]
            if len(indexes) < len(rows):
                rows, numbers = [rows[index] for index in indexes], [numbers[index] for index in indexes]
        if self._events is None:
            poll.skipped.update(numbers)
        else:
            self._events(rows, numbers, poll)


_Events = Callable[[Sequence[Row], Sequence[int], _Poll], None]
"""Makes the events of rows with these numbers."""


def _maker(rule: Rule, source: Source) -> _Events:
    return _Columns(rule, source).add if rule.copy is None and not rule.deletes else _one_by_one(rule, source)


def _one_by_one(rule: Rule, source: Source) -> _Events:
    make = bind(rule, source)

    def add(rows: Sequence[Row], numbers: Sequence[int], poll: _Poll) -> None:
        for row, number in zip(rows, numbers, strict=True):
            events = poll.events[number]
            try:
                events.append(make(Reader(poll.record_of(number)), row, f"-{len(events)}" if events else ""))
            except (ExpressionError, ProblemError):
                poll.left.add(number)

    return add


class _Columns:
    """Makes the events of a rule field by field."""

    def __init__(self, rule: Rule, source: Source) -> None:
        self._name, self._source = rule.name, source.name
        of_source = kinds(source.event_type)
        self._fields: list[tuple[str, Evaluate | None]] = [
            (name, field_value(field, of_source.get(name, "any"))) for name, field in rule.fields.items()
        ]
        self._fields += [(name, None) for name in _DEFAULTS if name not in rule.fields]
        names = [name for name, _ in self._fields]
        self._account, *self._needed = (names.index(name) for name in _DEFAULTS)
        renamed = {f"field_{number}": name for number, name in enumerate(names)}
        fields = [(attribute, Any, None) for attribute in renamed]
        self._event = msgspec.defstruct("Event", fields, rename=renamed, omit_defaults=True, gc=False)

    def add(self, rows: Sequence[Row], numbers: Sequence[int], poll: _Poll) -> None:
        """Add the events of rows with these numbers. Raises ExpressionError."""
        columns = [
            [self._default(name, number, poll) for number in numbers]
            if value_of is None
            else [value_of(row) for row in rows]
            for name, value_of in self._fields
        ]
        poll.left.update(numbers[index] for index in self._surprises(columns))
        lines = _ENCODER.encode_lines(map(self._event, *columns)).split(b"\n")
        source, name, events = self._source, self._name, poll.events
        for number, account, line in zip(numbers, columns[self._account], lines, strict=False):
            events[number].append(MappedEvent(source, account, line, name))

    def _default(self, name: str, number: int, poll: _Poll) -> Any:
        """What an event has that no field of its rule gives."""
        record, events = poll.record_of(number), poll.events[number]
        if name == ACCOUNT:
            return Reader(record).account(self._source)
        if name == "time":
            return record.time_ms
        return f"{record.origin}-{len(events)}" if events else record.origin

    def _surprises(self, columns: Sequence[Sequence[Any]]) -> Iterator[int]:
        """Where an event has a number that is not finite, or no account, time or id."""
        for column in columns:
            if not FINITE.issuperset(map(type, column)):
                yield from (index for index, value in enumerate(column) if not is_finite(value))
        accounts = columns[self._account]
        if not _TEXT.issuperset(map(type, accounts)):
            yield from (index for index, value in enumerate(accounts) if not isinstance(value, str))
        for number in self._needed:
            if None in columns[number]:
                yield from (index for index, value in enumerate(columns[number]) if value is None)


def polled_rules(rules: Sequence[tuple[Rule, Source | None]]) -> PolledRules | None:
    """Rules for the records of a topic and the sources of their events, for polls of these; None if they read more.

    They are for polls if they read only paths of their records, and each record is its only item.
    """
    plain: list[_Plain] = []
    for rule, source in rules:
        root = root_of(rule.root)
        if root is None or (source is None and not rule.skip) or not all(map(is_plain_name, rule.fields)):
            return None
        try:
            plain.append(_plain(rule, root, source))
        except WholeRecordError:
            return None
    skim = Skim.of(set[Path]().union(*(each.paths for each in plain)))
    if skim is None:
        return None
    slots = skim.slots

    def over_rows(expression: Expression, _origin: Origin = "item") -> Expression:
        return expression.of_slots(slots)

    batches = {each.batch.text: over_rows(each.batch).evaluate for each in plain if each.batch is not None}
    polled = [_PolledRule(rule.changed(over_rows), source) for rule, _, source, _ in plain]
    return PolledRules(skim, list(batches.values()), polled)


class _Plain(NamedTuple):
    """A rule whose expressions look at records, what is true of batches, its source, and the paths that are read."""

    rule: Rule
    batch: Expression | None
    source: Source | None
    paths: set[Path]


def _plain(rule: Rule, root: Root, source: Source | None) -> _Plain:
    """The rule with expressions that look at records. Raises WholeRecordError if one needs more than paths of these."""
    paths = set() if root.batch is None else root.batch.paths()

    def over_record(expression: Expression, origin: Origin) -> Expression:
        if origin not in {"item", "record"}:
            raise WholeRecordError
        if origin == "item":
            expression = expression.of_names(root.more)
        paths.update(expression.paths())
        return expression

    return _Plain(rule.changed(over_record), root.batch, source, paths)

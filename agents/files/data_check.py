"""Compare a policy with the events and profiles of files: what it expects and the data does not have.

Owns what is worth a warning and its wording. A warning is no mistake: the policy is valid, and the data may be a part
of what a worker reads. Called by `vitals check --against`.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from agents.files.timeline import TimedEvent
from schemas.events import PROFILE_SOURCE, SURVEY_SCALES, Event, ProfileEvent, SurveyEvent
from schemas.profiles import attribute_of, texts_of
from schemas.properties import property_name, property_text, values_of
from schemas.sources import Source, Sources
from schemas.sources import attribute_of as field_attribute
from stream.columns.panes import UNIT_MS, date_text
from stream.explain.text import counted
from stream.policy.account_conditions import AccountFilter
from stream.policy.fields import FIRST_STAT, account_field
from stream.policy.filters import Filter, parts_of
from stream.policy.formulas.formula import number_of_profile
from stream.policy.measures import FACTS_SOURCE, Measure
from stream.policy.policy import Policy, Segment

_FEWEST_ANSWERS = 10
"""Of fewer answers to a survey, it says nothing that all are low."""
_EXAMPLES = 3
_DISTINCT_FIELDS = {"distinct_users": "user_id", "distinct_features": "feature", "distinct_roles": "role"}


class Warned(Struct):
    """Something to look at: its kind, what it is about (a source or a measure; null for all), and a sentence."""

    kind: str
    about: str | None
    message: str


def warnings_of(policy: Policy, records: Sequence[TimedEvent], as_of_ms: int) -> list[Warned]:
    """What a policy expects and the records (in order of time) do not have.

    Measures that most accounts have no value of are warnings of `stream.explain.distribution`. Events after `as_of_ms`
    count for fields, values and ids, but not for time.
    """
    by_source: dict[str, list[TimedEvent]] = {source: [] for source in policy.sources.names}
    for record in records:
        by_source[record.source].append(record)
    warnings = [
        *_silent_sources(policy, by_source, as_of_ms),
        *_long_windows(policy, by_source, as_of_ms),
        *_absent(policy, by_source),
        *_survey_scales(by_source["surveys"]),
        *_shared_ids(by_source, policy.sources),
        *_similar_ids(records, policy.sources),
    ]
    return list({(warned.kind, warned.message): warned for warned in warnings}.values())


def _measures_of(policy: Policy) -> Mapping[str, list[Measure]]:
    measures: dict[str, list[Measure]] = defaultdict(list)
    for measure in policy.measures:
        if measure.formula is None:
            measures[measure.source].append(measure)
    return measures


def _names(measures: Iterable[Measure]) -> str:
    return ", ".join(measure.name for measure in measures)


# -- time -------------------------------------------------------------------------------------------------------------


def _silent_sources(policy: Policy, by_source: Mapping[str, list[TimedEvent]], as_of_ms: int) -> Iterator[Warned]:
    """Sources of measures that have no event, or whose latest one has left every window of these measures."""
    pane_of = policy.calendar.pane_of
    for source, measures in _measures_of(policy).items():
        times = [record.time_ms for record in by_source[source] if record.time_ms <= as_of_ms]
        used_by = f"measures of the policy: {_names(measures)}"
        if not times and source == FACTS_SOURCE:
            yield Warned("silent_source", source, f"{source} has no profile ({used_by})")
        elif not times:
            yield Warned("silent_source", source, f"{source} has no event ({used_by})")
        elif source != FACTS_SOURCE:
            empty = [
                measure
                for measure in measures
                if measure.window.panes
                and pane_of(times[-1], measure.window.pane)
                <= pane_of(as_of_ms, measure.window.pane) - measure.window.panes
            ]
            if empty:
                since = f"its latest event is of {date_text(times[-1])}, and the scores are as of {date_text(as_of_ms)}"
                yield Warned(
                    "silent_source",
                    source,
                    f"{source} is silent: {since}; no account has an event in the windows of {_names(empty)}",
                )


def _long_windows(policy: Policy, by_source: Mapping[str, list[TimedEvent]], as_of_ms: int) -> Iterator[Warned]:
    """Measures that look back to before the first event of their source."""
    long, pane_of = [], policy.calendar.pane_of
    for source, measures in _measures_of(policy).items():
        records = by_source[source]
        if source == FACTS_SOURCE or not records or records[0].time_ms > as_of_ms:
            continue
        first_ms = records[0].time_ms
        for measure in measures:
            panes = measure.window.panes * (1 + measure.blocks)
            unit = measure.window.pane
            if pane_of(as_of_ms, unit) - panes + 1 < pane_of(first_ms, unit):
                begins = date_text(pane_of(first_ms, "day") * UNIT_MS["day"])
                long.append(
                    f"{measure.name} looks back over {panes}{measure.window.pane[0]}, {source} begins on {begins}"
                )
    if long:
        yield Warned(
            "long_window", None, f"windows longer than the data before {date_text(as_of_ms)}: {'; '.join(long)}"
        )


# -- fields and values ------------------------------------------------------------------------------------------------


def _absent(policy: Policy, by_source: Mapping[str, list[TimedEvent]]) -> Iterator[Warned]:
    """Fields that the policy reads and no record has, and values that it looks for and that never occur."""
    for source, measures in _measures_of(policy).items():
        events = [record.event for record in by_source[source]]
        if not events:
            continue
        values = _Values(policy.sources[source], events)
        for measure in measures:
            yield from _absent_of(measure, values)
    names = {measure.name for measure in policy.measures}
    profiles = [record.event for record in by_source[PROFILE_SOURCE]]
    if profiles:
        values = _Values(policy.sources.profiles, profiles)
        conditions: list[tuple[str, Segment | AccountFilter]] = [
            *((f"segment {segment.name}", segment) for segment in policy.segments),
            *((f"measure {each.name}", each.when) for each in policy.measures if each.when is not None),
        ]
        for user, condition in conditions:
            yield from _without(values, user, condition.texts)
            fields = [bound.reads[0] for bound in condition.ranges]
            yield from (_no_field(values, user, field) for field in fields if not values.of(field))
        for measure in policy.measures:
            inputs = () if measure.formula is None else measure.formula.inputs
            fields = [number_of_profile(name)[1] for name in inputs if name not in names]
            yield from (_no_field(values, f"measure {measure.name}", field) for field in fields if not values.of(field))


class _Values:
    """How often each value of a field occurs among the records of a source."""

    def __init__(self, source: Source, events: Sequence[Event]) -> None:
        self.source, self._events, self._defaults = source.name, events, source.defaults
        self.record = "profile" if source.name == PROFILE_SOURCE else "event"
        self._counts: dict[str, Counter[object]] = {}

    def of(self, field: str) -> Counter[object]:
        """The values of a field, without those that say nothing: null and the default."""
        if field not in self._counts:
            counts: Counter[object] = Counter()
            for event in self._events:
                counts.update(_values_of(event, field))
            for nothing in (None, self._defaults.get(field)):
                counts.pop(nothing, None)
            self._counts[field] = counts
        return self._counts[field]

    def default(self, field: str) -> object:
        """What a record without the field has."""
        return self._defaults.get(field)


def _values_of(event: Event, field: str) -> Sequence[object]:
    """The value of a field; of `account.NAME` and `properties.NAME`, texts as conditions compare them."""
    attribute, name = account_field(field), property_name(field)
    if attribute is not None and isinstance(event, ProfileEvent):
        return texts_of(attribute_of(event, attribute))
    if name is not None:
        return [property_text(value) for value in values_of([event], name)]
    value = getattr(event, field_attribute(field), None)
    return [property_text(value)] if isinstance(value, bool) else [value]


def _absent_of(measure: Measure, values: _Values) -> Iterator[Warned]:
    user = f"measure {measure.name}"
    field = None if measure.stat == FIRST_STAT else measure.field or _DISTINCT_FIELDS.get(measure.stat)
    if field is not None and field != "count" and not values.of(field):
        yield _no_field(values, user, field)
    yield from _without(values, user, measure.where)
    yield from _without(values, user, measure.of)
    if measure.weights is not None:
        weighted = measure.weights[0], tuple(value for value, _ in measure.weights[1])
        yield from _without(values, user, (weighted,))


def _no_field(values: _Values, user: str, field: str) -> Warned:
    default = values.default(field)
    text = f"{default:g}" if isinstance(default, float) else str(default)
    but = "" if default is None else f" other than its default, {text}"
    message = f"{user}: no {values.record} of {values.source} has the field {field}{but}"
    return Warned("absent_field", values.source, message)


def _without(values: _Values, user: str, where: Filter) -> Iterator[Warned]:
    """Fields of a filter that no record has, and values that none has."""
    for condition in where:
        field, operator, operand = parts_of(condition)
        counts = values.of(field)
        if operator == "exists" or (operator == "not" and not counts):
            continue
        wanted = operand if isinstance(operand, tuple) and operator == "in" else ()
        if not counts and values.default(field) not in wanted:
            yield _no_field(values, user, field)
            continue
        never = [value for value in wanted if value not in counts and value != values.default(field)]
        if never:
            listed = ", ".join(f'"{value}"' for value in never)
            present = ", ".join(f'"{value}"' for value, _ in counts.most_common(_EXAMPLES))
            has = f"; the most frequent are {present}" if present else ""
            message = f"{user}: no {values.record} of {values.source} has {field} {listed}{has}"
            yield Warned("absent_value", values.source, message)


def _survey_scales(surveys: Sequence[TimedEvent]) -> Iterator[Warned]:
    """Kinds of surveys whose answers are all in the lower half of the scale: they may have another scale."""
    scores: dict[str, list[float]] = defaultdict(list)
    for record in surveys:
        if isinstance(record.event, SurveyEvent):
            scores[record.event.kind].append(record.event.score)
    for kind, answers in sorted(scores.items()):
        low, high = SURVEY_SCALES[kind]
        if len(answers) >= _FEWEST_ANSWERS and max(answers) <= (low + high) / 2:
            message = (
                f"surveys: none of {counted(len(answers), 'answer')} of kind {kind} is above {max(answers):g}, "
                f"and the scale is {low:g} to {high:g}: convert the scores if your scale is another one"
            )
            yield Warned("survey_scale", "surveys", message)


# -- ids --------------------------------------------------------------------------------------------------------------


def _shared_ids(by_source: Mapping[str, list[TimedEvent]], sources: Sources) -> Iterator[Warned]:
    """Event ids of a source that several accounts use."""
    for source in sources.of_events:
        accounts: dict[str, set[str]] = defaultdict(set)
        for record in by_source[source]:
            accounts[record.event.id].add(record.event.account_id)
        shared = [(event_id, sorted(users)) for event_id, users in accounts.items() if len(users) > 1]
        if shared:
            event_id, users = shared[0]
            example = f'such as "{event_id}" by "{users[0]}" and "{users[1]}"'
            yield Warned(
                "shared_ids",
                source,
                f"{source}: {counted(len(shared), 'event id')} shared by several accounts, {example}: "
                "each counts for its account",
            )


def _similar_ids(records: Sequence[TimedEvent], sources: Sources) -> Iterator[Warned]:
    """Account ids, and users of an account, that differ only in case, Unicode form or white space."""
    accounts = {record.event.account_id for record in records}
    yield from _similar("account id", None, accounts)
    users: dict[tuple[str, str], set[str]] = defaultdict(set)
    for record in records:
        user = getattr(record.event, "user_id", None)
        if user is not None:
            users[record.source, record.event.account_id].add(user)
    groups = [(source, names) for (source, _), of_account in users.items() for names in _groups(of_account)]
    for source in sources.of_events:
        of_source = [names for each, names in groups if each == source]
        if of_source:
            yield _differ(source, "user", of_source)


def _similar(noun: str, about: str | None, ids: Iterable[str]) -> Iterator[Warned]:
    groups = _groups(ids)
    if groups:
        yield _differ(about, noun, groups)


def _differ(about: str | None, noun: str, groups: Sequence[Sequence[str]]) -> Warned:
    examples = "; ".join(
        " and ".join(ascii(name) if not name.isascii() else f'"{name}"' for name in names)
        for names in groups[:_EXAMPLES]
    )
    prefix = "" if about is None else f"{about}: "
    verb = "differ" if sum(map(len, groups)) > 1 else "differs"
    return Warned(
        "similar_ids",
        about,
        f"{prefix}{counted(sum(map(len, groups)), noun)} {verb} only in case, Unicode form or white space: {examples}",
    )


def _groups(ids: Iterable[str]) -> list[list[str]]:
    """Ids that are one id in everything but their writing."""
    groups: dict[str, list[str]] = defaultdict(list)
    for each in sorted(ids):
        plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", each).casefold())
        groups[" ".join(plain.split())].append(each)
    return [names for names in groups.values() if len(names) > 1]

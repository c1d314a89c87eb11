"""Profiles of accounts: what a record of `accounts` says, and what all of them together say.

Owns how a record is read field by field (a bad field costs that field), the rule that the latest value of each field
counts, and the attributes: whatever fields a profile has beyond those of `ProfileEvent`. Pure. Called by
`schemas.codecs`, `stream.accounts.accounts` and `agents.board.state`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from schemas.events import NUMBER_LIMIT, Attribute, ProfileEvent, Stamp
from schemas.hints import field_hint
from schemas.public_mail import PUBLIC_MAIL

DAY_MS: Final = 86_400_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
ATTRIBUTES: Final = "attributes"
LONGEST_TEXT: Final = 1000
MOST_VALUES: Final = 100
_IDENTITY: Final = ("id", "account_id", "time")
NOT_FIELDS: Final = ("attributes", "cleared", "stamps", "deletes", "deleted")
"""Members of a `ProfileEvent` that are not fields of a profile."""
KINDS: Final[Mapping[str, Any]] = {
    field.name: field.type
    for field in msgspec.structs.fields(ProfileEvent)
    if field.name not in (*_IDENTITY, *NOT_FIELDS)
}
"""The fields of every profile, with their types."""
ALIASES: Final = "aliases"
_TEXT: Final = KINDS["name"]
_NUMBER: Final = KINDS["arr"]
_IDS: Final = ("parent_id", "owner")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_PLAIN_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_BAD_TYPES: Final = "an attribute is a text, a number, true or false, or a list of these"


class _BadFieldError(ValueError):
    """What is wrong with the value of one field."""


def read_profile(document: Mapping[str, Any]) -> tuple[ProfileEvent, list[str]]:
    """The profile in a record's JSON object, and what is wrong with the fields that had to be left out.

    Raises `msgspec.ValidationError` when the record has no valid id, account or time.
    """
    fields: dict[str, Any] = {}
    attributes: dict[str, Attribute] = {}
    cleared: list[str] = []
    problems: list[str] = []
    identity = {name: document[name] for name in _IDENTITY if name in document}
    for name, raw in _flattened(document).items():
        try:
            value = _value_of(name, raw)
        except _BadFieldError as error:
            is_typed = name in KINDS and name != ALIASES
            hint = field_hint(raw, msgspec.inspect.type_info(KINDS[name]), error) if is_typed else ""
            problems.append(f"{error} - at `$.{name}`{hint}")
            continue
        if value is None:
            cleared.append(name)
        elif name in KINDS:
            fields[name] = value
        elif value is not _IGNORED:
            attributes[name] = value
    if "time" in identity:
        identity["time"] = _with_beginning(identity["time"])
    profile = msgspec.convert(identity, ProfileEvent)
    profile.id, profile.account_id = _named("id", profile.id), _named("account_id", profile.account_id)
    for name, value in fields.items():
        setattr(profile, name, value)
    profile.attributes, profile.cleared = attributes, tuple(cleared)
    return profile, problems


def merge(known: ProfileEvent | None, update: ProfileEvent) -> ProfileEvent | None:
    """The profile with what a record says in addition; None where it changes nothing.

    Of each field the value with the latest (time, id) counts; of equal ones the first that came. A record without a
    value deletes all fields of before. The result does not depend on the order of records with different (time, id).
    """
    stamp = stamp_of(update)
    if known is None:
        known = ProfileEvent(update.id, update.account_id, update.time)
        stamps: dict[str, Stamp] = {}
        latest = stamp
        changed = True
    else:
        stamps, latest = _stamps(known), stamp_of(known)
        changed = stamp > latest
    values = values_of(known)
    deleted = known.deleted
    if deleted is not None and stamp <= deleted:
        return None
    if update.deletes:
        deleted = stamp
        for name in [name for name, of_field in stamps.items() if of_field <= stamp]:
            del stamps[name]
            values.pop(name, None)
        changed = True
    for name, value in {**dict.fromkeys(update.cleared), **values_of(update)}.items():
        if name in stamps and stamp <= stamps[name]:
            continue
        stamps[name] = stamp
        values[name] = value
        changed = True
    if not changed:
        return None
    newest = update if stamp >= latest else known
    return _profile(newest, values, stamps, deleted)


def unite(known: ProfileEvent | None, other: ProfileEvent, account: str) -> ProfileEvent | None:
    """The profile of an account with that of another, which was merged into it: the latest value of each field.

    None where it changes nothing. That the other profile was deleted does not count: who merges two customers often
    deletes the profile of one of them.
    """
    stamps, values, changed = _stamps(other), values_of(other), False
    for stamp in sorted(set(stamps.values())):
        update = ProfileEvent(stamp[1], account, stamp[0])
        names = [name for name, of_field in stamps.items() if of_field == stamp]
        update.cleared = tuple(name for name in names if values.get(name) is None)
        for name in names:
            if values.get(name) is None:
                continue
            if name in KINDS:
                setattr(update, name, values[name])
            else:
                update.attributes[name] = values[name]
        united = merge(known, update)
        if united is not None:
            known, changed = united, True
    return known if changed else None


def _profile(
    newest: ProfileEvent, values: Mapping[str, Any], stamps: Mapping[str, Stamp], deleted: Stamp | None
) -> ProfileEvent:
    """A profile of these values; it keeps the stamps of values that are not as new as it, and of cleared fields."""
    profile = ProfileEvent(newest.id, newest.account_id, newest.time)
    own = stamp_of(profile)
    for name, value in values.items():
        if value is None:
            continue
        if name in KINDS:
            setattr(profile, name, value)
        else:
            profile.attributes[name] = value
    profile.stamps = {name: stamp for name, stamp in stamps.items() if stamp != own or values.get(name) is None}
    profile.deleted = deleted
    return profile


def _stamps(profile: ProfileEvent) -> dict[str, Stamp]:
    """When each field got its value, by name; also of cleared fields."""
    return dict.fromkeys(values_of(profile), stamp_of(profile)) | profile.stamps


def stamp_of(profile: ProfileEvent) -> Stamp:
    """By what the latest of several values is decided: time (epoch ms), then id."""
    return _ms(profile.time), profile.id


def ended_at_ms(profile: ProfileEvent) -> int | None:
    """When the account ends (epoch ms): by `ended_at`, or by a record without a value while none is newer."""
    if profile.ended_at is not None:
        return _ms(profile.ended_at)
    deleted = profile.deleted
    return None if deleted is None or deleted != stamp_of(profile) else deleted[0]


def values_of(profile: ProfileEvent) -> dict[str, Any]:
    """The fields and attributes that a profile has, by name."""
    fields = {name: value for name in KINDS if (value := getattr(profile, name)) is not None}
    return fields | {name: value for name, value in profile.attributes.items() if name not in KINDS}


def attribute_of(profile: ProfileEvent, name: str) -> Any:
    """The value of a field or an attribute; None where the profile does not have it."""
    return getattr(profile, name) if name in KINDS else profile.attributes.get(name)


def number_of(value: Any) -> float | None:
    """A value as a number: a number, or a text that is plainly one; true is 1 and false is 0.

    None for others, and for numbers beyond `NUMBER_LIMIT`.
    """
    if isinstance(value, str):
        value = _number_in(value.strip())
    return float(value) if isinstance(value, int | float) and -NUMBER_LIMIT <= value <= NUMBER_LIMIT else None


def time_of(value: Any) -> int | None:
    """The time (epoch ms) of a value that is a date, or a date and time with an offset. None for others.

    That of a date is its midnight UTC.
    """
    if isinstance(value, str):
        try:
            value = msgspec.convert(_with_beginning(value.strip()), datetime)
        except msgspec.ValidationError:
            return None
    if isinstance(value, datetime):
        return None if value.tzinfo is None else _ms(value)
    return None


def is_date(text: str) -> bool:
    """Whether a text has the form of a date without a time, such as 2026-12-31."""
    return _DATE.fullmatch(text) is not None


def day_of(value: Any) -> int | None:
    """The UTC day (since 1970) of a value that is a date, or a date and time with an offset. None for others."""
    time_ms = time_of(value)
    return None if time_ms is None else time_ms // DAY_MS


def texts_of(value: Any) -> tuple[str, ...]:
    """A value as texts, each of a list: `true`, `false`, and numbers without needless decimals."""
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return tuple(text for each in value for text in texts_of(each))
    if isinstance(value, bool):
        return ("true" if value else "false",)
    if isinstance(value, float) and value.is_integer():
        return (str(int(value)),)
    return (str(value),)


class _Ignored:
    """The value of a member that is not kept."""


_IGNORED = _Ignored()


def _flattened(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record; those in `attributes` are fields as well, unless the record has them beside it."""
    nested = document.get(ATTRIBUTES)
    fields = dict(nested) if isinstance(nested, dict) else {}
    fields |= {name: value for name, value in document.items() if name != ATTRIBUTES or not isinstance(value, dict)}
    return {name: value for name, value in fields.items() if name not in _IDENTITY}


def _value_of(name: str, raw: Any) -> Any:
    """The value of a field as it is kept; None where it is cleared. Raises `_BadFieldError`."""
    if raw is None:
        return None
    kind = KINDS.get(name)
    if kind is None:
        return _attribute(raw)
    if name == ALIASES:
        return _aliases(raw)
    if name in _IDS and isinstance(raw, str):
        return raw.strip() or None
    if kind != _TEXT and isinstance(raw, str):
        raw = raw.strip()
        if not raw:
            return None
        raw = _number_in(raw) if kind == _NUMBER else _with_beginning(raw)
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise _BadFieldError(str(error)) from None


def _aliases(raw: Any) -> list[str] | None:
    """The ids in a list, or a single one, each once; None where there is none. Raises `_BadFieldError`."""
    values = [raw] if isinstance(raw, str) else raw
    if not isinstance(values, list) or len(values) > MOST_VALUES or not all(isinstance(each, str) for each in values):
        msg = f"Expected a list of at most {MOST_VALUES} account ids, which are texts"
        raise _BadFieldError(msg)
    aliases = list(dict.fromkeys(text for each in values if (text := each.strip())))
    for alias in aliases:
        if len(alias) > LONGEST_TEXT:
            msg = f"Expected at most {LONGEST_TEXT} characters, got {len(alias)}"
            raise _BadFieldError(msg)
        if alias.lower() in PUBLIC_MAIL:
            msg = f'"{alias}" is no alias: everybody can have an address there, and a merge cannot be undone'
            raise _BadFieldError(msg)
    return aliases or None


def _number_in(text: str) -> Any:
    """The number that a text plainly is, else the text."""
    return float(text) if _PLAIN_NUMBER.fullmatch(text) else text


def _with_beginning(raw: Any) -> Any:
    """A date without a time as the beginning of that UTC day; anything else as it is."""
    return f"{raw}T00:00:00Z" if isinstance(raw, str) and is_date(raw) else raw


def _attribute(raw: Any) -> Any:
    if isinstance(raw, dict):
        return _IGNORED
    if isinstance(raw, list):
        values = [_attribute(each) for each in raw if each is not None]
        if len(values) > MOST_VALUES or any(isinstance(each, list | _Ignored) for each in values):
            msg = f"Expected a list of at most {MOST_VALUES} values: {_BAD_TYPES}"
            raise _BadFieldError(msg)
        return values
    if isinstance(raw, str) and len(raw) > LONGEST_TEXT:
        msg = f"Expected at most {LONGEST_TEXT} characters, got {len(raw)}"
        raise _BadFieldError(msg)
    if isinstance(raw, int | float) and not -NUMBER_LIMIT <= raw <= NUMBER_LIMIT:
        msg = f"Expected a number from {-NUMBER_LIMIT:g} to {NUMBER_LIMIT:g}"
        raise _BadFieldError(msg)
    return raw


def _named(field: str, text: str) -> str:
    if not text.strip():
        msg = f"{field} must not be blank - at `$.{field}`"
        raise msgspec.ValidationError(msg)
    return text.strip()


def _ms(time: int | datetime) -> int:
    return time if isinstance(time, int) else (time - _EPOCH) // _MILLISECOND

"""Profiles: what a record says field by field, and that the latest value of each field counts."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codecs import INVALID_FIELD, MALFORMED_JSON, NULL_VALUE, decode
from schemas.events import ProfileEvent
from schemas.profiles import day_of, ended_at_ms, merge, number_of, texts_of, unite, values_of
from schemas.records import read_message
from schemas.sources import BUILT_IN
from stream.engine.engine import Engine, Mode
from stream.ingest.batch import Batch
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy
from stream.recovery.changelog import restore, snapshot
from tests.oracle.profiles import Said, current
from tests.strategies.events import NOW_MS, encoded, profiles

DAY_MS = 86_400_000
POLICY = """
name = "p"
[segments.german]
when = { account.country = ["DE"] }
[measures.uses]
source = "product-usage"
stat = "count"
window = "30d"
[measures.seats]
source = "accounts"
stat = "value"
field = "account.seats"
[scores.health]
model = "additive"
min_change = 0
impacts = { uses = 1, seats = 1 }
bands = [{ name = "all", from = 0 }]
"""


def record(time: Any = NOW_MS, event_id: str = "1", **fields: Any) -> ProfileEvent:
    decoded = decode(
        BUILT_IN.profiles, [msgspec.json.encode({"id": event_id, "account_id": "acme", "time": time, **fields})]
    )
    assert not decoded.rejects, decoded.rejects
    (profile,) = decoded.events
    assert isinstance(profile, ProfileEvent)
    return profile


def merged(*records: ProfileEvent, known: ProfileEvent | None = None) -> ProfileEvent:
    for each in records:
        known = merge(known, each) or known
    assert known is not None
    return known


def test_a_single_field_leaves_the_others() -> None:
    profile = merged(record(tier="gold", arr=5, seats=10), record(NOW_MS + 1, seats=20))
    assert values_of(profile) == {"tier": "gold", "arr": 5.0, "seats": 20}
    assert profile.time == NOW_MS + 1


def test_null_empties_a_field_and_a_missing_one_does_not() -> None:
    profile = merged(record(tier="gold", plan="pro", seats=1), record(NOW_MS + 1, tier=None, seats=None))
    assert values_of(profile) == {"plan": "pro"}
    assert values_of(merged(record(tier="silver"), known=profile)) == {"plan": "pro"}, "an older value stays away"
    assert values_of(merged(record(NOW_MS + 2, tier="silver"), known=profile)) == {"plan": "pro", "tier": "silver"}


def test_an_older_record_fills_only_what_no_later_one_has() -> None:
    profile = merged(record(NOW_MS + 1, tier="gold"), record(tier="old", name="Acme"))
    assert values_of(profile) == {"tier": "gold", "name": "Acme"}


def test_of_one_time_the_larger_id_is_later_and_of_one_id_the_first_counts() -> None:
    assert merged(record(tier="a", event_id="2"), record(tier="b", event_id="10")).tier == "a"
    assert merged(record(tier="a"), record(tier="b", plan="p")).tier == "a"
    assert merged(record(tier="a"), record(tier="b", plan="p")).plan == "p"
    assert merge(record(tier="a"), record(tier="a")) is None


def test_a_deletion_takes_what_is_not_later() -> None:
    deletion = ProfileEvent("tombstone-7", "acme", NOW_MS + 1, deletes=True)
    before, after = record(tier="gold"), record(NOW_MS + 2, plan="pro")
    assert values_of(merged(before, deletion)) == {}
    assert values_of(merged(before, deletion, after)) == {"plan": "pro"}
    assert values_of(merged(before, after, deletion)) == {"plan": "pro"}
    assert values_of(merged(deletion, before, after)) == {"plan": "pro"}


def test_a_deletion_ends_the_account_until_a_later_record() -> None:
    deletion = ProfileEvent("tombstone-7", "acme", NOW_MS + 1, deletes=True)
    before, after = record(ended_at=NOW_MS + 9), record(NOW_MS + 2)
    assert ended_at_ms(merged(before)) == NOW_MS + 9
    for ended in ([deletion], [before, deletion], [deletion, before]):
        assert ended_at_ms(merged(*ended)) == NOW_MS + 1
    for back in ([before, deletion, after], [after, deletion, before], [deletion, after]):
        assert ended_at_ms(merged(*back)) is None
    assert ended_at_ms(merged(deletion, record(NOW_MS + 3, ended_at=NOW_MS), after)) == NOW_MS
    saved = msgspec.json.encode(merged(before, deletion))
    assert ended_at_ms(msgspec.json.decode(saved, type=ProfileEvent)) == NOW_MS + 1


@given(
    st.lists(st.tuples(st.booleans(), profiles("acme", NOW_MS, "x").flatmap(encoded)), min_size=2, max_size=7),
    st.data(),
)
def test_two_profiles_united_are_what_all_their_records_say(
    drawn: list[tuple[bool, bytes]], data: st.DataObject
) -> None:
    records: list[tuple[bool, ProfileEvent]] = []
    for number, (is_first, value) in enumerate(drawn):
        for event in decode(BUILT_IN["accounts"], [value]).events:
            assert isinstance(event, ProfileEvent)
            event.id, event.time = f"{number}", NOW_MS + data.draw(st.integers(0, 3))
            records.append((is_first, event))
    halves = [[event for is_first, event in records if is_first is half] for half in (True, False)]
    if not (halves[0] and halves[1]):
        return
    first, second = (merged(*half) for half in halves)
    united = unite(first, second, "acme") or first
    assert known_of(united) == known_of(merged(*(event for _, event in records)))
    again = unite(united, second, "acme")
    assert again is None


def test_a_deleted_profile_takes_nothing_from_the_one_it_is_united_with() -> None:
    deletion = ProfileEvent("tombstone-7", "birch", NOW_MS + 5, deletes=True)
    deleted = merged(record(tier="gold"), deletion, record(NOW_MS + 6, plan="pro"))
    united = unite(record(name="Acme"), deleted, "acme")
    assert united is not None
    assert values_of(united) == {"name": "Acme", "plan": "pro"}
    assert ended_at_ms(united) is None
    alone = unite(None, deleted, "acme")
    assert alone is not None
    assert (alone.account_id, values_of(alone)) == ("acme", {"plan": "pro"})


def known_of(profile: ProfileEvent) -> dict[str, Any]:
    """What the profile has, and when a deletion ended the account."""
    ended_ms = ended_at_ms(profile)
    return ({} if ended_ms is None else {"ended_at": ended_ms}) | values_of(profile)


@given(
    st.lists(st.one_of(st.none(), profiles("acme", NOW_MS, "x").flatmap(encoded)), min_size=1, max_size=6), st.data()
)
def test_the_order_of_records_changes_nothing(values: list[bytes | None], data: st.DataObject) -> None:
    """Each record has another (time, id); the oracle looks at all of them at once."""
    events: list[ProfileEvent] = []
    for number, value in enumerate(values):
        profile = (
            ProfileEvent("", "acme", 0, deletes=True) if value is None else decode(BUILT_IN.profiles, [value]).events[0]
        )
        assert isinstance(profile, ProfileEvent)
        profile.time, profile.id = NOW_MS + data.draw(st.integers(0, 2)), str(number)
        events.append(profile)
    said = [
        Said(each.time, each.id, dict.fromkeys(each.cleared) | values_of(each), each.deletes)  # type: ignore[arg-type]
        for each in events
    ]
    expected = current(said)
    assert known_of(merged(*events)) == expected
    shuffled = data.draw(st.permutations(events))
    doubled = [*shuffled, *data.draw(st.lists(st.sampled_from(events), max_size=3))]
    assert known_of(merged(*doubled)) == expected
    cut = data.draw(st.integers(1, len(doubled)))
    saved = msgspec.json.encode(merged(*doubled[:cut]))
    assert known_of(merged(*doubled[cut:], known=msgspec.json.decode(saved, type=ProfileEvent))) == expected


@pytest.mark.parametrize(
    ("field", "raw", "value"),
    [
        ("arr", "120000", 120_000.0),
        ("arr", " -1.5e3 ", -1500.0),
        ("arr", ".5", 0.5),
        ("renewal_at", "2026-12-31", 1_798_675_200_000),
        ("renewal_at", " 2026-12-31 ", 1_798_675_200_000),
        ("started_at", "2026-12-31T01:00:00+01:00", 1_798_675_200_000),
        ("parent_id", " holding ", "holding"),
        ("owner", "\tann", "ann"),
        ("tier", " gold ", " gold "),
        ("tier", "", ""),
    ],
)
def test_values_are_taken_where_they_are_plain(field: str, raw: Any, value: Any) -> None:
    taken = getattr(record(**{field: raw}), field)
    assert (int(taken.timestamp() * 1000) if hasattr(taken, "timestamp") else taken) == value


@pytest.mark.parametrize(
    ("field", "raw"), [("arr", " "), ("arr", ""), ("renewal_at", ""), ("parent_id", " "), ("owner", "")]
)
def test_a_blank_number_date_or_id_is_as_null(field: str, raw: str) -> None:
    assert record(**{field: raw}).cleared == (field,)


def test_the_time_of_a_record_may_be_a_date() -> None:
    (profile,) = decode(
        BUILT_IN.profiles, [b'{"id": "1", "account_id": " acme ", "time": "2026-12-31", "tier": "x"}']
    ).events
    assert profile.account_id == "acme"
    assert values_of(merged(record("2026-12-31T00:00:00Z", "0", tier="y"), profile))["tier"] == "x"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "raw", "message"),
    [
        ("arr", "120,000", "Expected `float | null`, got `str`"),
        ("arr", True, "Expected `float | null`, got `bool`"),
        ("arr", "1e13", "Expected `float` <= 1000000000000.0"),
        ("renewal_at", "soon", "Invalid RFC3339 encoded datetime"),
        ("renewal_at", "2026-02-30", "Invalid RFC3339 encoded datetime"),
        ("renewal_at", "2026-12-31T10:00:00", "Expected `datetime` with a timezone component"),
        ("tier", 7, "Expected `str | null`, got `int`"),
        ("seats", 1e13, "Expected a number from -1e+12 to 1e+12"),
        ("note", "x" * 1001, "Expected at most 1000 characters, got 1001"),
        ("modules", [["a"]], "Expected a list of at most 100 values: an attribute is a text, a number, true or false"),
        ("modules", ["a"] * 101, "Expected a list of at most 100 values"),
    ],
)
def test_a_bad_field_costs_that_field(field: str, raw: Any, message: str) -> None:
    value = {"id": "1", "account_id": "acme", "time": NOW_MS, field: raw, "plan": "pro", "name": "Acme"}
    decoded = decode(BUILT_IN.profiles, [msgspec.json.encode(value)])
    (profile,), (reject,) = decoded.events, decoded.rejects
    assert isinstance(profile, ProfileEvent)
    assert values_of(profile) == {"plan": "pro", "name": "Acme"}
    assert (reject.position, reject.reason, reject.whole) == (0, INVALID_FIELD, False)
    assert f"{message}" in reject.message
    assert f"at `$.{field}`" in reject.message
    assert values_of(merged(record(NOW_MS - 1, tier="old", arr=1), profile)) == {
        "tier": "old",
        "arr": 1.0,
        "plan": "pro",
        "name": "Acme",
    }


@pytest.mark.parametrize(
    ("value", "reason", "message"),
    [
        (None, NULL_VALUE, "accounts: the record has no value"),
        (b"[]", INVALID_FIELD, "Expected `object`, got `array`"),
        (b"{", MALFORMED_JSON, "accounts: "),
        (b'{"id": "1", "account_id": "a"}', INVALID_FIELD, "Object missing required field `time`"),
        (b'{"id": "1", "account_id": "a", "time": "soon"}', INVALID_FIELD, "`$.time`"),
        (b'{"id": " ", "account_id": "a", "time": 1}', INVALID_FIELD, "id must not be blank - at `$.id`"),
        (b'{"id": "1", "account_id": "\\t", "time": 1}', INVALID_FIELD, "account_id must not be blank"),
        (b'{"id": 1, "account_id": "a", "time": 1}', INVALID_FIELD, "Expected `str`, got `int` - at `$.id`"),
    ],
)
def test_a_record_without_an_identity_is_refused_as_a_whole(value: bytes | None, reason: str, message: str) -> None:
    decoded = decode(BUILT_IN.profiles, [value])
    (reject,) = decoded.rejects
    assert not decoded.events
    assert (reject.reason, reject.whole) == (reason, True)
    assert message in reject.message


def test_attributes_are_beside_the_fields_or_in_an_object_of_their_own() -> None:
    profile = record(seats=1, attributes={"seats": 2, "csm": "ann", "tier": "gold", "deep": {"a": 1}}, other={"b": 2})
    assert values_of(profile) == {"seats": 1, "csm": "ann", "tier": "gold"}
    assert values_of(record(attributes="x")) == {"attributes": "x"}
    for reserved in ("cleared", "deletes", "stamps", "deleted"):
        assert values_of(record(**{reserved: "x"})) == {reserved: "x"}


@pytest.mark.parametrize(
    ("value", "number", "day", "texts"),
    [
        (40, 40.0, None, ("40",)),
        (40.0, 40.0, None, ("40",)),
        (0.5, 0.5, None, ("0.5",)),
        (" 40 ", 40.0, None, (" 40 ",)),
        ("40 seats", None, None, ("40 seats",)),
        (True, 1.0, None, ("true",)),
        (False, 0.0, None, ("false",)),
        ("2026-12-31", None, 20_818, ("2026-12-31",)),
        ("2026-12-31T23:00:00-02:00", None, 20_819, ("2026-12-31T23:00:00-02:00",)),
        ("2026-12-31T23:00:00", None, None, ("2026-12-31T23:00:00",)),
        (["DE", 7, True], None, None, ("DE", "7", "true")),
        (None, None, None, ()),
        ("", None, None, ("",)),
        ("1e12", 1e12, None, ("1e12",)),
        ("1e13", None, None, ("1e13",)),
        ("-1e999", None, None, ("-1e999",)),
    ],
)
def test_an_attribute_is_read_as_what_the_policy_needs(
    value: Any, number: float | None, day: int | None, texts: tuple[str, ...]
) -> None:
    assert (number_of(value), day_of(value), texts_of(value)) == (number, day, texts)


def test_the_board_reads_a_profile_as_the_worker_does() -> None:
    value = {"id": "1", "account_id": " acme", "time": "2026-12-31", "arr": "7", "renewal_at": "soon", "seats": 3}
    profile = read_message(ProfileEvent, msgspec.json.encode(value))
    assert (profile.account_id, profile.arr, profile.renewal_at, profile.attributes) == (
        "acme",
        7.0,
        None,
        {"seats": 3},
    )


def engine_with(*records: dict[str, Any]) -> Engine:
    engine = Engine(compile_plan(parse_policy(POLICY, "p.toml")), dedup_ids=10)
    use = decode(BUILT_IN["product-usage"], [b'{"id": "1", "account_id": "acme", "time": %d}' % NOW_MS])
    offsets = np.arange(1)
    engine.step([Batch("product-usage", offsets, offsets + NOW_MS, use.events, 1)], Mode.HEAD, None)
    for offset, fields in enumerate(records):
        decoded = decode(BUILT_IN.profiles, [msgspec.json.encode({"id": "p", "account_id": "acme", **fields})])
        rejects = [reject._replace(position=offset) for reject in decoded.rejects]
        offsets = np.array([offset])
        batch = Batch("accounts", offsets, offsets + NOW_MS, decoded.events, offset + 1, rejects)
        effects = engine.step([batch], Mode.HEAD, None)
        assert len(effects.dead_letters) == len(rejects)
        assert effects.outcomes["accounts", "applied"] == 1
        assert effects.outcomes["accounts", "rejected"] == 0
    return engine


def shown(engine: Engine) -> tuple[str | None, float | None]:
    (message,) = (msgspec.json.decode(each.value) for each in engine.current().scores)
    values = {factor["measure"]: factor["value"] for factor in message["scores"]["health"]["factors"]}
    return message["segment"], values["seats"]


def test_a_worker_applies_what_is_right_and_dead_letters_what_is_not() -> None:
    engine = engine_with(
        {"time": NOW_MS, "country": "DE", "seats": "12"}, {"time": NOW_MS + 1, "seats": 1e13, "renewal_at": "soon"}
    )
    assert shown(engine) == ("german", 12.0)


def test_a_restored_profile_goes_on_as_it_was() -> None:
    engine = engine_with({"time": NOW_MS, "country": "DE", "seats": 12}, {"time": NOW_MS + 5, "seats": None})
    assert shown(engine) == ("german", None)
    after = Engine(engine.plan, dedup_ids=10)
    restore(after, {key: value for key, value in snapshot(engine) if value is not None})
    assert after.accounts.profiles == engine.accounts.profiles
    assert shown(after) == ("german", None)
    late = decode(BUILT_IN.profiles, [b'{"id": "x", "account_id": "acme", "time": %d, "seats": 3}' % (NOW_MS + 4)])
    after.step([Batch("accounts", np.array([2]), np.array([NOW_MS]), late.events, 3)], Mode.HEAD, None)
    assert shown(after) == ("german", None), "the field was emptied later"


def test_a_profile_that_an_earlier_version_saved_is_read() -> None:
    saved = b'{"id":"p","account_id":"acme","time":%d,"tier":"gold","arr":5.0}' % NOW_MS
    known = msgspec.json.decode(saved, type=ProfileEvent)
    assert values_of(merged(record(NOW_MS - 1, "0", tier="old", plan="p"), known=known)) == {
        "tier": "gold",
        "arr": 5.0,
        "plan": "p",
    }
    assert msgspec.json.encode(known) == saved

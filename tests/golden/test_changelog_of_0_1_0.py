"""A changelog that version 0.1.0 wrote restores: what is published afterwards, and saved, is what 0.1.0 made of it.

The files in `changelogs/` were written by 0.1.0 (see `changelogs/make_fixture.py`) and are compared by what they mean:
messages as JSON, changelog rows by field. A field or message that a later version adds on purpose is added to the
expectations here, by name, and never by writing the files again.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xxhash

from stream.columns.members import PAGE_ENTRY
from stream.engine import rescoring
from stream.recovery.record_form import AGE
from tests.golden.changelogs.partition import (
    EXPECTED,
    PROMOTED,
    PROMOTED_STEPS,
    STEPS_AFTER,
    Partition,
    comparable,
    fields_of,
    read_changelog,
    read_lines,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.golden.changelogs.partition import Records

NOW_MS = 20_503 * 86_400_000
MODULE = re.compile(rb"\b(?:stream|agents|schemas|tests)\.[a-z_]|numpy|pickle|__main__")
FEW_STEPS = 4
"""Enough to tell repeated records and ids, to let a storm end and to pass a window boundary."""


# What later versions added, by name, and left out where their answers are compared with those of 0.1.0.
ADDED_FIELDS = re.compile(
    r"(first|life)_ms$|base_state/|(fine|later)_(ms|score|parts)/|"
    + re.escape('["billing","latest",null,[["kind",["cancelled"]]]')
)
ADDED_TO_ALERTS = ("fall", "worsened_from", "worsened_to")
REWORDED_IN_ALERTS = ("id", "summary")
"""The reason of an alert is what fell since the account was last fine, and an id is a hash of all that is in it."""
TEXTS_OF_0_1_0 = 3
"""Profile, override and acknowledgements; a profile has `stamps` in addition."""
ROUNDING_ERROR = 1e-11
"""A smaller difference is published as 0 since 0.2."""


class Published(float):
    """A number of a published record, which 0.1.0 published with all digits; what is saved has them still."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment] # nearly equal numbers have no common hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and abs(self - other) < ROUNDING_ERROR

    def __ne__(self, other: object) -> bool:
        return not self == other


def as_of_0_1_0(value: Any, *, published: bool = False) -> Any:
    """What 0.1.0 wrote of a value: without what was added to it since."""
    if isinstance(value, list):
        return [as_of_0_1_0(each, published=published) for each in value]
    if isinstance(value, float) and abs(value) < ROUNDING_ERROR:
        return 0.0
    if isinstance(value, float) and published:
        return Published(value)
    if not isinstance(value, dict):
        return value
    published = published or "account_id" in value
    left = {
        name: as_of_0_1_0(each, published=published) for name, each in value.items() if not ADDED_FIELDS.match(name)
    }
    left = {name: each for name, each in left.items() if not re.search(r"(^|[0-9a-f]) (h $|i )", name)}
    left = {name: _in_any_order(each) if re.match(r"[0-9a-f]* p ", name) else each for name, each in left.items()}
    if "fingerprint" in left:
        left = {name: each for name, each in left.items() if name not in (*ADDED_TO_ALERTS, *REWORDED_IN_ALERTS)}
        left["annotations"] = {name: text for name, text in left["annotations"].items() if name != "reason"}
    if isinstance(left.get("texts"), str):
        texts = left["texts"].split("\n")[:TEXTS_OF_0_1_0]
        texts[0] = json.dumps({name: each for name, each in json.loads(texts[0] or "{}").items() if name != "stamps"})
        # Controls have three fields more, which are null or false in one that is no merge.
        left["texts"] = "\n".join(texts).rstrip("\n").replace(',"into":null,"merged":null,"alias":false', "")
    return left


def _in_any_order(page: str | None) -> tuple[bytes, list[tuple[int, int]]] | None:
    """The age and the members of a page (base64), whose order means nothing."""
    if page is None:
        return None
    age, members = (value := b64decode(page))[: AGE.size], value[AGE.size :]
    return age, sorted(np.frombuffer(members, PAGE_ENTRY).tolist())


@pytest.fixture(scope="module")
def changelog() -> Records:
    return read_changelog()


@pytest.fixture(scope="module")
def expected() -> list[Any]:
    return [as_of_0_1_0(comparable(line)) for line in read_lines(EXPECTED)]


FIELDS_OF_0_1_0 = (
    "name",
    "tier",
    "plan",
    "segment",
    "persona",
    "started_at",
    "renewal_at",
    "arr",
    "parent_id",
    "owner",
)


def steps_after() -> list[Any]:
    """The steps after the changelog, with profiles as 0.1.0 meant them: a field that a record leaves out is empty."""
    steps = read_lines(STEPS_AFTER)
    for step in steps:
        for record in step.get("take", ()):
            topic, value = record[0], record[4]
            if topic == "accounts" and value is not None:
                with suppress(ValueError):
                    record[4] = json.dumps(dict.fromkeys(FIELDS_OF_0_1_0) | json.loads(value))
    return steps


def restored(changelog: Records) -> Any:
    partition = Partition(changelog, NOW_MS)
    return as_of_0_1_0(comparable({"restored": partition.standing(), "current": partition.current()}))


def driven(changelog: Records, steps: int) -> list[Any]:
    partition = Partition(changelog, NOW_MS)
    return [as_of_0_1_0(comparable(partition.step(step))) for step in steps_after()[:steps]]


def test_it_restores_to_the_scores_of_its_last_commit(changelog: Records, expected: list[Any]) -> None:
    assert restored(changelog) == expected[0]


def test_after_it_was_restored_everything_goes_on_as_in_0_1_0(
    changelog: Records, expected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescoring, "OFTEN", 1)  # 0.1.0 published while catching up whatever had changed
    partition = Partition(changelog, NOW_MS)
    steps = steps_after()
    for number, (step, right) in enumerate(zip(steps, expected[1:-1], strict=True)):
        published = as_of_0_1_0(comparable(partition.step(step)))
        # 0.1.0 left catching up in two calls, and a candidate's score of the first that alerted in the second was
        # written twice: the last one counts, and today's only one is still of catching up.
        shadows = [
            {key: score | {"catching_up": None} for key, score in of.pop("shadow", [])} for of in (published, right)
        ]
        assert shadows[0] == shadows[1], number
        for name in {*published, *right}:
            assert published.get(name) == right.get(name), (number, name)
    saved, right = as_of_0_1_0(comparable(fields_of(partition.log))), expected[-1]
    assert saved.keys() == right["saved"].keys()
    for key, record in right["saved"].items():
        assert saved[key] == record, key
    assert as_of_0_1_0(comparable(partition.current())) == right["current"]


def test_its_event_ids_stay_known_and_new_ones_are_saved_with_their_accounts(changelog: Records) -> None:
    """A worker of 0.1.0 that takes the partition back ignores the new records, and finds its own."""
    saved = {key for key, value in dict(changelog).items() if key[:1] == b"i" and value is not None}
    partition = Partition(changelog, NOW_MS)
    for step in steps_after()[:FEW_STEPS]:
        partition.step(step)
    partition.commit()
    written = {key: value for key, value in partition.log if key[:1] == b"i"}
    assert written
    assert all(b"/account\0" in key and value is not None for key, value in written.items())
    assert all(b"/account\0" not in key for key in saved)
    newest = dict(changelog) | dict(partition.log)
    known = Partition([*newest.items()], NOW_MS).opened.pair.live.seen
    alone = {source: seen.ids_alone for source, seen in known.items() if seen.ids_alone is not None}
    assert {source.encode() for source in alone} == {key[1:].partition(b"\0")[0] for key in saved}
    assert all(len(ids) for ids in alone.values())


def test_its_candidate_can_be_promoted(changelog: Records) -> None:
    standing, committed, *published, saved = (as_of_0_1_0(comparable(line)) for line in read_lines(PROMOTED))
    partition = Partition(changelog, NOW_MS, promoted=True)
    assert comparable(partition.standing()) == standing
    assert standing["promoted"]
    assert as_of_0_1_0(comparable(partition.commit())) == committed
    taken = [as_of_0_1_0(comparable(partition.step(step))) for step in steps_after()[:PROMOTED_STEPS]]
    assert taken == published
    partition.commit()
    assert as_of_0_1_0(comparable(fields_of(partition.log))) == saved


def test_the_pane_that_complete_windows_read_more_is_named_until_the_next_midnight(changelog: Records) -> None:
    # Rates and comparisons count complete panes today: one more than 0.1.0 kept, where no longer window kept it anyway.
    live = Partition(changelog, NOW_MS, as_it_meant=False).opened.pair.live
    assert [name for name, _ in live.history.incomplete] == ["usual", "odd", "meetings"]
    assert live.as_of is not None
    midnight_ms = (live.as_of // 86_400_000 + 1) * 86_400_000
    assert {live.history.full_at(name) for name, _ in live.history.incomplete} == {midnight_ms}
    live.tick(midnight_ms)
    assert live.history.incomplete == ()


def test_measures_that_are_read_further_back_of_silent_accounts_are_named(changelog: Records) -> None:
    live = Partition(changelog, NOW_MS, as_of_now=False).opened.pair.live
    names = {name for name, _ in live.history.incomplete}
    measures = live.plan.measures
    assert names
    assert names <= {measures[index].measure.name for index in live.plan.improved_by_silence}
    assert live.as_of is not None
    full_ms = max(live.history.full_at(name) for name in names)
    assert full_ms <= live.as_of + live.plan.dormant_days * 86_400_000


def test_no_record_names_a_module(changelog: Records) -> None:
    for key, value in changelog:
        assert not MODULE.search(key), key
        assert not MODULE.search(value or b""), key
    assert MODULE.search(b'{"kind": "stream.columns.PaneColumn"}')


def test_it_holds_what_a_changelog_can_hold(changelog: Records) -> None:
    """Whoever makes the files smaller sees what would be lost."""
    kinds = {(key[:1] == b"x", key[9:10] if key[:1] == b"x" else key[:1], value is None) for key, value in changelog}
    written = {(shadow, tag, False) for shadow in (False, True) for tag in (b"l", b"p", b"r", b"t", b"s", b"i")}
    removed = {(shadow, tag, True) for shadow in (False, True) for tag in (b"t", b"i")}
    assert kinds == written | removed | {(False, b"a", False), (False, b"c", False)}
    newest = {key: value for key, value in dict(changelog).items() if value is not None}
    assert len([key for key in newest if key.startswith(b"iproduct-usage")]) == 2
    assert max(int.from_bytes(key[9:13], "big") for key in newest if key[:1] == b"p") >= 1
    state = json.loads(newest[b"s"])
    assert {"storm", "stalls", "peers", "tables", "settled", "watermarks", "position"} <= state.keys()
    rows = [row for key, row in fields_of(changelog).items() if key.startswith(" r ")]
    assert {text for row in rows for text in ("override", "acknowledged", "snoozed") if text in row["texts"]} == {
        "override",
        "acknowledged",
        "snoozed",
    }
    phases = {value for row in rows for name, value in row.items() if name.endswith("/phase")}
    held = {value for row in rows for name, value in row.items() if name.endswith("/held")}
    assert any(value >= 0 for row in rows for name, value in row.items() if name.startswith("due_ms/"))
    assert len(phases) > 2
    assert len(held) > 2


# -- and it would be seen if something were read otherwise ------------------------------------------------------------


def renamed(fragment: bytes) -> Callable[[Records], Records]:
    """Fields of the row schema have another name, and rows name that schema."""

    def change(changelog: Records) -> Records:
        digests = {}
        for key, value in changelog:
            if value and b"l" in (key[:1], key[9:10]) and fragment in value:
                digests[key[-8:]] = xxhash.xxh3_64_digest(value.replace(fragment, another))
        assert digests
        changed: Records = []
        for key, value in changelog:
            if key[-8:] in digests and value:
                changed.append((key[:-8] + digests[key[-8:]], value.replace(fragment, another)))
            elif b"r" in (key[:1], key[9:10] if key[:1] == b"x" else b"") and value:
                changed.append((key, value[:1] + digests.get(value[1:9], value[1:9]) + value[9:]))
            else:
                changed.append((key, value))
        return changed

    another = fragment + b"-of-old"
    return change


def without(pattern: bytes) -> Callable[[Records], Records]:
    """Records whose keys match are not there."""

    def change(changelog: Records) -> Records:
        left = [(key, value) for key, value in changelog if not re.match(pattern, key, re.DOTALL)]
        assert 0 < len(left) < len(changelog)
        return left

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(renamed(b"base_score/health"), id="what was published last has another name"),
        pytest.param(renamed(b"held_band/"), id="hysteresis has another name"),
        pytest.param(renamed(b"alert/urgent/phase"), id="open alerts have another name"),
        pytest.param(renamed(b"alert/low/"), id="a rule has another name"),
        pytest.param(renamed(rb"[\"product-usage\",\"count\""), id="a column has another name"),
        pytest.param(without(rb"s"), id="no state"),
        pytest.param(without(rb"x.{8}s"), id="no state of the shadow"),
        pytest.param(without(rb"ra03"), id="no row of an account"),
        pytest.param(without(rb"x.{8}ra03"), id="no row of an account in the shadow"),
        pytest.param(without(rb"p.{12}big"), id="no member pages of an account"),
        pytest.param(without(rb"x.{8}p.{12}big"), id="no member pages in the shadow"),
        pytest.param(without(rb"iproduct-usage\0\0\0\0\x02"), id="no ids of the generation before"),
        pytest.param(without(rb"isupport-tickets"), id="no ids of a source"),
        pytest.param(without(rb"[ac]"), id="no offsets of what was published"),
    ],
)
def test_what_is_read_otherwise_is_seen(
    change: Callable[[Records], Records], changelog: Records, expected: list[Any]
) -> None:
    changed = change(changelog)
    assert [restored(changed), *driven(changed, FEW_STEPS)] != expected[: 1 + FEW_STEPS]


@pytest.mark.parametrize("pattern", [rb"l", rb"x.{8}l", rb"t", rb"x.{8}t"])
def test_what_rows_and_state_need_is_missed(pattern: bytes, changelog: Records) -> None:
    with pytest.raises(ValueError, match="in the changelog"):
        restored(without(pattern)(changelog))

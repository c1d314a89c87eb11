"""Presets of mappings on payloads as the senders make them: the events of every record, and accounts with a score.

`presets/` has the payloads, in the form that the pages in `FIXTURES` document, with values of our own, and
`presets/expected` has what each record becomes. `test_preset_senders.py` captures the payloads of public SDKs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from agents.cli.main import app
from agents.files.formats import Record
from agents.files.inputs import read_file
from agents.files.mappings import mapping_file, preset_names
from agents.files.replay import Reading, replay_files
from agents.settings.settings import default_policy
from schemas.codecs import decode
from schemas.profiles import attribute_of
from schemas.sources import BUILT_IN
from stream.mapping.apply import Mapped
from stream.mapping.reading import parse_mapping
from stream.mapping.rules import InputMapping
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy

FOLDER = Path(__file__).parent / "presets"
FIXTURES = {
    "amplitude.jsonl": ("amplitude", "https://amplitude.com/docs/apis/analytics/export"),
    "delighted.json": ("delighted", "https://app.delighted.com/docs/api/listing-survey-responses"),
    "delighted.jsonl": ("delighted", "https://app.delighted.com/docs/webhooks"),
    "hubspot.jsonl": ("hubspot", "https://developers.hubspot.com/docs/api/webhooks"),
    "intercom.jsonl": ("intercom", "https://developers.intercom.com/docs/references/webhooks/webhook-models"),
    "mixpanel.jsonl": ("mixpanel", "https://developer.mixpanel.com/reference/raw-event-export"),
    "pipedrive.jsonl": ("pipedrive", "https://pipedrive.readme.io/docs/guide-for-webhooks-v2"),
    "posthog.jsonl": ("posthog", "https://posthog.com/docs/cdp/batch-exports"),
    "salesforce.csv": ("salesforce", "https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch"),
    "salesforce.jsonl": ("salesforce", "https://developer.salesforce.com/docs/atlas.en-us.change_data_capture.meta"),
    "segment.jsonl": ("segment", "https://segment.com/docs/connections/spec/common/"),
    "shop.public.accounts.jsonl": ("debezium", "https://debezium.io/documentation/reference/stable/connectors"),
    "shop.public.billing.jsonl": (
        "debezium",
        "https://debezium.io/documentation/reference/stable/transformations/event-flattening.html",
    ),
    "stripe.jsonl": ("stripe", "https://docs.stripe.com/api/events/object"),
    "zendesk.json": ("zendesk", "https://developer.zendesk.com/api-reference/ticketing/tickets/tickets/"),
    "zendesk.jsonl": ("zendesk", "https://developer.zendesk.com/api-reference/webhooks/event-types/ticket-events/"),
}
"""Payloads: their preset, and where their form is documented."""
NOW_MS = 1_796_000_000_000  # 2026-11-30
PLAN = compile_plan(parse_policy(default_policy().read_text(encoding="utf-8"), "template.toml"))


def preset(name: str) -> InputMapping:
    return parse_mapping(mapping_file(name).read_text(encoding="utf-8"), f"{name}.toml")


def outcomes(path: Path, mapping: InputMapping) -> list[dict[str, Any]]:
    """What each record becomes, in the order of records and rules."""
    lines: list[dict[str, Any]] = []

    def watch(record: Record, mapped: Mapped) -> None:
        for event in mapped.events:
            value = event.value or event.deletion
            assert value is not None
            deleted = {"deletes": True} if event.value is None else {}
            document = msgspec.json.decode(value)
            lines.append({"line": record.number, "rule": event.rule, "topic": event.source, **deleted, **document})
        lines.extend({"line": record.number, "skipped": rule} for rule in mapped.skipped)
        lines.extend({"line": record.number, "problem": problem} for problem in mapped.problems)

    assert read_file(path, BUILT_IN, mapping, watch).bad == []
    return lines


def test_every_preset_has_payloads() -> None:
    assert {name for name, _ in FIXTURES.values()} | {"cloudevents"} == set(preset_names())
    assert set(FIXTURES) == {path.name for path in FOLDER.iterdir() if path.is_file()}
    assert {path.name for path in (FOLDER / "expected").iterdir()} == {f"{name}.jsonl" for name in FIXTURES}


@pytest.mark.parametrize("file", FIXTURES)
def test_each_record_becomes_the_expected_events(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = (FOLDER / "expected" / f"{file}.jsonl").read_text(encoding="utf-8").splitlines()
    monkeypatch.chdir(FOLDER)  # an id that is a place has the path of its file as it is named
    assert outcomes(Path(file), preset(FIXTURES[file][0])) == [json.loads(line) for line in expected]


@pytest.mark.parametrize("file", FIXTURES)
def test_every_event_is_valid(file: str) -> None:
    read = read_file(FOLDER / file, BUILT_IN, preset(FIXTURES[file][0]))
    for source, numbered in read.by_source.items():
        assert decode(BUILT_IN[source], [value for _, value in numbered]).rejects == []


SCORED: dict[str, dict[str, tuple[float, dict[str, float]]]] = {
    "amplitude.jsonl": {"acme": (40.0, {"product_usage": 2})},
    "delighted.json": {"acme": (38.67, {"nps": 9})},
    "delighted.jsonl": {"acme": (26.67, {"nps": 0})},
    "intercom.jsonl": {"6": (21.54, {"support_tickets": 3})},  # one normal, one high
    "mixpanel.jsonl": {"42": (35.38, {"product_usage": 1}), "acme": (40.0, {"product_usage": 2})},
    "posthog.jsonl": {"acme": (44.62, {"product_usage": 3})},
    "segment.jsonl": {"acme": (40.0, {"product_usage": 2})},
    "shop.public.billing.jsonl": {"42": (50.0, {"payment_history": 0})},
    "stripe.jsonl": {"cus_NffrFeUfNV2Hib": (49.07, {"payment_history": 1})},  # 0, 3, 1 and 0 days late
    "zendesk.json": {"509974": (15.38, {"support_tickets": 5})},  # one normal, one urgent
    "zendesk.jsonl": {"509974": (15.38, {"support_tickets": 5})},  # two high, one normal
}
"""The score of each account under the template policy, and the values of its measures that are not those of silence."""
PROFILED: dict[str, dict[str, dict[str, Any]]] = {
    "hubspot.jsonl": {
        "513": {"name": None},
        "514": {"name": None},
        # 512 was merged into it, with its profile.
        "900": {"name": "Acme", "plan": "team", "arr": 12000, "numberofemployees": "300", "aliases": ["700", "512"]},
    },
    "pipedrive.jsonl": {
        "1": {"name": "Acme Inc", "won_deals": 3, "started_at": 1581644753000},
        "2": {"name": "Globex Corp", "plan": "team"},
        "3": {"name": None},
    },
    "salesforce.csv": {
        "001D000000IRFmaIAH": {"name": "Acme, Inc.", "segment": "Customer - Direct", "ARR__c": "12000.0"},
        "001D000000IRFmbIAH": {"name": None},
    },
    "salesforce.jsonl": {
        "001D000000IRFmcIAH": {"name": "Globex", "segment": "Customer - Direct", "owner": "Kim Lee"},
        "001D000000IRFmdIAH": {"name": None},
    },
    "shop.public.accounts.jsonl": {
        "42": {"name": "Acme", "plan": None, "owner": "kim"},
        "43": {},
        "44": {"name": None},
    },
}
"""Payloads without events: the profiles of accounts once all are applied."""
SILENCE = {"product_usage": 0, "support_tickets": 0, "payment_history": None, "engagement": 0, "nps": None}


def test_every_payload_gives_scores_or_profiles() -> None:
    assert SCORED.keys() | PROFILED.keys() == FIXTURES.keys()


@pytest.mark.parametrize("file", SCORED)
def test_accounts_have_a_score_under_the_template_policy(file: str) -> None:
    done = CliRunner().invoke(app, ["score", str(FOLDER / file), "--mapping", FIXTURES[file][0]])
    assert done.exit_code == 0, done.stderr
    scored = {}
    for message in map(json.loads, done.stdout.splitlines()):
        health = message["scores"]["health"]
        values = {factor["measure"]: factor["value"] for factor in health["factors"]}
        measured = {measure: value for measure, value in values.items() if value != SILENCE[measure]}
        scored[message["account_id"]] = (round(health["value"], 2), measured)
    assert scored == SCORED[file]


@pytest.mark.parametrize("file", PROFILED)
def test_accounts_have_a_profile(file: str) -> None:
    reading = Reading(mapping=preset(FIXTURES[file][0]))
    replay = replay_files([FOLDER / file], PLAN, NOW_MS, reading=reading)
    assert not replay.bad
    profiles = {profile.account_id: profile for profile in replay.engine.accounts.profiles.values()}
    shown = {
        account: {name: attribute_of(profiles[account], name) for name in expected}
        for account, expected in PROFILED[file].items()
    }
    assert shown == PROFILED[file]
    assert profiles.keys() == PROFILED[file].keys()

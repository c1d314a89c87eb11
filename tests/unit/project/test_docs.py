"""The documents say what is true: every path, setting, metric, command and policy they name exists; none is left out.

Owns the reading of Markdown for that. What the words mean is for people to check.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agents.board.state.board import Board
from agents.board.web.metrics import BoardMetrics
from agents.cli.main import app
from agents.derived.metrics import DerivedTelemetry
from agents.mapper.metrics import MapperTelemetry
from agents.settings.secrets import FILE_SUFFIX, secret_names
from agents.settings.settings import Settings
from agents.sinks.metrics import SinkTelemetry
from agents.sinks.redis.metrics import RedisTelemetry
from agents.worker.monitoring.metrics import Telemetry
from schemas.codecs import REASONS, decode
from schemas.events import CONTROL_SOURCE, ControlEvent
from schemas.sources import BUILT_IN
from schemas.topics import all_topics
from stream.accounts.row_codec import row_schema_of_accounts
from stream.engine.engine import Engine
from stream.plan.plan import compile_plan
from stream.policy.policy import PolicyError, parse_policy
from tests.pages.blocks import POLICY_PAGES, blocks

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
ARCHITECTURE = DOCS / "ARCHITECTURE.md"
REFERENCE = DOCS / "reference"
SETTINGS = REFERENCE / "settings.md"
METRICS = REFERENCE / "metrics.md"
TOPICS = REFERENCE / "topics.md"
DECISIONS = DOCS / "decisions"
TUTORIAL = sorted((DOCS / "tutorial").glob("*.md"))
PAGES = sorted([README, *DOCS.rglob("*.md")])

FOLDERS = "account_vitals|agents|deploy|docs|examples|schemas|stream|tests"
FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PATH = re.compile(rf"`((?:{FOLDERS})/[\w./-]*|(?:Makefile|LICENSE|pyproject\.toml|docker-compose\.yml))`")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
ANCHOR = re.compile(r"\]\((?!https?:)([^)#]*)#([^)]+)\)")
ROW = re.compile(r"^\| `(\w+)` \| ([^|]*) \|", re.MULTILINE)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def paths_in(text: str) -> set[str]:
    return set(PATH.findall(text))


def missing_paths(text: str, root: Path) -> list[str]:
    return sorted(path for path in paths_in(text) if not (root / path).exists())


def anchors_of(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(FENCED, "", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def settings_named(text: str) -> set[str]:
    return set(re.findall(r"VITALS_([A-Z_]+[A-Z])", text))


def metrics_named(text: str) -> set[str]:
    return set(re.findall(r"`(vitals_[a-z_]+)`", text))


def metrics_served() -> set[str]:
    sinks = (RedisTelemetry().registry, SinkTelemetry("webhook").registry)
    others = (DerivedTelemetry("rollup").registry, MapperTelemetry().registry, BoardMetrics(Board(), {}).registry)
    families = [family for registry in (Telemetry(BUILT_IN).registry, *sinks, *others) for family in registry.collect()]
    return {family.name + ("_total" if family.type == "counter" else "") for family in families}


def commands() -> set[str]:
    names = (command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands)
    return {name for name in names if name} | {group.name for group in app.registered_groups if group.name}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_path_and_link_leads_somewhere(page: Path) -> None:
    assert missing_paths(text_of(page), ROOT) == []
    links = LINK.findall(re.sub(FENCED, "", text_of(page)))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_anchor_leads_to_a_heading(page: Path) -> None:
    links = ANCHOR.findall(re.sub(FENCED, "", text_of(page)))
    known = [(link, (page.parent / link) if link else page, anchor) for link, anchor in links]
    assert [(link, anchor) for link, target, anchor in known if anchor not in anchors_of(text_of(target))] == []


def test_a_path_that_leads_nowhere_is_found() -> None:
    assert missing_paths("see `stream/engine/engine.py`, `stream/motor.py` and `Makefile`", ROOT) == ["stream/motor.py"]


def test_the_tables_of_readme_and_architecture_do_name_files() -> None:
    assert {"agents/settings/settings.py", "docs/reference/settings.md"} <= paths_in(text_of(README))
    assert {"agents/worker/commit/checkpoint.py", "stream/ingest/merge.py"} <= paths_in(text_of(ARCHITECTURE))


def test_the_settings_page_lists_every_setting_with_its_default() -> None:
    listed = {
        name.removeprefix("VITALS_").lower(): default.strip("` ")
        for name, default in ROW.findall(text_of(SETTINGS))
        if name.startswith("VITALS_")
    }
    assert set(listed) == set(Settings.model_fields)
    in_words = {"policy": "the template policy", "topic_prefix": "none"}
    for name, field in Settings.model_fields.items():
        default = "none" if field.default is None else str(field.default)
        expected = in_words.get(name, default.lower() if isinstance(field.default, bool) else default)
        assert listed[name] == expected, f"the settings page gives {listed[name]} as the default of {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_page_names_a_setting_that_does_not_exist(page: Path) -> None:
    known = {name.upper() for name in Settings.model_fields} | {"SETTINGS"}
    known |= {f"{name}{FILE_SUFFIX}".upper() for name in secret_names(Settings.model_fields)}
    assert settings_named(text_of(page)) - known == set()


def test_the_metrics_page_lists_every_metric_and_no_other() -> None:
    assert {
        name for name, _ in ROW.findall(text_of(METRICS)) if name.startswith(("vitals_", "process_"))
    } == metrics_served()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_page_names_a_metric_that_does_not_exist(page: Path) -> None:
    assert metrics_named(text_of(page)) - metrics_served() == set()


def test_the_topics_page_explains_every_reason_of_a_dead_letter() -> None:
    section = text_of(TOPICS).partition("## Dead letters")[2]
    named = set(re.findall(r"`(\w+)`", section))
    assert set(REASONS) <= named


def test_the_topics_page_lists_every_topic() -> None:
    section = text_of(TOPICS).partition("## ")[0]
    topics = {topic.name for topic in all_topics("<group>", BUILT_IN) if topic.role != "dead letters"}
    assert topics - set(re.findall(r"`([\w<>.-]+)`", section)) == set()


def test_the_commands_of_the_readme_and_the_tutorial_exist() -> None:
    text = "".join(text_of(page) for page in (README, *TUTORIAL))
    targets = set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:^\$ |`)make ([a-z]+)", text, re.MULTILINE))
    assert {"demo", "test"} <= named <= targets
    used = set(re.findall(r"(?:^\$ (?:VITALS_\w+=\S+ )?|`)vitals ([a-z]+)", text, re.MULTILINE))
    assert {"topics", "worker", "check", "score", "explain"} <= used <= commands()


def test_every_policy_shown_is_valid() -> None:
    shown = blocks("toml", *POLICY_PAGES)
    assert shown
    for policy in shown:
        assert compile_plan(parse_policy(policy, "docs/reference/policy")).measures
        with pytest.raises(PolicyError):
            parse_policy(policy.replace("stat =", "statistic ="), "docs/reference/policy")


def test_every_control_shown_is_accepted() -> None:
    lines = [line.encode() for block in blocks("json", *POLICY_PAGES) for line in block.splitlines()]
    decoded = decode(BUILT_IN[CONTROL_SOURCE], lines)
    assert decoded.rejects == []
    kinds = {event.kind for event in decoded.events if isinstance(event, ControlEvent)}
    assert kinds == {"pulse", "override", "clear_override", "acknowledge", "snooze", "erase", "merge"}


def test_the_policy_index_links_every_page_of_the_policy_language() -> None:
    index = DOCS / "reference/policy/index.md"
    linked = {link.partition("#")[0] for link in LINK.findall(text_of(index))}
    assert {page.name for page in POLICY_PAGES if page != index} - linked == set()


def test_the_rows_of_architecture_have_the_layout_of_today() -> None:
    plan = compile_plan(parse_policy(text_of(ROOT / "deploy/policies/template.toml")))
    row_schema = row_schema_of_accounts(Engine(plan).accounts)
    text = text_of(ARCHITECTURE)
    assert f"| `l` + `{row_schema.digest.hex()}` | {len(row_schema.describe()):,} bytes of JSON" in text
    assert f"The row is {row_schema.dtype.itemsize} fixed bytes" in text
    assert plan.label in text


DECISION_PARTS = (["Context", "Decision", "Consequences", "Evidence"], ["Context", "Decision", "Why", "Consequences"])


def test_decisions_are_numbered_without_a_gap_and_have_their_four_parts() -> None:
    pages = sorted(DECISIONS.glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    for page in pages:
        text = text_of(page)
        assert text.startswith(f"# {int(page.name[:4])}. "), page.name
        assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) in DECISION_PARTS, page.name

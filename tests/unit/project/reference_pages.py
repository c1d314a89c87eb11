"""Generates the tables of docs/reference from the code: settings, metrics, topics, record fields, commands, HTTP API.

Owns which columns come from the code, and the copy of the schemas in docs/reference/schemas. The last column of a table
(meaning, what to do) is written by hand and kept by the row's first cell. Run
`python -m tests.unit.project.reference_pages` after a change in the code: it writes the pages and schemas.
`test_reference.py` fails until that is done.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import typer
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from agents.board.state.board import Board
from agents.board.web.metrics import BoardMetrics
from agents.board.web.openapi import document
from agents.cli.main import app
from agents.derived.metrics import DerivedTelemetry
from agents.kafka.rights import ROLES, Right
from agents.mapper.metrics import MapperTelemetry
from agents.process.version import package_version
from agents.settings.settings import Settings
from agents.settings.sinks import SinkSettings
from agents.sinks.metrics import SinkTelemetry
from agents.sinks.redis.metrics import RedisTelemetry
from agents.worker.monitoring.metrics import Telemetry
from schemas import outputs
from schemas.catalog.compatibility import RULES
from schemas.catalog.documents import FORMS, files, text_of
from schemas.peers import PeersMessage
from schemas.profiles import ATTRIBUTES, NOT_FIELDS
from schemas.sources import BUILT_IN, DLQ_SUFFIX
from schemas.topics import (
    ALERTS,
    CHANGES,
    DAY_MS,
    DLQ_PROGRESS,
    MAPPER_DLQ,
    PEERS,
    ROLLUPS,
    SCORE_ROWS,
    SCORES,
    SHADOW,
    Topic,
    all_topics,
)
from tests.unit.project.python_reference import python_text

PAGES = Path(__file__).parents[3] / "docs" / "reference"
SCHEMAS = PAGES / "schemas"
BLOCK = re.compile(r"(<!-- generated: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
Row = Sequence[str]

PATTERNS = {
    r"^[A-Za-z0-9._-]{1,200}$": "letters, digits, `.`, `_`, `-`; at most 200",
    r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99})?$": "letters, digits, `.`, `_`, `-`; at most 100",
    r"^[A-Za-z0-9-]{1,100}$": "letters, digits, `-`; at most 100",
}
MERGED = (set(NOT_FIELDS) - {ATTRIBUTES}) | {"merged", "alias"}
"""Members of a profile that no record has, and those of controls that only workers write."""
LIMITS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
IN_WORDS = {"policy": "the template policy", "topic_prefix": "none"}
SECURED = re.compile(r"security_|sasl_|tls_")
OUTPUT_TYPES: dict[str, type[msgspec.Struct]] = {
    SCORES: outputs.ScoreMessage,
    CHANGES: outputs.ScoreChange,
    ALERTS: outputs.Alert,
    SHADOW: outputs.ShadowMessage,
    ROLLUPS: outputs.RollupMessage,
    SCORE_ROWS.name: outputs.ScoreRow,
    PEERS: PeersMessage,
}


def table(head: Row, rows: Iterator[Row], written: Callable[[str], str] | None) -> str:
    """A Markdown table; `written` gives the hand-written last cell of a row by its first cell."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in rows:
        cells = [*row, written(row[0])] if written else row
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def cells_by_key(block: str) -> dict[str, str]:
    """The last cell of each row of a page's table, by the row's first cell."""
    rows = [re.split(r"(?<!\\)\|", line.strip())[1:-1] for line in block.splitlines() if line.startswith("| ")]
    return {row[0].strip(): row[-1].strip() for row in rows if row}


def value_text(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Which values a setting takes: its type and limits."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = [
            constraint
            for extra in arguments[1:]
            for constraint in (extra.metadata if isinstance(extra, FieldInfo) else [extra])
        ]
        return value_text(arguments[0], [*inner, *metadata])
    if origin in {Union, types.UnionType}:
        return " or ".join(value_text(kind, metadata) for kind in arguments if kind is not type(None))
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        return "list"
    kinds = {bool: "`true` or `false`", int: "integer", float: "number", str: "text", Path: "file", SecretStr: "secret"}
    kinds[date] = "date"
    return ", ".join([kinds[annotation], *limits(metadata)])


def limits(metadata: Sequence[Any]) -> Iterator[str]:
    """The limits in a field's metadata, as text."""
    for extra in metadata:
        for name, sign in LIMITS.items():
            if hasattr(extra, name):
                limit = getattr(extra, name)
                yield f"{sign} {limit}" if isinstance(limit, date) else f"{sign} {limit:,}"
        if pattern := getattr(extra, "pattern", None):
            yield PATTERNS.get(pattern, "see Meaning")


def setting_group(name: str) -> str:
    """The table of the settings page that a setting is in."""
    if name in SinkSettings.model_fields:
        return "settings-sinks"
    if name.startswith(("redis_", "board_", "registry_")):
        return f"settings-{name.partition('_')[0]}"
    return "settings-security" if SECURED.match(name) else "settings-worker"


def setting_rows(group: str) -> Iterator[Row]:
    """Name, default and values of each setting of a group."""
    for name, field in Settings.model_fields.items():
        if setting_group(name) != group:
            continue
        default = "none" if field.default is None else f"`{field.default}`"
        if isinstance(field.default, bool):
            default = default.lower()
        yield f"`VITALS_{name.upper()}`", IN_WORDS.get(name, default), value_text(field.annotation, field.metadata)


def metric_rows(registry: CollectorRegistry) -> Iterator[Row]:
    """Name, type, labels and help of each metric of a registry."""
    for collector in registry._collector_to_names:
        for family in collector.collect():
            name = family.name + ("_total" if family.type == "counter" else "")
            named = getattr(family, "_labelnames", None) or getattr(collector, "_labelnames", None) or ()
            labels = ", ".join(f"`{label}`" for label in named) or "none"
            yield f"`{name}`", family.type, labels, family.documentation


def topics() -> Iterator[Topic]:
    """Every topic; the dead letters of all inputs, which are alike, as one."""
    letters: set[Topic] = set()
    for topic in all_topics("<group>", BUILT_IN):
        if topic.name.removesuffix(DLQ_SUFFIX) in BUILT_IN.of_topics and topic.name.endswith(DLQ_SUFFIX):
            letters.add(topic._replace(name=f"<input>{DLQ_SUFFIX}"))
        else:
            yield topic
    (same,) = letters
    yield from (same, SCORE_ROWS, MAPPER_DLQ, DLQ_PROGRESS)


def topic_rows() -> Iterator[Row]:
    """Name, role and key of each topic."""
    for topic in topics():
        yield f"`{topic.name}`", topic.role, topic.key


def topic_setting_rows() -> Iterator[Row]:
    """Name, partitions, cleanup, largest record and whose clock stamps the records of each topic."""
    for topic in topics():
        partitions = "exactly N" if topic.role in {"input", "internal"} else "at least N"
        if topic == DLQ_PROGRESS:
            partitions = "1"
        retention = "" if topic.cleanup == "compact" else f"{topic.retention_ms // DAY_MS} days"
        stamp = "LogAppendTime" if topic.stamped_by_broker else "broker default"
        size = f"{topic.max_message_bytes:,}"
        yield f"`{topic.name}`", partitions, topic.cleanup, retention or "unlimited", size, stamp


def field_rows(kinds: dict[str, type[msgspec.Struct]]) -> Iterator[Row]:
    """Each topic's record fields by whether a record always has them."""
    for topic, kind in kinds.items():
        fields = [field for field in msgspec.structs.fields(kind) if field.name not in MERGED]
        required = ", ".join(f"`{field.encode_name}`" for field in fields if field.required)
        optional = ", ".join(f"`{field.encode_name}`" for field in fields if not field.required)
        yield f"`{topic}`", required, optional or "none"


def right_rows() -> Iterator[Row]:
    """Command, kind of resource, names, operation, and what does not work without it, of each role."""
    for role in ROLES.values():
        alike: dict[Right, list[str]] = {}
        for right in role.rights:
            alike.setdefault(right._replace(name=""), []).append(f"`{right.name}`")
        for right, names in alike.items():
            yield (
                f"`{role.command}`",
                right.kind,
                ", ".join(names),
                right.operation,
                right.without or "it does not start",
            )


def command_text() -> str:
    """Every command with its usage, arguments and options, as Markdown."""
    root = typer.main.get_command(app)
    return "\n".join(_command(root, "vitals"))


def _command(command: Any, path: str) -> Iterator[str]:
    children = getattr(command, "commands", None)
    if children is not None:
        yield f"{path.count(' ') * '#' or '#'}# {path}\n\n{command.help}\n" if " " in path else ""
        for name, child in sorted(children.items()):
            yield from _command(child, f"{path} {name}")
        return
    yield f"## {path}\n\n{command.help}\n"
    rows = [_parameter(parameter) for parameter in command.params if parameter.name != "help"]
    yield table(("Argument or option", "Default", "Description"), iter(rows), None)


def _parameter(parameter: Any) -> Row:
    is_option = parameter.param_type_name == "option"  # Typer may carry a Click of its own
    names = [*parameter.opts, *parameter.secondary_opts] if is_option else [(parameter.name or "").upper()]
    text = ", ".join(f"`{name}`" for name in names)
    if parameter.multiple or parameter.nargs == -1:
        text += " (repeatable)"
    default = parameter.default
    is_flag = isinstance(default, bool)
    if parameter.required:
        shown = "required"
    elif is_flag:
        shown = "on" if default else "off"
    else:
        shown = "none" if default is None or callable(default) else f"`{default}`"
    return text, shown, str(getattr(parameter, "help", "")).replace("|", "\\|")


def path_rows() -> Iterator[Row]:
    """Path, method and parameters of everything in the board's OpenAPI document."""
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            names = [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"]
            yield f"`{method.upper()} {path}`", ", ".join(f"`{name}`" for name in names) or "none"


def generated(name: str, block: str) -> str:
    """The text that belongs into a block of a page; raises `KeyError` for a block that is not known."""
    cells = cells_by_key(block)

    def written(key: str) -> str:
        return cells.get(key, "")

    setting = ("Setting", "Default", "Values", "Meaning")
    metric = ("Metric", "Type", "Labels", "Help", "What to look for")
    topic = ("Topic", "Role", "Key", "Value")
    topic_setting = ("Topic", "Partitions", "Cleanup", "Retention", "Largest record, bytes", "Timestamps")
    fields = ("Topic", "Always there", "May be missing")
    registries = {
        "metrics-worker": lambda: Telemetry(BUILT_IN).registry,
        "metrics-sinks": lambda: SinkTelemetry("webhook").registry,
        "metrics-redis": lambda: RedisTelemetry().registry,
        "metrics-derived": lambda: DerivedTelemetry("rollup").registry,
        "metrics-mapper": lambda: MapperTelemetry().registry,
        "metrics-board": lambda: BoardMetrics(Board(), {}).registry,
    }
    if name.startswith("settings-"):
        return table(setting, setting_rows(name), written)
    if name in registries:
        return table(metric, metric_rows(registries[name]()), written)
    makers: dict[str, Callable[[], str]] = {
        "topics": lambda: table(topic, topic_rows(), written),
        "topic-settings": lambda: table(topic_setting, topic_setting_rows(), None),
        "input-fields": lambda: table(
            fields, field_rows({source.topic: source.event_type for source in BUILT_IN}), None
        ),
        "output-fields": lambda: table(fields, field_rows(OUTPUT_TYPES), None),
        "schema-rules": lambda: table(("Change", "Of an input", "Of an output", "Why"), rule_rows(), None),
        "commands": command_text,
        "python": python_text,
        "rights": lambda: table(("Role", "Resource", "Names", "Operation", "Without it"), right_rows(), None),
        "http-api": lambda: table(("Path", "Query parameters", "Returns"), path_rows(), written),
    }
    return makers[name]()


def with_tables(text: str) -> str:
    """A page with its generated blocks brought up to date."""
    return BLOCK.sub(lambda match: match[1] + generated(match[2], match[3]) + match[4], text)


def block_names(text: str) -> list[str]:
    """The names of the generated blocks of a page, in order."""
    return [match[2] for match in BLOCK.finditer(text)]


def rule_rows() -> Iterator[Row]:
    """Each change of records, whether it is allowed in inputs and outputs, and why."""
    for kind, rule in RULES.items():
        allowed = ("yes" if role in rule.allowed else "no" for role in ("input", "output"))
        yield kind, *allowed, rule.why


def schema_files() -> dict[str, str]:
    """The files of docs/reference/schemas by name."""
    partitions = Settings.model_fields["partitions"].default
    return {
        name: text_of(content)
        for form in FORMS
        for name, content in files(form, BUILT_IN, package_version(), partitions).items()
    }


def write_schemas() -> None:
    """Write docs/reference/schemas, and remove what is no schema any more."""
    SCHEMAS.mkdir(exist_ok=True)
    texts = schema_files()
    for file in SCHEMAS.iterdir():
        if file.name not in texts:
            file.unlink()
    for name, text in texts.items():
        (SCHEMAS / name).write_text(text, encoding="utf-8")


def main() -> None:
    """Write every page of docs/reference that has generated blocks, and the copy of the schemas."""
    write_schemas()
    for page in sorted(PAGES.glob("*.md")):
        before = page.read_text(encoding="utf-8")
        after = with_tables(before)
        if after != before:
            page.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()

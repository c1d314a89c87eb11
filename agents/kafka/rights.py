"""The rights that each role needs on a broker with an authorizer, as data: one table for programs, checks and pages.

Owns which operation each role makes on which topic, consumer group and transactional id. `READ`, `WRITE` and `ALTER`
include `DESCRIBE`, as in Kafka. Compared with a broker by `agents.kafka.rights_check`; docs/how-to/secure.md has the
table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from schemas.events import CONTROL_SOURCE, PROFILE_SOURCE
from schemas.sources import BUILT_IN, DLQ_SUFFIX, Sources
from schemas.topics import (
    ALERTS,
    CHANGES,
    DLQ_PROGRESS,
    MAPPER_DLQ,
    PEERS,
    REPARTITION,
    ROLLUPS,
    SCORE_ROWS,
    SCORES,
    SHADOW,
    WEBHOOK_DLQ,
    all_topics,
    changelog,
)

GROUP = "<group>"
"""Stands for the setting `group`."""
Kind = Literal["topic", "group", "transactional id"]


class Right(NamedTuple):
    """An operation on a resource. A `name` that ends in `*` is a prefix.

    `without`: what does not work without it, with subcommands in backticks; empty if the role cannot start.
    """

    kind: Kind
    name: str
    operation: str
    without: str = ""

    def of_group(self, group: str) -> Right:
        """The right of a group with this name."""
        return self._replace(name=self.name.replace(GROUP, group))

    def __str__(self) -> str:
        """Show `READ on topic health.alerts`."""
        return f"{self.operation} on {self.kind} {self.name}"


class Role(NamedTuple):
    """What a process or command does."""

    command: str
    rights: tuple[Right, ...]


_INPUTS = tuple(source.topic for source in BUILT_IN)
_PROGRESS = DLQ_PROGRESS.name
_LETTERS = tuple(name + DLQ_SUFFIX for name in _INPUTS)
_ALL = tuple(topic.name for topic in all_topics(GROUP, BUILT_IN))
_CHANGELOG = changelog(GROUP).name


def _topics(operation: str, *names: str, without: str = "") -> Iterator[Right]:
    return (Right("topic", name, operation, without) for name in names)


def _sink(name: str, *more: Right, command: str = "") -> Role:
    group = Right("group", f"{GROUP}-sink-{name}", "READ")
    return Role(f"vitals sink {command or name}", (*_topics("READ", ALERTS), group, *more))


_OF_MAPPER = Right("topic", MAPPER_DLQ.name, "READ", "no dead letters of `vitals mapper`")
_WORKER = (
    *_topics("READ", *_INPUTS, REPARTITION, PEERS, _CHANGELOG, CHANGES, ALERTS),
    *_topics("WRITE", _CHANGELOG, REPARTITION, SCORES, CHANGES, ALERTS, SHADOW, *_LETTERS),
    *_topics("DESCRIBE", ROLLUPS, WEBHOOK_DLQ),
    *_topics("DESCRIBE_CONFIGS", *_ALL, without="the settings of the topic are not checked"),
    Right("group", GROUP, "READ"),
    Right("transactional id", f"{GROUP}-*", "WRITE"),
)
_TOPICS = (*_topics("CREATE", *_ALL), *_topics("DESCRIBE", *_ALL), *_topics("DESCRIBE_CONFIGS", *_ALL))
_BOARD = (
    *_topics("READ", SCORES, PROFILE_SOURCE, ALERTS, CHANGES),
    *_topics("READ", SHADOW, without="no comparison with the shadow policy"),
    *_topics("READ", ROLLUPS, without="no parent accounts"),
    *_topics("READ", *(name for name in _INPUTS if name != PROFILE_SOURCE), without="no events in time lines"),
    *_topics("DESCRIBE", REPARTITION, without="no lag of forwarded events"),
    *_topics("READ", *_LETTERS, WEBHOOK_DLQ, _PROGRESS, without="no dead letters"),
    _OF_MAPPER,
    *_topics("WRITE", _PROGRESS, without="dead letters cannot be replayed or discarded"),
    *_topics("CREATE", _PROGRESS, without="you have to create the topic"),
    *_topics("WRITE", CONTROL_SOURCE, without="no acknowledgements and snoozes, no replay of controls"),
    *_topics("WRITE", *(name for name in _INPUTS if name != CONTROL_SOURCE), without="dead letters cannot be replayed"),
    Right("group", GROUP, "DESCRIBE", "no lag of the workers"),
)


_OWN = tuple(topic.name for topic in all_topics(GROUP, BUILT_IN) if topic.role != "input")
_ALL_BUT_EXPORT = "no `import`, `rebuild`, `repartition` and `quarantine`"
_STATE = (
    *_topics("READ", *_INPUTS, REPARTITION, PEERS, _CHANGELOG, CHANGES, ALERTS),
    *_topics("READ", SCORES, without=_ALL_BUT_EXPORT),
    *_topics("WRITE", _CHANGELOG, without=_ALL_BUT_EXPORT),
    *_topics(
        "WRITE", SCORES, CHANGES, ALERTS, without="no `quarantine` and `repartition`, no import into more partitions"
    ),
    *_topics("ALTER", *_OWN, without="no `repartition`"),
    Right("group", GROUP, "READ"),
)
_DLQ = (
    *_topics("READ", *_LETTERS, WEBHOOK_DLQ, _PROGRESS),
    _OF_MAPPER,
    *_topics("WRITE", _PROGRESS, without="no `replay` and `discard`"),
    *_topics("CREATE", _PROGRESS, without="you have to create the topic"),
    *_topics("WRITE", *_INPUTS, without="no `replay`"),
)
_MAPPER = (
    *_topics("WRITE", *_INPUTS, MAPPER_DLQ.name),
    *_topics("CREATE", MAPPER_DLQ.name, without="you have to create the topic"),
    Right("group", f"{GROUP}-mapper", "READ"),
)
_ROWS = (
    *_topics("READ", CHANGES),
    *_topics("WRITE", SCORE_ROWS.name),
    *_topics("CREATE", SCORE_ROWS.name, without="you have to create the topic"),
    Right("group", f"{GROUP}-rows", "READ"),
)
_IMPORT = (
    *_topics("WRITE", *_INPUTS),
    *_topics("DESCRIBE_CONFIGS", *_INPUTS, without="no warning of events that are older than the topic keeps"),
)
_STATUS = (
    *_topics("READ", *_LETTERS, WEBHOOK_DLQ, _PROGRESS),
    _OF_MAPPER,
    *_topics("DESCRIBE", *(name for name in _ALL if not name.endswith(DLQ_SUFFIX))),
    Right("group", GROUP, "DESCRIBE"),
)
_DEMO_GROUP = "vitals-demo-"
"""Each run has a group of its own, with a name that begins so."""


def _demo() -> tuple[Right, ...]:
    """A worker and a board, which share topics with no other group but the inputs and outputs, and events."""
    rights = (right.of_group(_DEMO_GROUP) for right in (*_TOPICS, *_WORKER, *_BOARD, *_topics("WRITE", *_INPUTS)))
    named = (
        right._replace(name=f"{_DEMO_GROUP}*" if right.name.startswith(_DEMO_GROUP) else right.name, without="")
        for right in rights
    )
    return tuple(dict.fromkeys(named))


ROLES: Mapping[str, Role] = MappingProxyType(
    {
        "worker": Role("vitals worker", _WORKER),
        "topics": Role("vitals topics --create", _TOPICS),
        "board": Role("vitals board", _BOARD),
        "rollup": Role("vitals rollup", (*_topics("READ", SCORES, ROLLUPS), *_topics("WRITE", ROLLUPS))),
        "peers": Role("vitals peers", (*_topics("READ", SCORES, PEERS), *_topics("WRITE", PEERS))),
        "rows": Role("vitals rows", _ROWS),
        "mapper": Role("vitals mapper TOPIC", _MAPPER),
        "import": Role("vitals import FILES", _IMPORT),
        "explain": Role("vitals explain ACCOUNT", tuple(_topics("READ", SCORES))),
        "shadow": Role("vitals shadow", tuple(_topics("READ", SCORES, SHADOW, ALERTS))),
        "alertmanager": _sink("alertmanager"),
        "webhook": _sink("webhook", *_topics("WRITE", WEBHOOK_DLQ)),
        "notify": _sink("notify"),
        "plugin": _sink("plugin-*", command="plugin NAME"),
        "redis": Role("vitals sink redis", tuple(_topics("READ", SCORES))),
        "dlq": Role("vitals dlq", _DLQ),
        "status": Role("vitals status", _STATUS),
        "state": Role("vitals state", _STATE),
        "demo": Role("vitals demo --broker URL", _demo()),
    }
)
"""Every role by the name that `vitals check --role` takes."""


_LIKE = BUILT_IN["engagement"].topic
"""A topic of events: every other one needs the same rights."""


def rights_of(role: str, group: str, sources: Sources = BUILT_IN) -> tuple[Right, ...]:
    """The rights of a role for a consumer group; on topics of sources of a policy those on topics of events."""
    more = [source.topic for source in sources if source.name not in BUILT_IN]
    topics = {name: sources[name].topic for name in _INPUTS}
    topics |= {name + DLQ_SUFFIX: sources.letters_of(topic) for name, topic in topics.items()}
    rights = []
    for right in ROLES[role].rights:
        name = topics.get(right.name, sources.own(right.name)) if right.kind == "topic" else right.name
        rights.append(right._replace(name=name).of_group(group))
        if right.kind == "topic" and right.name in {_LIKE, _LIKE + DLQ_SUFFIX}:
            is_input = right.name == _LIKE
            rights += [right._replace(name=topic if is_input else sources.letters_of(topic)) for topic in more]
    return tuple(rights)

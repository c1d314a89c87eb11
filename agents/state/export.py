"""Exports the saved state of a group to a file: `vitals state export`.

Owns what an export has and when it is complete. Workers may run: then the file has the state of a moment, as a crash
would leave it. Called by `agents.cli.state` and `agents.state.repartition`.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from agents.process.progress import Progress
from agents.process.version import package_version
from agents.settings.settings import Settings
from agents.state.cluster import Cluster, changelog_of
from agents.state.saved import not_final, read_saved
from agents.state.state_file import FORMAT, Header, PartitionLine, writing
from stream.recovery.repartition import accounts_of, state_of


class Exported(msgspec.Struct):
    """What was exported. `not_final` says why the state can only be imported where it was, if that is so."""

    file: str
    partitions: int
    records: int
    accounts: int
    policies: list[str]
    not_final: list[str]


def export_state(cluster: Cluster, settings: Settings, path: Path, progress: Progress, *, dry_run: bool) -> Exported:
    """Write the state of all partitions to a file, which must not exist. Raises `BrokerError`, OSError."""
    changelog = changelog_of(cluster, settings)
    count, committed = cluster.partitions(changelog), cluster.committed()
    header = Header(FORMAT, package_version(), settings.group, changelog, count, cluster.topic_ids())
    exported = Exported(str(path), count, 0, 0, [], [])
    policies: set[str] = set()
    with writing(path, dry_run=dry_run) as writer:
        writer.header(header)
        for number in range(count):
            saved = read_saved(cluster, changelog, number, progress)
            reason = not_final(cluster, number, saved.records, committed) if saved.records else None
            policy, accounts = state_of(saved.records).get("policy", ""), len(accounts_of(saved.records))
            writer.partition(
                PartitionLine(number, saved.end, policy, len(saved.records), accounts, reason), saved.records
            )
            policies.add(policy)
            exported.not_final += [reason] if reason else []
        exported.records, exported.accounts = writer.records, writer.accounts
    exported.policies = sorted(policies - {""})
    return exported

"""Read policies with the statistics and normalisers that are installed.

Owns which entry points a policy can name. What a policy means is `stream.policy`'s. Called by the commands,
`agents.backtest` and `account_vitals.policies`.
"""

from __future__ import annotations

from pathlib import Path

from agents.process.plugins import NORMALISERS, STATISTICS, PluginError, plugin_names, plugin_of_package
from stream.policy.own.extension import ExtensionError, Group, Loaded
from stream.policy.policy import Policy, parse_policy

_GROUPS: dict[Group, str] = {"statistic": STATISTICS, "normaliser": NORMALISERS}


class Installed:
    """The statistics and normalisers of the packages that are installed."""

    def names(self, group: Group) -> tuple[str, ...]:
        """The names of all of a kind, sorted."""
        return plugin_names(_GROUPS[group])

    def load(self, group: Group, name: str) -> Loaded:
        """One of them. Raises ExtensionError."""
        try:
            plugin = plugin_of_package(_GROUPS[group], name)
        except PluginError as error:
            raise ExtensionError(str(error)) from error
        if not callable(plugin.value):
            raise ExtensionError(f"{group} {name!r} of {plugin.package} is no class: {plugin.value!r}")
        return Loaded(plugin.package, plugin.version, plugin.value)


def policy_in(path: Path) -> Policy:
    """The policy in a file. Raises PolicyError with every mistake, OSError and UnicodeDecodeError."""
    return installed_policy(path.read_text(encoding="utf-8"), str(path))


def installed_policy(text: str, file: str) -> Policy:
    """The policy in a text that messages call `file`. Raises PolicyError with every mistake in it."""
    return parse_policy(text, file, Installed())

"""Formats and alert sinks of other packages are used through entry points, and keep their contracts."""

from __future__ import annotations

import gzip
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import account_vitals as av
from account_vitals import testing
from agents.files.formats import FormatError, expanded, records_of, stem_of
from agents.process.plugins import FORMATS, SINKS, PluginError, plugin, plugin_names
from agents.settings.settings import SettingsError, load_settings
from agents.sinks.metrics import SinkTelemetry
from agents.sinks.plugin import PluginSink
from agents.sinks.run import plugin_builder
from stream.consumers.notifications import Notification
from tests.unit.account_vitals.extension import install
from tests.unit.agents.cli.invoke import vitals

TEMPLATE = Path(__file__).parents[3] / "deploy" / "policies" / "template.toml"
CONTENT = "1|acme|2026-03-02T09:00:00Z\n2|bolt|2026-03-03T09:00:00Z\n"
ROWS = [
    {"id": "1", "account_id": "acme", "time": "2026-03-02T09:00:00Z", "kind": "webinar", "note": None},
    {"id": "2", "account_id": "bolt", "time": "2026-03-03T09:00:00Z", "kind": "webinar", "note": None},
]


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of `sys.path` in which a package with extensions is installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    sinks = {"pager": "Pager", "none": "NoSink", "broken": "broken", "absent": "nothing"}
    install(folder, "other-package", {FORMATS: {"rows": "read"}, SINKS: sinks})
    monkeypatch.syspath_prepend(str(folder))
    for module in ("other_package", "third_package"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return folder


@pytest.mark.usefixtures("packages")
def test_files_of_an_added_format_are_read_alone_in_folders_and_compressed(tmp_path: Path) -> None:
    file = tmp_path / "engagement.rows"
    file.write_text(CONTENT, "utf-8")
    assert "rows" in plugin_names(FORMATS)
    assert stem_of(file) == "engagement"
    assert file in expanded([tmp_path])
    without_nothing = [{name: value for name, value in row.items() if value is not None} for row in ROWS]
    assert [record.value for record in records_of(file)] == without_nothing
    compressed = tmp_path / "zipped" / "engagement.rows.gz"
    compressed.parent.mkdir()
    compressed.write_bytes(gzip.compress(CONTENT.encode()))
    assert stem_of(compressed) == "engagement"
    assert len(list(records_of(compressed))) == 2
    answer = av.score(file, TEMPLATE)
    assert answer["account_id"].to_pylist() == ["acme", "bolt"]
    assert vitals("score", file, "--policy", TEMPLATE).stdout.count("\n") == 2


@pytest.mark.usefixtures("packages")
def test_a_record_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "engagement.rows"
    file.write_text(CONTENT + "3|damaged\n", "utf-8")
    with pytest.raises(FormatError, match="reading rows ends here: not enough values") as raised:
        list(records_of(file))
    assert raised.value.number == 3
    done = vitals("score", file, "--policy", TEMPLATE)
    assert done.exit_code == 1
    assert f"{file}:3: unreadable_file" in done.stderr


def test_an_extension_of_two_packages_is_refused_with_their_names(packages: Path) -> None:
    install(packages, "third-package", {FORMATS: {"rows": "read"}})
    with pytest.raises(PluginError, match="other-package and third-package: uninstall all but one"):
        plugin(FORMATS, "rows")


@pytest.mark.usefixtures("packages")
def test_an_extension_that_does_not_exist_lists_those_that_do() -> None:
    with pytest.raises(PluginError, match=r"no installed package has 'x' .*installed: absent, broken, none, pager"):
        plugin(SINKS, "x")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("nothing", "no installed package has 'nothing'"),
        ("absent", "cannot be loaded: AttributeError"),
        ("none", "NoSink has no method deliver"),
        ("broken", "no pager is configured"),
    ],
)
@pytest.mark.usefixtures("packages")
def test_a_sink_that_cannot_be_used_ends_the_command_with_what_is_wrong(name: str, shown: str) -> None:
    with pytest.raises(SettingsError) as raised:
        plugin_builder(name)(load_settings(), SinkTelemetry(name))
    assert shown in str(raised.value)
    done = vitals("sink", "plugin", name)
    assert done.exit_code == 2
    assert shown in done.stderr


class Moody:
    """An alert sink that takes, refuses or fails on an alert as the name of its rule says."""

    def __init__(self) -> None:
        self.delivered: list[str] = []
        self.failures = 1

    def deliver(self, kind: str, alert: av.Alert) -> None:
        if alert.rule == "refused":
            raise testing.RejectedAlertError("not for us")
        if self.failures:
            self.failures -= 1
            raise ConnectionError("try again")
        self.delivered.append(f"{kind} {alert.id}")


def alert(identity: str, account: str, rule: str = "low") -> av.Alert:
    return av.Alert(identity, "p" + identity, account, rule, "critical", "firing", 1, None, None, "s", {}, {})


def finished(sink: PluginSink, count: int) -> list[Any]:
    records: list[Any] = []
    deadline = time.monotonic() + 60
    while len(records) < count and time.monotonic() < deadline:
        records += sink.step()
        time.sleep(0.01)
    return records


def test_alerts_are_retried_in_order_and_refused_ones_are_counted() -> None:
    moody, telemetry = Moody(), SinkTelemetry("plugin-moody")
    sink = PluginSink("moody", moody, telemetry, give_up_s=60, longest_pause_s=0.01)
    alerts = [alert("1", "a"), alert("2", "a"), alert("3", "b", "refused")]
    for offset, each in enumerate(alerts):
        assert sink.offer(Notification("firing", each, each, quiet=False), SimpleNamespace(offset=offset))
    replaced = Notification("resolved", alerts[0], alerts[0], quiet=False, replaced=True)
    assert not sink.offer(replaced, SimpleNamespace(offset=9))
    assert sorted(record.offset for record in finished(sink, 3)) == [0, 1, 2]
    assert sink.stop() == []
    assert moody.delivered == ["firing 1", "firing 2"]
    assert telemetry.dead_letters._value.get() == 1
    assert telemetry.failed._value.get() == 1


def test_an_alert_that_keeps_failing_is_given_up_and_counted() -> None:
    moody, telemetry = Moody(), SinkTelemetry("plugin-moody")
    moody.failures = 1_000_000
    sink = PluginSink("moody", moody, telemetry, give_up_s=0, longest_pause_s=0.01)
    sink.offer(Notification("firing", alert("1", "a"), alert("1", "a"), quiet=False), "record")
    assert finished(sink, 1) == ["record"]
    assert telemetry.dead_letters._value.get() == 1


# -- the contract tests -----------------------------------------------------------------------------------------------


def test_extensions_that_keep_the_contract_pass(packages: Path) -> None:
    testing.check_format("rows", testing.check_installed("format", "rows"), CONTENT.encode(), ROWS)
    testing.check_alert_sink(testing.check_installed("alert sink", "pager"))
    delivered = [json.loads(line) for line in (packages / "delivered.jsonl").read_text("utf-8").splitlines()]
    assert {kind for kind, _ in delivered} == {"firing", "reminded", "acknowledged", "snoozed", "resolved"}


def twice(content: bytes) -> Any:
    if content in twice.seen:  # type: ignore[attr-defined]
        return iter(())
    twice.seen.append(content)  # type: ignore[attr-defined]
    return iter(ROWS)


twice.seen = []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("ending", "read", "shown"),
    [
        (".rows", lambda _: ROWS, "without a dot"),
        ("csv", lambda _: ROWS, "reads it itself"),
        ("rows", lambda _: ROWS[:1], "the first reading gives"),
        ("rows", twice, "the second reading gives"),
        ("rows", lambda _: [b"[1]"], "no JSON object"),
        ("rows", lambda _: [7], "neither a dict nor JSON"),
        ("rows", lambda _: [{7: 1}], "no text"),
        ("rows", lambda content: ROWS if content == b"x" else {0: ROWS}[1], "raise ValueError"),
    ],
)
def test_a_format_that_breaks_the_contract_is_caught(ending: str, read: Any, shown: str) -> None:
    with pytest.raises(AssertionError, match=shown):
        testing.check_format(ending, read, b"x", ROWS)


class Returns:
    def deliver(self, _kind: str, _alert: av.Alert) -> bool:
        return False


class Changes:
    def deliver(self, _kind: str, alert: av.Alert) -> None:
        alert.labels["seen"] = "yes"


@pytest.mark.parametrize(("make", "shown"), [(Returns, "deliver returns False"), (Changes, "changes the alert f1")])
def test_a_sink_that_breaks_the_contract_is_caught(make: Any, shown: str) -> None:
    with pytest.raises(AssertionError, match=shown):
        testing.check_alert_sink(make)


def test_an_unknown_kind_of_extension_is_refused() -> None:
    with pytest.raises(AssertionError, match="none of format, alert sink"):
        testing.check_installed("measure", "x")

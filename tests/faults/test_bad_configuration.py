"""Row 20: settings and policies that can't be used end the worker before it has touched anything."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.deployment import Deployment
from tests.faults.events import TEMPLATE
from tests.faults.worker_process import ROOT, WORKER, clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from _pytest.mark.structures import ParameterSet

    from tests.broker.kafka_server import KafkaServer

pytestmark = pytest.mark.broker

SETTINGS: list[tuple[dict[str, str], list[str]]] = [
    ({"partitions": "0"}, ["partitions", "greater than or equal to 1"]),
    ({"partitions": "many"}, ["partitions", "integer"]),
    ({"commit_interval_s": "0"}, ["commit_interval_s", "greater than 0"]),
    ({"session_timeout_s": "1"}, ["session_timeout_s"]),
    ({"time": "now"}, ["time", "'live'", "'event'"]),
    ({"catch_up": "fast"}, ["catch_up", "'conflate'", "'exact'"]),
    ({"group": "with space"}, ["group"]),
    ({"broker": "localhost"}, ["broker", "kafka://HOST:PORT"]),
    ({"web_port": "70000"}, ["web_port"]),
    ({"dedup": "perhaps"}, ["dedup"]),
    ({"security_protocol": "SASL_SSL"}, ["sasl_username", "sasl_password"]),
    ({"policy": "/nowhere/policy.toml"}, ["/nowhere/policy.toml"]),
]
POLICIES: list[tuple[str, str, list[str]]] = [
    ("weight = 30", "weight = -30", ["measures.product_usage.weight"]),
    ("weight = 30", 'weight = "much"', ["measures.product_usage.weight"]),
    ("weight = 30", "wieght = 30", ["wieght", "weight"]),
    ('stat = "mean"', 'stat = "median"', ["stat", "median"]),
    ('window = "28d"', 'window = "30 days"', ["window", "30 days"]),
    ('window = "182d"', 'window = "999d"', ["window", "365"]),
    ('source = "surveys"', 'source = "polls"', ["source", "polls"]),
    ("from = 70", "from = 170", ["bands"]),
    ('alert = "warning"', 'alert = "loud"', ["alert", "loud"]),
    ("min_change = 1.0", "min_change = much", ["TOML"]),
]
SETTINGS_FILES: list[tuple[str, list[str]]] = [
    ("partition = 4\n", ["partition"]),
    ('partitions = 4\ncommit_interval_s = "soon"\n', ["commit_interval_s"]),
    ("partitions = \n", []),
]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    with Deployment(tmp_path_factory.mktemp("bad"), topics=False) as deployment:
        yield deployment.kafka


def few(cases: Sequence[tuple[Any, ...]]) -> list[ParameterSet]:
    """The cases as parameters: three for CI, where unit tests have every message, and all for the long suite."""
    return [pytest.param(*case, marks=pytest.mark.faults if number >= 3 else ()) for number, case in enumerate(cases)]


def run(kafka: KafkaServer, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a worker that should end by itself, and see that it left the broker alone."""
    done = subprocess.run(
        [sys.executable, *WORKER],
        env=clean_environment({"broker": kafka.url, "web_port": 0, **settings}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    with kafka.admin() as admin:
        created = [topic for topic in admin.list_topics() if not topic.startswith("__")]
        groups = admin.list_groups()
    assert not created
    assert not [group for group in groups if "account-vitals" in str(group)]
    return done


@pytest.mark.parametrize(("settings", "words"), few(SETTINGS))
def test_a_bad_setting_is_named(
    kafka: KafkaServer, fault: Callable, settings: dict[str, str], words: list[str]
) -> None:
    done = run(kafka, **settings)
    assert done.returncode == 2, done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr
    fault(f"20 bad setting {' '.join(settings)}", {"status": done.returncode})


@pytest.mark.parametrize(("text", "words"), SETTINGS_FILES)
def test_a_bad_settings_file_is_named(
    kafka: KafkaServer, tmp_path: Path, fault: Callable, text: str, words: list[str]
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text, "utf-8")
    done = run(kafka, settings=file)
    assert done.returncode == 2, done.stderr
    assert all(word in done.stderr for word in (str(file), *words)), done.stderr
    assert "Traceback" not in done.stderr
    fault("20 bad settings file", {"status": done.returncode})


@pytest.mark.parametrize(("right", "wrong", "words"), few(POLICIES))
def test_a_bad_policy_is_named_with_file_line_and_field(
    kafka: KafkaServer, tmp_path: Path, fault: Callable, *, right: str, wrong: str, words: list[str]
) -> None:
    assert right in TEMPLATE
    text = TEMPLATE.replace(right, wrong, 1)
    file = tmp_path / "policy.toml"
    file.write_text(text, "utf-8")
    done = run(kafka, policy=file)
    assert done.returncode == 2, done.stderr
    line = next(number for number, text_line in enumerate(text.splitlines(), 1) if wrong in text_line)
    assert str(file) in done.stderr
    assert str(line) in done.stderr, done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr
    fault(f"20 bad policy: {wrong}", {"status": done.returncode, "line": line})

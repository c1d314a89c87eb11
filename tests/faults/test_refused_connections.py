"""Row 28: wrong passwords, certificates, ports and protocols, and a password that changes while a worker runs.

Against a real Kafka with TLS, client certificates and SASL; the commands and the worker are real processes.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion

from agents.kafka.client import BrokerError
from agents.kafka.topics import describe_topics
from agents.settings.settings import load_settings
from schemas.sources import BUILT_IN
from tests.broker.kafka_server import KafkaServer, free_port
from tests.broker.secured import SECRET, USER, Secured, secured_deployment, vitals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faults.conftest import Figures
    from tests.faults.worker_process import WorkerProcess

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured_deployment(tmp_path_factory.mktemp("secured")) as started:
        yield started


WRONG = "wrong-horse-1"
MISTAKES = {
    "wrong password, SCRAM": "refuses the credentials of user vitals with SCRAM-SHA-512",
    "wrong password, PLAIN": "refuses the credentials of user vitals with PLAIN",
    "unknown user": "refuses the credentials of user nobody",
    "mechanism": "sasl_mechanism SCRAM-SHA-256 is not enabled; the broker has",
    "another CA": "is not signed by a CA of tls_ca",
    "no client certificate": "wants a client certificate",
    "TLS to a port without": "the port has no TLS",
    "no TLS to a port with it": "the port has TLS: set security_protocol to SSL or SASL_SSL",
    "no SASL to a port with it": "it wants SASL; set security_protocol to SASL_SSL",
    "SASL to a port without": "the port has no SASL: set security_protocol to SSL",
    "closed port": "nothing listens on this port",
    "unknown name": "the name cannot be resolved",
}
"""What can be wrong with a connection, and its cause in words."""


def _mistaken(secured: Secured, mistake: str, folder: Path) -> dict[str, Any]:
    trustme.CA().cert_pem.write_to_path(str(folder / "other.pem"))
    sasl, tls, plain = secured.settings("SASL_SSL", "SCRAM-SHA-512"), secured.settings("SSL"), secured.deployment.kafka
    port, none = secured.ports["SSL"], {"tls_cert", "tls_key"}
    settings: dict[str, dict[str, Any]] = {
        "wrong password, SCRAM": {**sasl, "sasl_password": WRONG},
        "wrong password, PLAIN": {**sasl, "sasl_password": WRONG, "sasl_mechanism": "PLAIN"},
        "unknown user": {**sasl, "sasl_username": "nobody"},
        "mechanism": {**sasl, "sasl_mechanism": "SCRAM-SHA-256"},
        "another CA": {**tls, "tls_ca": folder / "other.pem"},
        "no client certificate": {name: value for name, value in tls.items() if name not in none},
        "TLS to a port without": {**tls, "broker": plain.url},
        "no TLS to a port with it": {"broker": tls["broker"]},
        "no SASL to a port with it": {**tls, "broker": sasl["broker"]},
        "SASL to a port without": {**sasl, "broker": f"kafka://127.0.0.1:{port}"},
        "closed port": {**sasl, "broker": f"kafka://127.0.0.1:{free_port()}"},
        "unknown name": {**sasl, "broker": "kafka://no-such-host.invalid:9092"},
    }
    return {**secured.deployment.settings, **settings[mistake]}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_named_in_a_line_within_ten_seconds(
    secured: Secured, tmp_path: Path, fault: Callable[[str, Figures], None], mistake: str
) -> None:
    settings = _mistaken(secured, mistake, tmp_path)
    loaded = load_settings(**settings)
    started_s = time.monotonic()
    with pytest.raises(BrokerError, match=re.escape(MISTAKES[mistake])):
        describe_topics(loaded, BUILT_IN)
    took_s = time.monotonic() - started_s
    assert took_s < 30
    fault(f"28 {mistake}", {"milliseconds": round(1000 * took_s)})
    done = vitals(settings, "check")
    assert done.returncode == 1
    (line,) = (line for line in done.stdout.splitlines() if "no Kafka broker" in line)
    assert MISTAKES[mistake] in line
    for output in (done.stdout, done.stderr):
        assert "Traceback" not in output
        assert WRONG not in output
        assert SECRET not in output


COMMANDS = (
    ["worker"],
    ["board"],
    ["sink", "redis", "--once"],
    *(
        pytest.param(command, marks=pytest.mark.faults)
        for command in (["topics"], ["explain", "acme"], ["rollup", "--once"], ["sink", "notify"], ["sink", "webhook"])
    ),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_process_names_a_wrong_password_and_ends(secured: Secured, tmp_path: Path, command: list[str]) -> None:
    ports = ("web", "board", "notify", "webhook", "redis_metrics")
    settings = {
        **_mistaken(secured, "wrong password, SCRAM", tmp_path),
        **{f"{name}_port": 0 for name in ports},
        "notify_urls": "json://hooks.example/x",
        "webhook_url": "https://hooks.example/x",
        "webhook_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }
    done = vitals(settings, *command, patience_s=60)
    assert done.returncode == 1
    assert MISTAKES["wrong password, SCRAM"] in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert WRONG not in done.stdout + done.stderr


@pytest.mark.faults
def test_a_worker_whose_password_changes_pauses_says_so_and_recovers(
    secured: Secured, fault: Callable[[str, Figures], None]
) -> None:
    deployment = secured.deployment
    worker = deployment.start("rotated", **secured.settings("SASL_SSL", "SCRAM-SHA-512"))
    deployment.until(worker.is_ready, "the worker is ready")
    _set_password(deployment.kafka, "another-horse-2")
    deployment.kafka.restart()
    deployment.until(lambda: "SaslAuthenticationFailed" in _readiness(worker), "/readyz names the cause")
    assert "refuses connections" in _readiness(worker)
    before, from_s = _attempts(worker), time.monotonic()
    deployment.until(lambda: time.monotonic() - from_s > 30, "half a minute has passed")
    attempts = _attempts(worker) - before
    # Each of a few clients at most every ten seconds; without pauses it is ten a second each.
    assert attempts < 40
    fault("28 password changed while a worker runs", {"attempts in 30 s": attempts})
    assert (worker.ask("/healthz") or (0, ""))[0] == 200
    _set_password(deployment.kafka, SECRET)
    deployment.until(worker.is_ready, "the worker is ready again")
    log = worker.log_text()
    assert deployment.stop(worker) == 0
    assert SECRET not in log
    assert "broker_accepts_again" in log


def _set_password(kafka: KafkaServer, secret: str) -> None:
    with kafka.admin() as admin:
        admin.alter_user_scram_credentials([UserScramCredentialUpsertion(USER, ScramMechanism.SCRAM_SHA_512, secret)])


def _readiness(worker: WorkerProcess) -> str:
    return (worker.ask("/readyz") or (0, ""))[1]


def _attempts(worker: WorkerProcess) -> int:
    """How often the worker has tried to connect in vain, by aiokafka's log."""
    return worker.log_text().count("Unable connect to")

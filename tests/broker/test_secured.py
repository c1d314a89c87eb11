"""A worker and the commands against a broker that asks who they are: TLS, client certificates, SASL."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from kafka.admin import KafkaAdminClient, ScramMechanism, UserScramCredentialUpsertion

from tests.broker.kafka_server import free_port
from tests.faults.deployment import Deployment
from tests.faults.events import company
from tests.faults.worker_process import ROOT, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.broker

USER, SECRET = "vitals", "correct-horse-7319"
_LOGIN = "org.apache.kafka.common.security"


@dataclass
class Secured:
    """A deployment whose broker has two more doors, and what is needed to come in."""

    deployment: Deployment
    ports: dict[str, int]
    files: dict[str, Path]

    def settings(self, protocol: str, mechanism: str = "PLAIN", secret: str = SECRET) -> dict[str, Any]:
        """Return a worker's settings for one of the doors."""
        door = {"broker": f"kafka://127.0.0.1:{self.ports[protocol]}", "security_protocol": protocol, **self.files}
        sasl = {"sasl_mechanism": mechanism, "sasl_username": USER, "sasl_password": secret}
        return {**door, **sasl} if protocol.startswith("SASL") else dict(door)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Give a broker with TLS and client certificates on one port, SASL beside them on the other."""
    folder = tmp_path_factory.mktemp("secured")
    authority = trustme.CA()
    server, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("worker")
    names = {"tls_ca": "ca.pem", "tls_cert": "client.pem", "tls_key": "client.key"}
    files = {name: folder / file for name, file in names.items()}
    authority.cert_pem.write_to_path(files["tls_ca"])
    client.cert_chain_pems[0].write_to_path(files["tls_cert"])
    client.private_key_pem.write_to_path(files["tls_key"])
    (folder / "server.pem").write_bytes(_pkcs8(server.private_key_pem.bytes()) + server.cert_chain_pems[0].bytes())
    ports = {"SSL": free_port(), "SASL_SSL": free_port()}
    broker = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "server.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(files["tls_ca"]),
        "ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": (
            f'{_LOGIN}.plain.PlainLoginModule required user_{USER}="{SECRET}";'
        ),
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": f"{_LOGIN}.scram.ScramLoginModule required;",
    }
    with Deployment(folder, broker=broker, listeners=ports) as deployment:
        admin = KafkaAdminClient(bootstrap_servers=deployment.kafka.bootstrap)
        admin.alter_user_scram_credentials([UserScramCredentialUpsertion(USER, ScramMechanism.SCRAM_SHA_512, SECRET)])
        admin.close()
        yield Secured(deployment, ports, files)


def _pkcs8(key: bytes) -> bytes:
    """Return a private key in the one form that Kafka reads."""
    loaded = serialization.load_pem_private_key(key, None)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return loaded.private_bytes(encoding, form, serialization.NoEncryption())


def _vitals(settings: dict[str, object], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agents", *arguments]
    environment = clean_environment(settings)
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize(
    ("protocol", "mechanism"), [("SSL", "PLAIN"), ("SASL_SSL", "PLAIN"), ("SASL_SSL", "SCRAM-SHA-512")]
)
def test_a_worker_comes_in_and_keeps_its_secret(secured: Secured, protocol: str, mechanism: str) -> None:
    deployment, settings = secured.deployment, secured.settings(protocol, mechanism)
    shown = _vitals({**deployment.settings, **settings}, "topics")
    assert shown.returncode == 0, shown.stderr
    deployment.send(company(10, 10, seed=len(protocol + mechanism)))
    worker = deployment.start(f"{protocol}-{mechanism}", **settings)
    deployment.until_done()
    log = worker.log_text()
    assert deployment.stop(worker) == 0
    assert SECRET not in log + shown.stdout + shown.stderr


def test_a_wrong_password_is_refused_in_words_without_the_password(secured: Secured) -> None:
    settings = {**secured.deployment.settings, **secured.settings("SASL_SSL", secret="wrong-horse-1")}
    for command in ("topics", "check"):
        done = _vitals(settings, command)
        assert done.returncode != 0
        output = done.stdout + done.stderr
        assert "credentials" in output
        assert "wrong-horse-1" not in output


def test_a_broker_of_another_authority_is_refused(secured: Secured, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    settings = {**secured.deployment.settings, **secured.settings("SSL"), "tls_ca": tmp_path / "other.pem"}
    done = _vitals(settings, "topics")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "security_protocol" in done.stderr

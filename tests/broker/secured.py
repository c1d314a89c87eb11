"""A deployment whose broker asks who its clients are: TLS with client certificates on one port, SASL on another.

Owns the certificates, the credentials and the settings of a client. Must not know what a test does with them.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trustme
from cryptography.hazmat.primitives import serialization
from kafka.admin import KafkaAdminClient, ScramMechanism, UserScramCredentialUpsertion

from tests.broker.kafka_server import free_port
from tests.faults.deployment import Deployment
from tests.faults.worker_process import ROOT, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


@contextmanager
def secured_deployment(folder: Path) -> Iterator[Secured]:
    """Run a broker with TLS and client certificates on one port, SASL beside them on the other."""
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


def vitals(settings: dict[str, Any], *arguments: str, patience_s: float = 240) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agents", *arguments]
    environment = clean_environment(settings)
    return subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=patience_s, check=False
    )

"""A worker and the commands against a broker that asks who they are: TLS, client certificates, SASL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.broker.secured import SECRET, Secured, secured_deployment, vitals
from tests.faults.events import company

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured_deployment(tmp_path_factory.mktemp("secured")) as started:
        yield started


@pytest.mark.parametrize(
    ("protocol", "mechanism"), [("SSL", "PLAIN"), ("SASL_SSL", "PLAIN"), ("SASL_SSL", "SCRAM-SHA-512")]
)
def test_a_worker_comes_in_and_keeps_its_secret(secured: Secured, protocol: str, mechanism: str) -> None:
    deployment, settings = secured.deployment, secured.settings(protocol, mechanism)
    shown = vitals({**deployment.settings, **settings}, "topics")
    assert shown.returncode == 0, shown.stderr
    deployment.send(company(10, 10, seed=len(protocol + mechanism)))
    worker = deployment.start(f"{protocol}-{mechanism}", **settings)
    deployment.until_done()
    log = worker.log_text()
    assert deployment.stop(worker) == 0
    assert SECRET not in log + shown.stdout + shown.stderr

"""An agent of others on the worker's app: it gets single values, ours whole fetches, and both lose nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from kafka import KafkaProducer
from kafka.admin import NewTopic

from tests.faults.deployment import GROUP, Deployment
from tests.faults.events import company
from tests.faults.topic_log import PARTITIONS
from tests.faults.worker_process import ROOT, clean_environment
from tests.pages.steps import File, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.broker

PAGE = ROOT / "docs/how-to/extend.md"
ORDERS, TOTALS = "orders", "order-totals"
OTHER_PARTITIONS = 3
"""Not as many as the topics of events have."""
ENTRY = ("-m", "faust", "-A", "orders", "worker")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp("own")) as started:
        with started.kafka.admin() as admin:
            admin.create_topics([NewTopic(ORDERS, OTHER_PARTITIONS, 1), NewTopic(TOTALS, PARTITIONS, 1)])
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module of the page."""
    folder = tmp_path_factory.mktemp("modules")
    (text,) = (step.text for step in steps(PAGE) if isinstance(step, File) and step.name == "orders.py")
    (folder / "orders.py").write_text(text, "utf-8")
    return folder


def send_orders(deployment: Deployment, first: int, count: int) -> None:
    producer = KafkaProducer(bootstrap_servers=deployment.kafka.bootstrap)
    for number in range(first, first + count):
        order = {"id": str(number), "price": 2.5, "count": number}
        producer.send(ORDERS, json.dumps(order).encode(), key=str(number).encode())
    producer.flush()
    producer.close()


def totals(deployment: Deployment) -> Counter[tuple[str, float]]:
    return Counter((each["id"], each["total"]) for each in deployment.documents(TOTALS))


def expected(count: int) -> set[tuple[str, float]]:
    return {(str(number), 2.5 * number) for number in range(count)}


def test_both_get_what_they_expect_through_a_stop_a_kill_and_a_second_worker(
    deployment: Deployment, folder: Path
) -> None:
    variables = {"PYTHONPATH": str(folder)}
    deployment.send(company(20, 20))
    send_orders(deployment, 0, 300)
    worker = deployment.start(entry=ENTRY, variables=variables)
    deployment.until_done()
    deployment.until(lambda: set(totals(deployment)) == expected(300), "every order has its total")
    deployment.judge()
    assert deployment.stop(worker) == 0
    assert set(totals(deployment).values()) == {1}

    send_orders(deployment, 300, 300)
    worker = deployment.start(entry=ENTRY, variables=variables)
    deployment.until(lambda: set(totals(deployment)) == expected(600), "every later order has its total")
    again = [order for (order, _), count in totals(deployment).items() if count > 1 and int(order) < 300]
    assert not again, "what was committed before the stop came again"
    deployment.kill(worker)

    send_orders(deployment, 600, 300)
    deployment.send(company(20, 5))
    deployment.start(entry=ENTRY, variables=variables)
    deployment.start("two", entry=ENTRY, variables=variables)
    deployment.until(lambda: set(totals(deployment)) == expected(900), "every order has its total after the kill")
    deployment.until_done()
    deployment.judge()


@pytest.mark.parametrize(
    ("added", "shown"),
    [
        ('@app.agent(app.topic("product-usage"))\nasync def usage(stream):\n    pass\n', "reads product-usage"),
        ('counts = app.Table("counts")\n', "table 'counts': the app keeps only the table 'accounts'"),
    ],
)
def test_what_cannot_be_beside_it_is_refused(
    deployment: Deployment, tmp_path: Path, folder: Path, added: str, shown: str
) -> None:
    (tmp_path / "more.py").write_text(f"from orders import app\n\n{added}", "utf-8")
    variables = {"PYTHONPATH": f"{tmp_path}:{folder}"}
    done = subprocess.run(
        [sys.executable, "-m", "faust", "-A", "more", "worker"],
        env=clean_environment({**deployment.settings, "group": GROUP}) | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, shown in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("command", "shown"), [("agents", ["@sources", "@total", "product-usage"]), ("tables", ["accounts"])]
)
def test_fausts_command_lists_agents_and_tables(
    deployment: Deployment, folder: Path, command: str, shown: list
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "faust", "-A", "orders", command],
        env=clean_environment(deployment.settings) | {"PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all(text in done.stdout for text in shown), done.stdout

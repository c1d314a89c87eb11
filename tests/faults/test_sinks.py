"""Row 18: the sinks while receivers fail: a killed Alertmanager, a webhook of 500s and time-outs, killed sinks.

Every sink is a real process against a real Kafka, the Alertmanager is a real one too; records are written to
`health.alerts` as workers do. Each episode must arrive as firing and as resolved, whatever failed in between.
"""

from __future__ import annotations

import hashlib
import hmac
import time
import urllib.request
from base64 import b64decode, b64encode
from collections import Counter, defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from schemas.outputs import Alert
from schemas.topics import ALERTS, WEBHOOK_DLQ
from tests.broker.kafka_server import free_port
from tests.faults import topic_log
from tests.faults.deployment import Deployment
from tests.faults.receivers import NO_ANSWER, Alertmanager, Receiver, Request, start_sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from tests.broker.child import ChildProcess
    from tests.faults.conftest import Figures

pytestmark = pytest.mark.broker

KEY = bytes(range(32))
SECRET = f"whsec_{b64encode(KEY).decode()}"
RULE = "band:health:critical"
MINUTE_MS = 60_000
# Ten hours of a company, until now: Alertmanager works by the wall clock.
START_MS = time.time_ns() // 1_000_000 - 600 * MINUTE_MS

Episode = tuple[str, int]
"""An account and when its alert began."""


def firing(account: str, minute: int, **more: Any) -> Alert:
    labels = {"account_id": account, "rule": RULE, "severity": "critical", "score": "health", "band": "critical"}
    return Alert(
        id=f"f-{account}-{minute}",
        fingerprint=hashlib.sha256(account.encode()).hexdigest()[:16],
        account_id=account,
        rule=RULE,
        severity="critical",
        status="firing",
        starts_at=START_MS + minute * MINUTE_MS,
        score=12.0,
        band="critical",
        summary=f"{account} is critical: health 12.0",
        labels=labels,
        annotations={"reason": "support tickets -20.0", "account": account},
        **more,
    )


def resolved(account: str, minute: int, **more: Any) -> Alert:
    """The resolve, a minute later, of the alert that fired then; its band and a label have changed."""
    fired = firing(account, minute, **more)
    return msgspec.structs.replace(
        fired,
        id=f"r-{account}-{minute}",
        status="resolved",
        ends_at=fired.starts_at + MINUTE_MS,
        band="healthy",
        labels={**fired.labels, "band": "healthy"},
    )


def episode_of(alert: Alert) -> Episode:
    return alert.account_id, alert.starts_at


class Bench:
    """A Kafka, a receiver, an Alertmanager, and sinks of one group."""

    def __init__(
        self, deployment: Deployment, folder: Path, group: str, receiver: Receiver, **settings: object
    ) -> None:
        self.deployment = deployment
        self.folder = folder
        self.receiver = receiver
        self.sent: list[Alert] = []
        self.sinks: dict[str, ChildProcess] = {}
        self.starts = 0
        self.ports = {name: free_port() for name in ("alertmanager", "webhook", "notify")}
        here = f"http://127.0.0.1:{receiver.port}"
        self._settings: dict[str, object] = {
            "broker": deployment.kafka.url,
            "group": group,
            "board_url": "https://board.example",
            "sink_timeout_s": 1,
            "sink_longest_pause_s": 1,
            "alertmanager_resend_s": 1,
            "webhook_url": f"{here}/hook",
            "webhook_secret": SECRET,
            "webhook_allow_private": "127.0.0.0/8",
            "notify_allow_private": "127.0.0.0/8",
            "notify_urls": f"json://127.0.0.1:{receiver.port}/people",
            **{f"{name}_port": port for name, port in self.ports.items()},
            **settings,
        }

    def send(self, alerts: Iterable[Alert]) -> None:
        new, now_ms = list(alerts), time.time_ns() // 1_000_000
        self.sent += new
        messages = [
            topic_log.Message(ALERTS, (alert.account_id or alert.rule).encode(), msgspec.json.encode(alert), now_ms)
            for alert in new
        ]
        topic_log.send(self.deployment.kafka.bootstrap, messages)

    def start(self, *names: str) -> None:
        for name in names:
            self.starts += 1
            self.sinks[name] = start_sink(name, self._settings, self.folder / f"{name}-{self.starts}.log")
        self.until(lambda: all(map(self._has_begun, names)), "the topic is read")

    def _has_begun(self, name: str) -> bool:
        return "sink_started" in self.sinks[name].log.read_text("utf-8")

    def stop(self, name: str) -> int:
        return self.sinks.pop(name).terminate(20)

    def kill(self, name: str) -> None:
        self.sinks.pop(name).kill()

    def metrics(self, name: str) -> dict[str, float]:
        """Give its metrics, -1 for each without an answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return defaultdict(lambda: -1)
        families = text_string_to_metric_families(text)
        return {sample.name: sample.value for family in families for sample in family.samples}

    def until(self, holds: Callable[[], bool], what: str, patience_s: float = 60) -> None:
        def words() -> str:
            return "\n".join(f"{name}: {sink.log_tail(15)}" for name, sink in self.sinks.items())

        deadline = time.monotonic() + patience_s
        while not holds():
            assert time.monotonic() < deadline, f"not within {patience_s:.0f} s: {what}\n{words()}"
            for name, sink in self.sinks.items():
                assert sink.wait(0.02) is None, f"{name} ended before: {what}\n{words()}"

    def end(self) -> None:
        for sink in self.sinks.values():
            sink.kill()


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp("sinks")) as started:
        yield started


def posted_by_alertmanager(receiver: Receiver) -> Counter[tuple[Episode, str]]:
    """Episode and status of the notifications that Alertmanager has sent."""
    notifications: Counter[tuple[Episode, str]] = Counter()
    for request in receiver.got("/pager"):
        for alert in request.json()["alerts"]:
            moment = datetime.fromisoformat(alert["startsAt"])
            episode = (alert["labels"]["account_id"], round(moment.timestamp() * 1000))
            notifications[episode, alert["status"]] += 1
    return notifications


def accepted_by_webhook(receiver: Receiver) -> list[Alert]:
    accepted = [request for request in receiver.got("/hook") if request.status == 200]
    for request in accepted:
        assert_signed(request)
    return [msgspec.convert(request.json()["data"], type=Alert) for request in accepted]


def assert_signed(request: Request) -> None:
    identity, stamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
    signed = b".".join([identity.encode(), stamp.encode(), request.body])
    version, _, signature = request.headers["webhook-signature"].partition(",")
    assert version == "v1"
    assert hmac.compare_digest(b64decode(signature), hmac.new(KEY, signed, hashlib.sha256).digest())
    assert request.json()["data"]["id"] == identity


class Flaky:
    """Fails the first attempt for most records: a 500, no answer, or a 429."""

    def __init__(self) -> None:
        self.attempts: Counter[str] = Counter()

    def __call__(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        del body
        identity = headers.get("webhook-id", "")
        if path != "/hook" or not identity:
            return 200
        self.attempts[identity] += 1
        if self.attempts[identity] > 1:
            return 200
        return [500, NO_ANSWER, 429, 200][hashlib.sha256(identity.encode()).digest()[0] % 4]


def test_every_episode_is_delivered_as_firing_and_as_resolved(
    deployment: Deployment, tmp_path: Path, fault: Callable[[str, Figures], None]
) -> None:
    flaky = Flaky()
    with Receiver(flaky) as receiver:
        alertmanager = Alertmanager(tmp_path, f"http://127.0.0.1:{receiver.port}/pager")
        bench = Bench(deployment, tmp_path, "row18", receiver, alertmanager_url=alertmanager.url)
        try:
            alertmanager.start()
            bench.start("alertmanager", "webhook", "notify")
            _run_scenario(bench, alertmanager)
            figures = _verdict(bench, flaky)
        finally:
            bench.end()
            alertmanager.kill()
    fault("18 webhook 500s and time-outs, Alertmanager killed", figures)


def _run_scenario(bench: Bench, alertmanager: Alertmanager) -> None:
    receiver = bench.receiver
    # Open before Alertmanager is killed: half of them resolve during its outage, half after.
    bench.send(firing(f"before-{number}", number) for number in range(8))
    bench.until(lambda: len(posted_by_alertmanager(receiver)) == 8, "Alertmanager has sent the first eight")
    alertmanager.kill()
    bench.send(resolved(f"before-{number}", number) for number in range(4))
    # Begin and end during its outage; one flaps.
    away = [alert(f"away-{number}", number) for number in range(8) for alert in (firing, resolved)]
    flapping = [alert("flapping", minute) for minute in (0, 10, 20) for alert in (firing, resolved)]
    bench.send([*away, *flapping])
    webhook = {alert.id for alert in bench.sent}
    bench.until(
        lambda: {alert.id for alert in accepted_by_webhook(receiver)} >= webhook,
        "the webhook continues without Alertmanager",
    )
    bench.until(lambda: bench.metrics("alertmanager")["vitals_sink_failed_total"] > 0, "its sink counts failures")
    bench.kill("alertmanager")
    bench.kill("webhook")
    bench.send(resolved(f"before-{number}", number) for number in range(4, 8))
    bench.start("alertmanager", "webhook")
    alertmanager.start()
    bench.send(alert(f"after-{number}", number) for number in range(4) for alert in (firing, resolved))


def _verdict(bench: Bench, flaky: Flaky) -> Figures:
    wanted = {(episode_of(alert), alert.status) for alert in bench.sent}
    # Alertmanager sees only the last of the flaps that ended during its outage.
    early = {("flapping", START_MS + minute * MINUTE_MS) for minute in (0, 10)}
    paged = {(episode, status) for episode, status in wanted if episode not in early}
    receiver = bench.receiver
    bench.until(lambda: set(posted_by_alertmanager(receiver)) >= paged, "Alertmanager has sent all episodes")
    bench.until(
        lambda: {(episode_of(alert), alert.status) for alert in accepted_by_webhook(receiver)} >= wanted, "webhook"
    )
    bench.until(lambda: len(receiver.got("/people")) >= len(bench.sent), "people have all")
    order: dict[str, list[str]] = {}
    for alert in accepted_by_webhook(receiver):
        seen = order.setdefault(alert.account_id, [])
        if alert.id not in seen:
            seen.append(alert.id)
    for account, ids in order.items():
        assert ids == [alert.id for alert in bench.sent if alert.account_id == account]
    assert len(receiver.got("/people")) == len(bench.sent)
    for name in ("alertmanager", "webhook", "notify"):
        assert bench.metrics(name)["vitals_sink_open_alerts"] == 0
        assert bench.metrics(name)["vitals_sink_dead_letters_total"] == 0
        assert bench.stop(name) == 0
    return {
        "episodes": len(wanted) // 2,
        "bad answers": sum(request.status != 200 for request in receiver.got("/hook")),
        "webhook tries": sum(flaky.attempts.values()),
        "pages": len(receiver.got("/pager")),
        "notices": len(receiver.got("/people")),
        "kills": 3,
    }


def test_rejected_records_are_dead_lettered_and_nothing_is_delivered_twice(
    deployment: Deployment, tmp_path: Path
) -> None:
    def answer(path: str, headers: Mapping[str, str], body: bytes) -> int:
        del headers
        if b"poison" in body:
            return 422
        return 302 if b"moved" in body else 500 if b"hopeless" in body else 200 if path == "/hook" else 404

    with Receiver(answer) as receiver:
        bench = Bench(deployment, tmp_path, "refused", receiver, sink_give_up_s=2)
        try:
            bench.start("webhook")
            accounts = ("poison", "moved", "hopeless", "good")
            bench.send(alert(account, 1) for account in accounts for alert in (firing, resolved))
            bench.until(lambda: bench.metrics("webhook")["vitals_sink_dead_letters_total"] == 6, "six dead letters")
            bench.until(lambda: bench.metrics("webhook")["vitals_sink_waiting_records"] == 0, "all finished")
            assert bench.stop("webhook") == 0
            before = len(receiver.got("/hook"))
            bench.start("webhook")
            bench.send([firing("later", 2), resolved("later", 2)])
            bench.until(lambda: bench.metrics("webhook")["vitals_sink_delivered_total"] == 2, "the later ones")
            assert len(receiver.got("/hook")) == before + 2
            assert not receiver.got("/elsewhere")
        finally:
            bench.end()
    records = topic_log.read(deployment.kafka.bootstrap, [ALERTS, WEBHOOK_DLQ])
    values = {record.value: record for record in records[ALERTS]}
    reasons: Counter[str] = Counter()
    for dead_letter in records[WEBHOOK_DLQ]:
        headers = {name: (value or b"").decode() for name, value in dead_letter.headers}
        original = values[dead_letter.value]
        position = (
            headers["vitals.error.topic"],
            int(headers["vitals.error.partition"]),
            int(headers["vitals.error.offset"]),
        )
        assert position == (ALERTS, original.partition, original.offset)
        assert dead_letter.key == original.key
        reasons[headers["vitals.error.reason"]] += 1
    assert reasons == {"status_422": 2, "status_302": 2, "status_500": 2}


@pytest.mark.faults
def test_a_webhook_that_answers_410_gets_no_more_requests_and_alerts_are_kept(
    deployment: Deployment, tmp_path: Path
) -> None:
    gone = [True]
    with Receiver(lambda *_: 410 if gone[0] else 200) as receiver:
        bench = Bench(deployment, tmp_path, "gone", receiver)
        try:
            bench.start("webhook")
            bench.send([firing("first", 1)])
            bench.until(lambda: bench.metrics("webhook")["vitals_sink_disabled"] == 1, "it has seen the 410")
            bench.send([firing("second", 1)])
            bench.until(lambda: bench.metrics("webhook")["vitals_sink_waiting_records"] == 2, "both wait")
            assert bench.stop("webhook") == 0
            assert "webhook_disabled" in (tmp_path / "webhook-1.log").read_text("utf-8")
            attempts = len(receiver.got("/hook"))
            gone[0] = False
            bench.start("webhook")
            bench.until(lambda: len(accepted_by_webhook(receiver)) == 2, "both are delivered after the next start")
            assert (attempts, len(receiver.got("/hook"))) == (1, 3)
        finally:
            bench.end()


@pytest.mark.faults
def test_the_first_start_of_a_group_delivers_open_alerts_and_nothing_older(
    deployment: Deployment, tmp_path: Path
) -> None:
    with Receiver() as receiver:
        bench = Bench(deployment, tmp_path, "newcomer", receiver)
        old = [alert("newcomer-over", 1) for alert in (firing, resolved)]
        bench.send([*old, firing("newcomer-open", 2)])
        try:
            bench.start("webhook")
            bench.send([firing("newcomer-last", 3)])
            bench.until(
                lambda: (
                    {"newcomer-open", "newcomer-last"} <= {alert.account_id for alert in accepted_by_webhook(receiver)}
                ),
                "the open alert, and the later one",
            )
            assert "newcomer-over" not in {alert.account_id for alert in accepted_by_webhook(receiver)}
        finally:
            bench.end()


@pytest.mark.faults
def test_a_sink_survives_an_outage_of_the_broker(deployment: Deployment, tmp_path: Path) -> None:
    with Receiver() as receiver:
        bench = Bench(deployment, tmp_path, "outage", receiver)
        try:
            bench.start("webhook", "notify")
            bench.send([firing("outage", 1)])
            bench.until(lambda: bool(accepted_by_webhook(receiver)), "the first")
            deployment.kafka.kill()
            deployment.kafka.restart()
            bench.send([resolved("outage", 1)])
            ids = {"f-outage-1", "r-outage-1"}
            bench.until(lambda: ids <= {alert.id for alert in accepted_by_webhook(receiver)}, "the webhook has both")
            bench.until(lambda: len(receiver.got("/people")) >= 2, "people have both")
            assert [bench.stop(name) for name in ("webhook", "notify")] == [0, 0]
        finally:
            bench.end()

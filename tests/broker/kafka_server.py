"""A real Apache Kafka (KRaft, broker and controller in one JVM) on 127.0.0.1, for tests and benchmarks.

Owns the JVM, its configuration and its data. Must not know which topics or programs use it. Called by the fixture in
`conftest`, the fault runs and the benchmark. Topics are never created by merely being asked for: a misspelt name fails.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, Self, TypedDict

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from tests.broker.child import ChildProcess
from tests.broker.jars import fetch_jars, tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

POM = Path(__file__).with_name("pom.xml")
BROKER_MAX_MESSAGE_BYTES = 20 * 1024 * 1024
TOPIC_MAX_MESSAGE_BYTES = 1_048_588  # Kafka's own default for brokers and topics
_CLUSTER_ID = "dml0YWxzLXRlc3RzLTAwMQ"  # any 16 bytes in base64; every broker here is a cluster of its own
_READY_WITHIN_S = 180.0  # on a machine whose cores are all busy; an idle one needs 2 s
_STOP_WITHIN_S = 120.0
# Below the range that the kernel gives to outgoing connections: a client that tries to reconnect to a killed broker's
# port could otherwise be given that very port, and connect to itself. Each of the test processes that run side by side
# has ports of its own, and takes them in turn: what was chosen is listened on seconds later.
_PORTS = range(20_000, 32_000)
_PROCESSES = 12
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
# A broker of a test lives for seconds, which the JVM would spend on compiling and on collecting in parallel.
_SHORT_LIVED = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_LASTING = ("-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20")


class TopicSpec(TypedDict):
    """How a topic is created."""

    partitions: int
    config: NotRequired[Mapping[str, str]]


class KafkaServerError(RuntimeError):
    """The broker did not start, or not in time; the message ends with its log."""


def ensure_jars() -> Path:
    """Return the folder of the broker's jars, fetched by Maven on first use.

    Raises:
        MissingToolError: `java` or `mvn` is not installed; it names the Debian package.
        FetchError: Maven failed.

    """
    return fetch_jars(POM, "kafka")


@functools.cache
def _own_ports() -> Iterator[int]:
    """The ports of this process in turn, for ever: its share if a test run has several processes, else all of them."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    number, share = int(worker.removeprefix("gw")) % _PROCESSES if worker else 0, len(_PORTS) // _PROCESSES
    ports = _PORTS[number * share : (number + 1) * share] if worker else _PORTS
    begin = random.SystemRandom().randrange(len(ports))
    return itertools.cycle([*ports[begin:], *ports[:begin]])


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on and no outgoing connection or later call will take."""
    for port in itertools.islice(_own_ports(), 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    message = f"no free TCP port among 200 tried in {_PORTS.start}..{_PORTS.stop}: stop what holds them"
    raise KafkaServerError(message)


class KafkaServer:
    """One broker. As a context manager it starts on entry, and on exit is killed and its temporary data removed."""

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        heap_mb: int = 512,
        lasting: bool = False,
        settings: Mapping[str, str] | None = None,
        listeners: Mapping[str, int] | None = None,
        advertised: Mapping[str, int] | None = None,
    ) -> None:
        """Prepare; nothing runs before `start`.

        Args:
            data_dir: where logs live; by default a temporary folder that `stop` removes.
            heap_mb: heap of the JVM in MiB.
            lasting: whether it is measured, and so worth compiling for.
            settings: broker properties that replace or extend the ones here.
            listeners: ports of more listeners by security protocol, such as SASL_SSL, or by another name of plain text.
            advertised: ports that clients of a listener are sent to, where it is another one, such as a proxy's.

        """
        self._given_dir = data_dir
        self._heap_mb = heap_mb
        self._jvm = _LASTING if lasting else _SHORT_LIVED
        self._settings = dict(settings or {})
        self._listeners = dict(listeners or {})
        self._advertised = dict(advertised or {})
        self._home: Path | None = None
        self._process: ChildProcess | None = None
        self._port = 0
        self._controller_port = 0

    def __enter__(self) -> Self:
        """Start on a free port."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop; quickly where the data is thrown away anyway."""
        if self._given_dir is None:
            self.kill()
        self.stop()

    @property
    def bootstrap(self) -> str:
        """`127.0.0.1:port`, for clients."""
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """`kafka://127.0.0.1:port`, for VITALS_BROKER."""
        return f"kafka://{self.bootstrap}"

    @property
    def pid(self) -> int:
        """Process id of the JVM."""
        return self._running().pid

    @property
    def home(self) -> Path:
        """The folder with `data/` (log dirs), `server.properties` and `server.log`."""
        if self._home is None:
            message = "the broker was never started: call start() or use it in a with statement"
            raise KafkaServerError(message)
        return self._home

    def start(self, port: int = 0) -> Self:
        """Format the data folder where it is new, start the JVM and wait until it serves; port 0 takes a free one.

        Raises:
            KafkaServerError: it ended or was not ready within 180 s.

        """
        return self._start(port, self._known_classes())

    def _start(self, port: int, classes: str) -> Self:
        jars = ensure_jars()
        self._home = self._given_dir or Path(tempfile.mkdtemp(prefix="vitals-kafka-"))
        self._home.mkdir(parents=True, exist_ok=True)
        self._port = port or free_port()
        self._controller_port = free_port()
        properties = self._home / "server.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in self._properties().items()), "utf-8")
        if not (self._home / "data" / "meta.properties").exists():
            shutil.copytree(_formatted(jars), self._home / "data", dirs_exist_ok=True)
        self._launch(classes)
        return self

    def restart(self) -> None:
        """Start again after `kill` on the same data and port, and wait until it serves.

        Raises:
            KafkaServerError: as `start`.

        """
        if self._process is not None:
            self.kill()
        self._launch(self._known_classes())

    def kill(self) -> None:
        """SIGKILL: nothing is flushed or handed over."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def exit_code(self) -> int | None:
        """Return the status with which the JVM ended by itself, or None while it runs."""
        return self._running().poll()

    def suspend(self) -> None:
        """SIGSTOP: sockets stay open and nobody answers."""
        self._running().suspend()

    def resume(self) -> None:
        """SIGCONT after `suspend`."""
        self._running().send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Shut down in order, and remove the data unless its folder was given."""
        if self._process is not None:
            self._process.terminate(_STOP_WITHIN_S)
            self._process = None
        if self._home is not None and self._given_dir is None:
            shutil.rmtree(self._home, ignore_errors=True)

    def create_topics(self, topics: Mapping[str, TopicSpec]) -> None:
        """Create topics and wait until every partition has a leader.

        A record may have 1 MB, Kafka's default, unless a topic's config gives `max.message.bytes`.

        Raises:
            kafka.errors.TopicAlreadyExistsError: one exists.

        """
        specs = {
            name: {
                "num_partitions": spec["partitions"],
                "replication_factor": 1,
                "configs": {"max.message.bytes": str(TOPIC_MAX_MESSAGE_BYTES), **spec.get("config", {})},
            }
            for name, spec in topics.items()
        }
        with self.admin() as admin:
            admin.create_topics(specs, wait_for_metadata=True)

    @contextlib.contextmanager
    def admin(self) -> Iterator[KafkaAdminClient]:
        """Give an admin client of kafka-python; it may be used inside a running event loop too, where it blocks."""
        client = KafkaAdminClient(bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=5_000)
        try:
            yield client
        finally:
            client.close()

    def log_bytes(self, topic: str) -> int:
        """Return the bytes of a topic's log segments on disk, all partitions."""
        folders = (self.home / "data").glob(f"{topic}-*")
        exact = (folder for folder in folders if folder.name.rpartition("-")[0] == topic)
        return sum(segment.stat().st_size for folder in exact for segment in folder.glob("*.log"))

    def _running(self) -> ChildProcess:
        if self._process is None:
            message = "the broker is not running: call start() or restart()"
            raise KafkaServerError(message)
        return self._process

    def _properties(self) -> dict[str, str]:
        ports = {"PLAINTEXT": self._port, **self._listeners}
        clients = ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())
        advertised = ",".join(f"{name}://127.0.0.1:{self._advertised.get(name, port)}" for name, port in ports.items())
        protocols = ",".join(f"{name}:{name if name in _PROTOCOLS else 'PLAINTEXT'}" for name in ports)
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": f"{protocols},CONTROLLER:PLAINTEXT",
            "listeners": f"{clients},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": advertised,
            "log.dirs": str(self.home / "data"),
            "auto.create.topics.enable": "false",
            "num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "message.max.bytes": str(BROKER_MAX_MESSAGE_BYTES),
            # A killed broker may register again only after its old session has ended.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            "metadata.max.idle.interval.ms": "0",  # a broker that nobody uses then needs half the CPU
            **self._settings,
        }

    @classmethod
    def _known_classes(cls) -> str:
        """The option that names an archive of Kafka's loaded classes; loading them anew is three quarters of a start.

        It is made once, by a broker that starts and ends. A JVM that can not use the file does without.
        """
        jars = ensure_jars()
        archive = jars.with_suffix(".jsa")
        with jars.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not archive.exists():
                with tempfile.TemporaryDirectory(prefix=".classes-", dir=jars.parent) as folder:
                    made = Path(folder) / "made"
                    broker = cls(Path(folder) / "broker")
                    broker._start(0, f"-XX:ArchiveClassesAtExit={made}")
                    broker.stop()
                    made.touch()
                    made.rename(archive)
        return f"-XX:SharedArchiveFile={archive}"

    def _launch(self, classes: str) -> None:
        command = [
            tool("java"),
            f"-Xmx{self._heap_mb}m",
            *self._jvm,
            classes,
            "-Dlog4j2.level=WARN",
            "-cp",
            f"{ensure_jars()}/*",
            "kafka.Kafka",
            str(self.home / "server.properties"),
        ]
        self._process = ChildProcess(command, log=self.home / "server.log", cwd=self.home)
        try:
            self._wait_ready(self._process)
        except BaseException:
            self.kill()
            raise

    def _wait_ready(self, process: ChildProcess) -> None:
        """Ask until the cluster names this broker and every partition has a leader again."""
        deadline = time.monotonic() + _READY_WITHIN_S
        problem: object = "no answer"
        while time.monotonic() < deadline:
            # Waiting for the process to end is the pause between two questions.
            code = process.wait(timeout_s=0.05)
            if code is not None:
                message = f"Kafka ended with exit code {code} while starting:\n{process.log_tail()}"
                raise KafkaServerError(message)
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
                with self.admin() as admin:
                    if _serves(admin):
                        return
                    problem = "a partition has no leader yet"
            except (OSError, KafkaError) as error:
                problem = error
        message = f"Kafka was not ready within {_READY_WITHIN_S:.0f} s ({problem}):\n{process.log_tail()}"
        raise KafkaServerError(message)


def _serves(admin: KafkaAdminClient) -> bool:
    # The first question about a group makes the broker create its topic for offsets; until then clients get errors.
    admin.list_group_offsets({"ready": None})
    if not admin.describe_cluster()["brokers"]:
        return False
    return all(partition["leader_id"] >= 0 for topic in admin.describe_topics() for partition in topic["partitions"])


def _formatted(jars: Path) -> Path:
    """A folder that Kafka's storage tool has formatted, made once: the tool takes a third of the time of a start.

    Nothing in it depends on ports or settings, and every broker has a copy of its own.
    """
    target = jars.with_suffix(".formatted")
    if target.is_dir():
        return target
    with tempfile.TemporaryDirectory(prefix=".formatting-", dir=jars.parent) as folder:
        data, properties = Path(folder) / "data", Path(folder) / "server.properties"
        lines = (
            "process.roles=broker,controller",
            "node.id=1",
            "controller.quorum.voters=1@127.0.0.1:9093",
            "controller.listener.names=CONTROLLER",
            "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
            f"log.dirs={data}",
        )
        properties.write_text("\n".join(lines), "utf-8")
        _format(jars, properties)
        with contextlib.suppress(OSError):  # another process was faster
            data.rename(target)
    return target


def _format(jars: Path, properties: Path) -> None:
    command = [
        tool("java"),
        "-XX:TieredStopAtLevel=1",
        "-cp",
        f"{jars}/*",
        "kafka.tools.StorageTool",
        "format",
        "-t",
        _CLUSTER_ID,
        "-c",
        str(properties),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_READY_WITHIN_S, check=False)
    if done.returncode != 0:
        message = f"Kafka could not format its data folder (exit {done.returncode}):\n{done.stdout}{done.stderr}"
        raise KafkaServerError(message)

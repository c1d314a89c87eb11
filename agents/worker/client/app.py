"""The Faust app of a worker: its settings, and the interpreter's.

Owns which of Faust's settings a worker uses and why. Called by `agents.worker.wiring`.
"""

from __future__ import annotations

import atexit
import gc
import shutil
import sys
import tempfile

import faust

from agents.process.collection import collect_rarely
from agents.settings.settings import Settings
from agents.worker.client.reconnect import pause_after_refusals
from agents.worker.client.store import Tables
from schemas.topics import LARGEST_RECORD

BATCH_BYTES = 512 * 1024
HEARTBEAT_S = 3.0
"""Time between heartbeats at most: less than half of `agents.worker.commit.lease.SILENT_S`, also in a long session."""
SWITCH_S = 0.0005


class SourceTopics(faust.Topic):
    """All topics of events as one; Faust's own command names it, which it does not do with a topic of several."""

    def get_topic_name(self) -> str:
        """The names, for people."""
        return ", ".join(self.topics)


def faust_app(settings: Settings, client_id: str) -> faust.App:
    """Make an app without agents, tables and timers."""
    pause_after_refusals()
    return faust.App(
        settings.group,
        broker=[f"kafka://{server}" for server in settings.bootstrap_servers()],
        broker_client_id=client_id,
        broker_credentials=settings.faust_credentials(),
        store="memory://",
        autodiscover=False,
        datadir=data_folder(settings.group),
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=settings.instance,
        broker_commit_interval=settings.commit_interval_s,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=min(settings.session_timeout_s / 4, HEARTBEAT_S),
        broker_request_timeout=max(30.0, settings.session_timeout_s + 10),
        broker_rebalance_timeout=max(30.0, settings.session_timeout_s * 3),
        broker_max_poll_interval=600.0,
        TableManager=Tables,
        table_standby_replicas=settings.standbys,
        recovery_consistency_check=False,  # `Restorer.complete` checks more, and reads the changelog again
        topic_partitions=settings.partitions,
        topic_allow_declare=False,
        topic_disable_leader=True,
        producer_acks=-1,
        producer_linger=0,
        producer_max_batch_size=BATCH_BYTES,
        producer_max_request_size=2 * LARGEST_RECORD,
        producer_request_timeout=30.0,
        stream_wait_empty=True,
        stream_recovery_delay=0.0,
        stream_buffer_maxsize=64,
    )


def data_folder(group: str) -> str:
    """A folder that only this user can read, with a name that nobody can take before; it is removed at the end.

    Faust wants one; a worker keeps nothing in it.
    """
    folder = tempfile.mkdtemp(prefix=f"vitals-{group[:50]}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def tune_interpreter() -> None:
    """Set up garbage collection and thread switches for a worker that has started."""
    gc.collect()
    collect_rarely()
    # The thread that fetches must not wait 5 ms for the interpreter at each of its small steps.
    sys.setswitchinterval(SWITCH_S)
